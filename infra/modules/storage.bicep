metadata description = 'The storage account of the Functions host: its leases and timers, the deployed package, the queues. It has no keys that open it.'

@description('Name of the storage account.')
param name string

@description('Region of the account.')
param location string

@description('Tags of the account.')
param tags object

@description('Whether copies are kept in three zones of the region.')
param zoneRedundant bool

@description('Whether the account is reached by private endpoints alone.')
param private bool

@description('The queues that functions read (shared/triggers/messages.py); the host moves what fails again and again to one of the same name with -poison.')
var workQueues = [
  'sync-slices'
  'organization-plans'
  'organization-purges'
  'parity-checks'
  'organization-changes'
  'organization-subscriptions'
]

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'
  }
  properties: {
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    supportsHttpsTrafficOnly: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: private ? 'Deny' : 'Allow'
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource packages 'containers' = {
      name: 'app-package'
    }
  }

  resource queueService 'queueServices' = {
    name: 'default'

    resource queues 'queues' = [
      for queue in flatten(map(workQueues, name => [name, '${name}-poison'])): {
        name: queue
      }
    ]
  }
}

@description('Name of the storage account.')
output name string = account.name

@description('Resource id of the storage account.')
output id string = account.id

@description('Name of the container that the deployed package is in.')
output packageContainer string = account::blobs::packages.name
