metadata description = 'The organization cache in a resource group of its own. docs/deploy.md tells how to deploy it.'

targetScope = 'subscription'

@description('Name of the azd environment; the resource group and all names are made of it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of all resources; one that offers Flex Consumption and PostgreSQL flexible server.')
@minLength(1)
param location string

@description('The operator\'s tenant, whose callers see every organization.')
param authTenantId string = tenant().tenantId

@description('Client id or application ID URI of the API\'s app registration; several by commas. infra/scripts/register-app.sh makes one.')
@minLength(1)
param authAudience string

// azd asks for what has no default before its hooks run, and infra/hooks/preprovision.sh knows the two better.
@description('Object id of the user, group or service principal that administers the database, and runs the migrations. Must be given; azd\'s hook fills in who is signed in.')
@maxLength(36)
param databaseAdministratorId string = ''

@description('Its name: a user\'s principal name, a group\'s or an application\'s display name. Must be given; azd\'s hook fills it in.')
param databaseAdministratorName string = ''

@description('What it is. A group, when more than one person or pipeline deploys: the tables belong to who made them.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param databaseAdministratorType string = 'User'

@description('Version of PostgreSQL. Where a region makes elastic clusters of 17 alone, say so.')
@allowed(['16', '17'])
param databaseVersion string = '16'

@description('Compute size of the database: Standard_B… (burstable, for few organizations), Standard_D… (general purpose) or Standard_E… (memory optimized).')
param databaseSkuName string = 'Standard_B2s'

@description('Size of the database\'s disk in GiB; of each node in a cluster. It can grow and not shrink.')
@allowed([32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384])
param databaseStorageGb int = 32

@description('Days that the database\'s backups are kept.')
@minValue(7)
@maxValue(35)
param databaseBackupRetentionDays int = 7

@description('Nodes of an elastic cluster, which needs a general purpose or memory optimized size; 0 for a single server. A server that is there cannot be turned into a cluster.')
@minValue(0)
@maxValue(20)
param databaseClusterSize int = 0

@description('Instances that are kept ready for HTTP: Graph waits seconds, not minutes, for an answer to a notification.')
@minValue(0)
@maxValue(20)
param alwaysReadyHttpInstances int = 1

@description('Instances that there may be at once; each opens up to 12 connections to the database, most of them 2 or 3.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Memory of an instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Whether the app\'s instances and the storage account\'s copies are spread over the zones of the region.')
param zoneRedundant bool = false

@description('Whether storage, database and key vault are reached by private endpoints in a virtual network alone. The app\'s own address stays public: Graph sends notifications to it.')
param vnetEnabled bool = false

@description('Addresses of the virtual network, /24 or larger.')
param vnetAddressPrefix string = '10.20.0.0/24'

@description('Address at which Graph reaches the app, where it is not the app\'s own (a custom domain, Front Door).')
param publicUrl string = ''

@description('NCRONTAB schedule of the planner, six fields, in UTC.')
param syncSchedule string = '0 * * * * *'

@description('Further app settings of the README by name, e.g. SYNC_INTERVAL_MINUTES; values are text. Nothing secret: whoever reads the deployment reads them.')
param settings object = {}

@description('Who is told of alerts by e-mail; empty for nobody.')
param alertEmail string = ''

@description('Minutes without a successful run of a part from which on somebody is told.')
@minValue(15)
@maxValue(10080)
param lagAlertMinutes int = 120

@description('Days that logs and metrics are kept; 31 days cost nothing beyond taking them in.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

var token = uniqueString(subscription().id, environmentName, location)
var tags = { 'azd-env-name': environmentName }
var databaseName = 'organization_cache'

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  name: 'identity'
  params: {
    name: 'id-organization-cache-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    workspaceName: 'log-${token}'
    componentName: 'appi-${token}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  name: 'storage'
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    private: vnetEnabled
  }
}

module vault 'modules/key-vault.bicep' = {
  scope: group
  name: 'key-vault'
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    private: vnetEnabled
  }
}

module database 'modules/database.bicep' = {
  scope: group
  name: 'database'
  params: {
    name: 'psql-${token}'
    location: location
    tags: tags
    databaseName: databaseName
    version: databaseVersion
    skuName: databaseSkuName
    storageGb: databaseStorageGb
    backupRetentionDays: databaseBackupRetentionDays
    clusterSize: databaseClusterSize
    administratorId: databaseAdministratorId
    administratorName: databaseAdministratorName
    administratorType: databaseAdministratorType
    private: vnetEnabled
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  scope: group
  name: 'network'
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
    addressPrefix: vnetAddressPrefix
  }
}

module privateEndpoints 'modules/private-endpoints.bicep' = if (vnetEnabled) {
  scope: group
  name: 'private-endpoints'
  params: {
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointSubnetId
    storageAccountId: storage.outputs.id
    vaultId: vault.outputs.id
    databaseServerId: database.outputs.id
  }
}

module rbac 'modules/rbac.bicep' = {
  scope: group
  name: 'rbac'
  params: {
    principalId: identity.outputs.principalId
    storageAccountName: storage.outputs.name
    vaultName: vault.outputs.name
    componentName: monitoring.outputs.componentName
  }
}

module api 'modules/function-app.bicep' = {
  scope: group
  name: 'function-app'
  params: {
    planName: 'plan-${token}'
    name: 'func-${token}'
    location: location
    tags: tags
    serviceName: 'api'
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageAccountName: storage.outputs.name
    packageContainer: storage.outputs.packageContainer
    componentName: monitoring.outputs.componentName
    vaultName: vault.outputs.name
    databaseUrl: 'postgresql+psycopg://${identity.outputs.name}@${database.outputs.host}:5432/${databaseName}'
    authTenantId: authTenantId
    authAudience: authAudience
    publicUrl: publicUrl
    syncSchedule: syncSchedule
    settings: settings
    alwaysReadyHttpInstances: alwaysReadyHttpInstances
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    zoneRedundant: zoneRedundant
    subnetId: vnetEnabled ? network!.outputs.appSubnetId : ''
  }
  // The host reads its storage as soon as it starts.
  dependsOn: [rbac, privateEndpoints]
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    location: location
    tags: tags
    componentId: monitoring.outputs.componentId
    actionGroupName: 'ag-${token}'
    email: alertEmail
    lagMinutes: lagAlertMinutes
  }
}

module workbook 'modules/workbook.bicep' = {
  scope: group
  name: 'workbook'
  params: {
    location: location
    tags: tags
    componentId: monitoring.outputs.componentId
  }
}

// azd keeps these in the environment, where the hooks and infra/scripts/register-app.sh read them.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output SERVICE_URL string = api.outputs.url
output FUNCTION_APP_NAME string = api.outputs.name
output IDENTITY_NAME string = identity.outputs.name
output IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output KEY_VAULT_NAME string = vault.outputs.name
output DATABASE_SERVER_ID string = database.outputs.id
output DATABASE_SERVER_NAME string = database.outputs.name
output DATABASE_HOST string = database.outputs.host
output DATABASE_NAME string = databaseName
output DATABASE_ADMINISTRATOR string = databaseAdministratorName
output DATABASE_IS_PRIVATE bool = vnetEnabled
