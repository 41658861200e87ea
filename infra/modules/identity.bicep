metadata description = 'The identity that the app runs under. Everything that the app may do is granted to it (rbac.bicep, and the database role of hooks/postprovision.sh).'

@description('Name of the identity; also the name of its database role.')
param name string

@description('Region of the identity.')
param location string

@description('Tags of the identity.')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
  tags: tags
}

@description('Name of the identity.')
output name string = identity.name

@description('Resource id of the identity.')
output id string = identity.id

@description('Client id, by which the app asks for tokens.')
output clientId string = identity.properties.clientId

@description('Object id, to which roles are granted.')
output principalId string = identity.properties.principalId
