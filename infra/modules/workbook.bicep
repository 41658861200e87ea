metadata description = 'A workbook in Azure Monitor: organizations, how fresh they are, what goes wrong.'

@description('Region of the workbook.')
param location string

@description('Tags of the workbook.')
param tags object

@description('Resource id of the Application Insights component.')
param componentId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(componentId, 'organizations')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Organization cache'
    category: 'workbook'
    sourceId: componentId
    serializedData: replace(loadTextContent('../workbook.json'), '<componentId>', componentId)
  }
}
