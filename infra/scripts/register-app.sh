#!/bin/sh
# Makes the two app registrations, with the Azure CLI and the rights of an Application Administrator. Each command can be
# run again: what is there is brought to the same state.
#
#   register-app.sh api      the API's own: who calls asks for tokens of it (docs/security.md). Before azd up; keeps
#                            AUTH_AUDIENCE in the azd environment.
#   register-app.sh graph    the multi-tenant application that reads Microsoft Graph, trusting the app's identity
#                            (docs/graph-access.md). After azd provision; reads its environment.
#
# From the environment, if wanted:
#   API_APP_NAME, GRAPH_APP_NAME   display names, by which registrations are found again
#   API_SIGN_IN_AUDIENCE           AzureADMyOrg, or AzureADMultipleOrgs for customers who call for themselves
#   IDENTITY_PRINCIPAL_ID, SERVICE_URL   as azd provision left them
set -eu

GRAPH=https://graph.microsoft.com/v1.0
MICROSOFT_GRAPH=00000003-0000-0000-c000-000000000000
AZURE_CLI=04b07795-8ddb-461a-bbee-02f9e1bf7b46
# What the README lists under "A real tenant"; tests/infra/test_scripts.py compares the two.
PERMISSIONS='User.Read.All GroupMember.Read.All Group.Read.All Sites.Read.All MailboxSettings.Read Channel.ReadBasic.All Member.Read.Hidden'
# Ids of our own permissions, each a role for programs and a scope for people: Entra takes the same value twice only where
# id, name and description are the same, too. Any id will do, as long as it stays the same.
READ=6f0f3c0e-3f5d-4a52-9b1e-0c8a5f7d2e11
READ_WRITE=b1d5a7c2-84e6-4d0b-a3f9-5e2c7b901d64

fail() {
    echo "register-app: $1" >&2
    exit 1
}

of_azd() { # the value of a name in azd's environment, if there is one
    # It tells on standard output, too, that there is none.
    if command -v azd >/dev/null && value=$(azd env get-value "$1" 2>/dev/null); then echo "$value"; fi
}

application() { # client id of the registration of this display name, which is made if there is none
    found=$(az ad app list --filter "displayName eq '$1'" --query '[].appId' --output tsv)
    case $found in
    '') az ad app create --display-name "$1" --sign-in-audience "$2" --query appId --output tsv ;;
    *[!0-9a-f-]*) fail "there are several applications named $1" ;;
    *) echo "$found" ;;
    esac
}

object_id() {
    az ad app show --id "$1" --query id --output tsv
}

service_principal() { # object id of the application's service principal here, which is made if there is none
    az ad sp show --id "$1" --query id --output tsv 2>/dev/null || az ad sp create --id "$1" --query id --output tsv
}

change() { # a registration, by a PATCH of Microsoft Graph
    az rest --method PATCH --url "$GRAPH/applications/$1" --headers Content-Type=application/json --body "$2"
}

register_api() {
    client=$(application "${API_APP_NAME:-Organization cache API}" "${API_SIGN_IN_AUDIENCE:-AzureADMyOrg}")
    object=$(object_id "$client")
    change "$object" "{
      \"signInAudience\": \"${API_SIGN_IN_AUDIENCE:-AzureADMyOrg}\",
      \"identifierUris\": [\"api://$client\"],
      \"appRoles\": [
        $(role "$READ" Synchronization.Read.All 'Read the state of synchronizations'),
        $(role "$READ_WRITE" Synchronization.ReadWrite.All 'Read the state of synchronizations, start and change them')
      ],
      \"api\": {
        \"requestedAccessTokenVersion\": 2,
        \"oauth2PermissionScopes\": [
          $(scope "$READ" Synchronization.Read.All 'Read the state of synchronizations'),
          $(scope "$READ_WRITE" Synchronization.ReadWrite.All 'Read the state of synchronizations, start and change them')
        ]
      }
    }"
    # Scopes have to be there before somebody can be trusted with them.
    change "$object" "{\"api\": {\"preAuthorizedApplications\": [
      {\"appId\": \"$AZURE_CLI\", \"delegatedPermissionIds\": [\"$READ\", \"$READ_WRITE\"]}
    ]}}"
    principal=$(service_principal "$client")
    az ad sp update --id "$principal" --set appRoleAssignmentRequired=true
    assign_to_me "$principal"
    if command -v azd >/dev/null && azd env set AUTH_AUDIENCE "$client" >/dev/null 2>&1; then
        echo "The azd environment has AUTH_AUDIENCE=$client"
    else
        echo "Set AUTH_AUDIENCE=$client (azd env set, once there is an azd environment)"
    fi
    echo 'You may call the API; assign other users and programs to it in Microsoft Entra.'
}

role() {
    echo "{\"id\": \"$1\", \"value\": \"$2\", \"displayName\": \"$2\", \"description\": \"$3\", \"isEnabled\": true, \"allowedMemberTypes\": [\"Application\"]}"
}

scope() {
    echo "{\"id\": \"$1\", \"value\": \"$2\", \"type\": \"Admin\", \"isEnabled\": true, \"adminConsentDisplayName\": \"$2\", \"adminConsentDescription\": \"$3\"}"
}

assign_to_me() {
    me=$(az ad signed-in-user show --query id --output tsv 2>/dev/null) || return 0 # a pipeline calls with an app role
    assigned=$(az rest --url "$GRAPH/servicePrincipals/$1/appRoleAssignedTo?\$top=999" \
        --query "length(value[?principalId=='$me'])" --output tsv)
    [ "$assigned" = 0 ] || return 0
    az rest --method POST --url "$GRAPH/servicePrincipals/$1/appRoleAssignedTo" --output none \
        --headers Content-Type=application/json \
        --body "{\"principalId\": \"$me\", \"resourceId\": \"$1\", \"appRoleId\": \"00000000-0000-0000-0000-000000000000\"}"
}

register_graph() {
    identity=${IDENTITY_PRINCIPAL_ID:-$(of_azd IDENTITY_PRINCIPAL_ID)}
    service=${SERVICE_URL:-$(of_azd SERVICE_URL)}
    if [ -z "$identity" ] || [ -z "$service" ]; then
        fail 'IDENTITY_PRINCIPAL_ID and SERVICE_URL are not set: run azd provision first'
    fi
    tenant=$(az account show --query tenantId --output tsv)
    authority=$(az cloud show --query endpoints.activeDirectory --output tsv)
    authority=${authority%/}

    wanted=
    for permission in $PERMISSIONS; do
        id=$(az ad sp show --id "$MICROSOFT_GRAPH" --query "appRoles[?value=='$permission'].id | [0]" --output tsv)
        [ -n "$id" ] || fail "Microsoft Graph has no application permission $permission"
        wanted="$wanted${wanted:+, }{\"id\": \"$id\", \"type\": \"Role\"}"
    done

    client=$(application "${GRAPH_APP_NAME:-Organization cache}" AzureADMultipleOrgs)
    object=$(object_id "$client")
    change "$object" "{
      \"signInAudience\": \"AzureADMultipleOrgs\",
      \"web\": {\"redirectUris\": [\"$service/docs\"]},
      \"requiredResourceAccess\": [{\"resourceAppId\": \"$MICROSOFT_GRAPH\", \"resourceAccess\": [$wanted]}]
    }"
    service_principal "$client" >/dev/null
    trusted=$(az ad app federated-credential list --id "$object" --query "length([?subject=='$identity'])" --output tsv)
    if [ "$trusted" = 0 ]; then
        az ad app federated-credential create --id "$object" --output none --parameters "{
          \"name\": \"organization-cache-$(echo "$identity" | cut -c1-8)\",
          \"issuer\": \"$authority/$tenant/v2.0\",
          \"subject\": \"$identity\",
          \"audiences\": [\"api://AzureADTokenExchange\"]
        }"
    fi
    cat <<TOLD
The application reads Microsoft Graph as soon as an administrator of a tenant has consented:

  $authority/<tenant id>/adminconsent?client_id=$client&redirect_uri=$service/docs

Register an organization with
  "application": {"clientId": "$client", "objectId": "$object", "servicePrincipalId": "<below>"},
  "credential": {"kind": "federated"}
where servicePrincipalId is what the organization's own tenant calls it:
  az ad sp show --id $client --query id --output tsv
TOLD
}

command -v az >/dev/null || fail 'the Azure CLI (az) is needed'
case ${1:-} in
api) register_api ;;
graph) register_graph ;;
*) fail 'say api or graph' ;;
esac
