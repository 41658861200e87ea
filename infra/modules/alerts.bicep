metadata description = 'Alerts on what people have to look at; docs/operations.md says what to do about each.'

@description('Region of the rules.')
param location string

@description('Tags of rules and action group.')
param tags object

@description('Resource id of the Application Insights component.')
param componentId string

@description('Name of the action group.')
param actionGroupName string

@description('Who is told by e-mail; empty for nobody.')
param email string

@description('Minutes without a successful run of a part from which on somebody is told.')
param lagMinutes int

// In each query, the column that is judged is called number; a metric with one value at a time has it in value. What is in
// order is left out: Azure charges for each combination of dimensions that a query returns.
var rules = [
  {
    name: 'quarantine'
    title: 'An organization is in quarantine'
    description: 'Its job runs no longer on schedule but is tried again after 6, 12 and 24 hours, then daily; see docs/operations.md#quarantine.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    lookBack: null
    query: '''
customMetrics
| where name == 'sync.quarantined' and value > <threshold>
| project timestamp, number = value, organization = tostring(customDimensions.organization)
'''
    aggregation: 'Maximum'
    threshold: 0
    dimensions: ['organization']
  }
  {
    name: 'lag'
    title: 'A part of an organization is not up to date'
    description: 'No run of the part has succeeded for longer than the threshold, in seconds; see docs/operations.md#lag.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    lookBack: null
    query: '''
customMetrics
| where name == 'sync.lag' and value > <threshold>
| project timestamp, number = value, organization = tostring(customDimensions.organization), part = tostring(customDimensions.part)
'''
    aggregation: 'Maximum'
    threshold: lagMinutes * 60
    dimensions: ['organization', 'part']
  }
  {
    name: 'dead-messages'
    title: 'Messages were given up'
    description: 'A queue message failed at each of its deliveries; see docs/operations.md#dead-messages.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT15M'
    lookBack: null
    // The host tells of each message that it puts on a poison queue, also where no function of the app reads that one and
    // counts it (sync.dead_messages).
    query: '''
traces
| where message startswith 'Message has reached MaxDequeueCount'
| project timestamp, number = 1.0, queue = extract("queue '([^']+)'", 1, message)
'''
    aggregation: 'Total'
    threshold: 0
    dimensions: ['queue']
  }
  {
    name: 'deletion-guard'
    title: 'Deletions wait for approval'
    description: 'A run found more deletions than it carries out unasked, and deleted nothing; see docs/operations.md#deletion-guard.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT30M'
    lookBack: null
    query: '''
customMetrics
| where name == 'sync.held_deletions' and value > <threshold>
| project timestamp, number = value, organization = tostring(customDimensions.organization), part = tostring(customDimensions.part)
'''
    aggregation: 'Maximum'
    threshold: 0
    dimensions: ['organization', 'part']
  }
  {
    name: 'server-errors'
    title: 'Requests are answered 5xx'
    description: 'More than five requests within a quarter of an hour had the same answer of 5xx; see docs/operations.md#server-errors.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    lookBack: null
    query: '''
requests
| where toint(resultCode) between (500 .. 599)
| project timestamp, number = todouble(itemCount), status = tostring(resultCode)
'''
    aggregation: 'Total'
    threshold: 5
    dimensions: ['status']
  }
  {
    name: 'silence'
    title: 'The service tells nothing any more'
    description: 'It told of the state of organizations within the last day and has not for half an hour: it does not run, or cannot reach its database; see docs/operations.md#silence.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT30M'
    lookBack: 'P1D'
    query: '''
customMetrics
| where name == 'sync.quarantined'
| summarize number = iff(max(timestamp) < ago(30m), 1.0, 0.0) by app = cloud_RoleName
| extend timestamp = now()
'''
    aggregation: 'Maximum'
    threshold: 0
    dimensions: ['app']
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'orgcache'
    enabled: true
    emailReceivers: empty(email)
      ? []
      : [
          {
            name: 'operators'
            emailAddress: email
            useCommonAlertSchema: true
          }
        ]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'alert-${rule.name}-${uniqueString(componentId)}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: rule.title
      description: rule.description
      severity: rule.severity
      enabled: true
      autoMitigate: true
      evaluationFrequency: rule.frequency
      windowSize: rule.window
      overrideQueryTimeRange: rule.lookBack
      scopes: [componentId]
      criteria: {
        allOf: [
          {
            query: replace(rule.query, '<threshold>', string(rule.threshold))
            metricMeasureColumn: 'number'
            timeAggregation: rule.aggregation
            operator: 'GreaterThan'
            threshold: rule.threshold
            dimensions: map(rule.dimensions, dimension => {
              name: dimension
              operator: 'Include'
              values: ['*']
            })
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [people.id]
      }
    }
  }
]
