metadata description = 'PostgreSQL for the organization cache: one server, or an elastic cluster of several. It takes Entra tokens and no passwords.'

@description('Name of the server.')
param name string

@description('Region of the server.')
param location string

@description('Tags of the server.')
param tags object

@description('Name of the database.')
param databaseName string

@description('Version of PostgreSQL.')
param version string

@description('Compute size, e.g. Standard_B2s (burstable), Standard_D4ds_v5 (general purpose), Standard_E4ds_v5 (memory optimized).')
param skuName string

@description('Size of the disk in GiB; of each node in a cluster.')
param storageGb int

@description('Days that backups are kept.')
param backupRetentionDays int

@description('Nodes of an elastic cluster; 0 for a single server.')
param clusterSize int

@description('Object id of the user, group or service principal that administers the server.')
param administratorId string

@description('Its name, by which it logs in: a user\'s principal name, a group\'s or an application\'s display name.')
param administratorName string

@description('What it is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param administratorType string

@description('Whether the server is reached by private endpoints alone.')
param private bool

var isCluster = clusterSize > 0
var tier = startsWith(skuName, 'Standard_B')
  ? 'Burstable'
  : startsWith(skuName, 'Standard_E') ? 'MemoryOptimized' : 'GeneralPurpose'

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: skuName
    tier: tier
  }
  properties: {
    version: version
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    storage: {
      storageSizeGB: storageGb
      autoGrow: isCluster ? 'Disabled' : 'Enabled'
    }
    backup: {
      backupRetentionDays: backupRetentionDays
      geoRedundantBackup: 'Disabled'
    }
    network: {
      publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    }
    ...(isCluster
      ? {
          cluster: {
            clusterSize: clusterSize
            defaultDatabaseName: databaseName
          }
        }
      : {})
  }
}

// The server takes one change of its parts at a time, so each waits for the one before. A cluster has one database, which
// it is made with.
resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = if (!isCluster) {
  parent: server
  name: databaseName
  properties: {
    charset: 'UTF8'
    collation: 'en_US.utf8'
  }
}

// From 0.0.0.0 to 0.0.0.0 means Azure's own addresses: the plan's instances have no fixed ones without a virtual network.
resource azureAddresses 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2025-08-01' = if (!private) {
  parent: server
  name: 'azure-services'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
  dependsOn: [database]
}

// The last one: right after it is made, a server often refuses its administrator for not being accessible yet.
resource administrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: administratorId
  properties: {
    principalName: administratorName
    principalType: administratorType
    tenantId: tenant().tenantId
  }
  dependsOn: [database, azureAddresses]
}

@description('Resource id of the server.')
output id string = server.id

@description('Name of the server.')
output name string = server.name

@description('Address of the server.')
output host string = server.properties.fullyQualifiedDomainName
