metadata description = 'Private endpoints of what the app uses, with the zones in which their names are found. Telemetry goes to Azure Monitor\'s public address.'

@description('Region of the endpoints.')
param location string

@description('Tags of endpoints and zones.')
param tags object

@description('Resource id of the virtual network that finds the names.')
param networkId string

@description('Resource id of the subnet that the endpoints are in.')
param subnetId string

@description('Resource id of the storage account.')
param storageAccountId string

@description('Resource id of the key vault.')
param vaultId string

@description('Resource id of the PostgreSQL server.')
param databaseServerId string

var endpoints = [
  {
    group: 'blob'
    targetId: storageAccountId
    zone: 'privatelink.blob.${environment().suffixes.storage}'
  }
  {
    group: 'queue'
    targetId: storageAccountId
    zone: 'privatelink.queue.${environment().suffixes.storage}'
  }
  {
    group: 'vault'
    targetId: vaultId
    zone: replace(environment().suffixes.keyvaultDns, '.vault.', 'privatelink.vaultcore.')
  }
  {
    group: 'postgresqlServer'
    targetId: databaseServerId
    zone: 'privatelink.postgres.database.azure.com'
  }
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for endpoint in endpoints: {
    name: endpoint.zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (endpoint, i) in endpoints: {
    parent: zones[i]
    name: endpoint.group
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: networkId
      }
    }
  }
]

resource privateEndpoints 'Microsoft.Network/privateEndpoints@2024-07-01' = [
  for endpoint in endpoints: {
    name: 'pe-${endpoint.group}-${uniqueString(endpoint.targetId)}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: subnetId
      }
      privateLinkServiceConnections: [
        {
          name: endpoint.group
          properties: {
            privateLinkServiceId: endpoint.targetId
            groupIds: [endpoint.group]
          }
        }
      ]
    }
  }
]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [
  for (endpoint, i) in endpoints: {
    parent: privateEndpoints[i]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: endpoint.group
          properties: {
            privateDnsZoneId: zones[i].id
          }
        }
      ]
    }
    dependsOn: [links[i]]
  }
]
