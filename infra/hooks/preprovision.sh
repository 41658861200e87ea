#!/bin/sh
# azd's preprovision hook: fills in who administers the database, unless the environment says so: whoever is signed in
# to the Azure CLI. The same account then runs the migrations (postprovision.sh).
set -eu

fail() {
    echo "preprovision: $1" >&2
    exit 1
}

command -v az >/dev/null || fail 'the Azure CLI (az) is needed'
kind=$(az account show --query user.type --output tsv) || fail 'sign in with az login first'

if [ -z "${DATABASE_ADMINISTRATOR_ID:-}" ]; then
    if [ "$kind" = user ]; then
        id=$(az ad signed-in-user show --query id --output tsv || true)
        name=$(az ad signed-in-user show --query userPrincipalName --output tsv || true)
        type=User
    else
        client=$(az account show --query user.name --output tsv)
        id=$(az ad sp show --id "$client" --query id --output tsv || true)
        name=$(az ad sp show --id "$client" --query displayName --output tsv || true)
        type=ServicePrincipal
    fi
    if [ -z "$id" ] || [ -z "$name" ]; then
        echo 'preprovision: Microsoft Entra does not tell who you are' >&2
        fail 'set DATABASE_ADMINISTRATOR_ID, DATABASE_ADMINISTRATOR_NAME and DATABASE_ADMINISTRATOR_TYPE with azd env set'
    fi
    azd env set DATABASE_ADMINISTRATOR_ID "$id"
    azd env set DATABASE_ADMINISTRATOR_NAME "$name"
    azd env set DATABASE_ADMINISTRATOR_TYPE "$type"
    echo "preprovision: $name ($type) will administer the database"
fi

if [ "${VNET_ENABLED:-false}" = true ]; then
    # The app's subnet is delegated to it, which does not register it by itself.
    az provider register --namespace Microsoft.App --wait
fi

if [ -z "${AUTH_AUDIENCE:-}" ]; then
    fail 'AUTH_AUDIENCE is not set: run infra/scripts/register-app.sh api, or azd env set AUTH_AUDIENCE <client id>'
fi
