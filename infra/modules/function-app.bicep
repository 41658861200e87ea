metadata description = 'The Flex Consumption plan and the function app with every app setting that it needs.'

@description('Name of the plan.')
param planName string

@description('Name of the function app, and of its address.')
param name string

@description('Region of both.')
param location string

@description('Tags of both.')
param tags object

@description('The service of azure.yaml that the app is; azd finds it by a tag, which nothing else may have.')
param serviceName string

@description('Resource id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Name of the storage account.')
param storageAccountName string

@description('Name of the container that the deployed package is in.')
param packageContainer string

@description('Name of the Application Insights component.')
param componentName string

@description('Name of the key vault.')
param vaultName string

@description('SQLAlchemy URL of the database, without a password.')
param databaseUrl string

@description('The operator\'s tenant, whose callers see every organization.')
param authTenantId string

@description('Client id or application ID URI of the API\'s app registration.')
param authAudience string

@description('Address at which Graph reaches the app; empty for the app\'s own.')
param publicUrl string

@description('NCRONTAB schedule of the planner.')
param syncSchedule string

@description('Further app settings; they go before what is set here.')
param settings object

@description('Instances that are kept ready for HTTP.')
param alwaysReadyHttpInstances int

@description('Instances that there may be at once.')
param maximumInstanceCount int

@description('Memory of an instance in MB.')
param instanceMemoryMB int

@description('Whether instances are spread over the zones of the region.')
param zoneRedundant bool

@description('Resource id of the subnet that instances are in; empty for none.')
param subnetId string

resource storageAccount 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageAccountName
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    // Graph's notifications come from the internet.
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storageAccount.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReadyHttpInstances == 0
          ? []
          : [
              {
                name: 'http'
                instanceCount: alwaysReadyHttpInstances
              }
            ]
      }
    }
  }

  resource ftpPassword 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
  }

  resource publishingPassword 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: {
      AzureWebJobsStorage__blobServiceUri: storageAccount.properties.primaryEndpoints.blob
      AzureWebJobsStorage__queueServiceUri: storageAccount.properties.primaryEndpoints.queue
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: identityClientId
      APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
      PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
      // The product's own logs: those of libraries name addresses and people.
      PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME: 'shared'
      // Their spans are not recorded anyway (docs/decisions/0018-telemetry.md), and loading them delays the start.
      OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: 'azure_sdk,django,fastapi,flask,httpx,httpx2,psycopg2,requests,urllib,urllib3'
      // The exporter tells Microsoft nothing of its own use.
      APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
      APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED: 'true'
      // glibc keeps memory for each thread otherwise; benchmarks/README.md was measured with it.
      MALLOC_ARENA_MAX: '2'
      AZURE_CLIENT_ID: identityClientId
      DATABASE_URL: databaseUrl
      DATABASE_TOKEN_RESOURCE: 'https://ossrdbms-aad${environment().suffixes.sqlServerHostname}'
      KEY_VAULT_URL: vault.properties.vaultUri
      PUBLIC_URL: empty(publicUrl) ? 'https://${app.properties.defaultHostName}' : publicUrl
      AUTH_TENANT_ID: authTenantId
      AUTH_AUDIENCE: authAudience
      SYNC_SCHEDULE: syncSchedule
      ...settings
    }
  }
}

@description('Name of the function app.')
output name string = app.name

@description('Address of the function app.')
output url string = 'https://${app.properties.defaultHostName}'
