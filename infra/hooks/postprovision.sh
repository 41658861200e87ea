#!/bin/sh
# azd's postprovision hook: brings the database up to date, as its administrator, and gives the app's identity a role with
# what the app needs and no more. It can be run again at any time.
#
# From the environment, as azd has it after provisioning (infra/main.bicep, outputs): DATABASE_HOST, DATABASE_NAME,
# DATABASE_ADMINISTRATOR, DATABASE_SERVER_ID, IDENTITY_NAME, IDENTITY_PRINCIPAL_ID. Besides, if wanted:
#   DEPLOYER_IP_ADDRESS  this machine's public address, which the server's firewall lets in while the hook runs; not
#                        needed on machines in Azure, or in the virtual network
#   DEPLOY_PYTHON        a Python that has requirements.txt installed; without it one is set up in .venv/deploy
set -eu

cd "$(dirname "$0")/../.."

fail() {
    echo "postprovision: $1" >&2
    exit 1
}

for name in DATABASE_HOST DATABASE_NAME DATABASE_ADMINISTRATOR DATABASE_SERVER_ID IDENTITY_NAME IDENTITY_PRINCIPAL_ID; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || fail "$name is not set; azd provision sets it"
done
command -v az >/dev/null || fail 'the Azure CLI (az) is needed'

if [ -z "${DEPLOY_PYTHON:-}" ]; then
    DEPLOY_PYTHON=.venv/deploy/bin/python
    if ! "$DEPLOY_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' && python3 -m venv --clear .venv/deploy; } ||
            fail 'Python 3.11 or newer with venv is needed'
    fi
    "$DEPLOY_PYTHON" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
fi

rule_id="$DATABASE_SERVER_ID/firewallRules/deployment"
if [ -n "${DEPLOYER_IP_ADDRESS:-}" ]; then
    [ "${DATABASE_IS_PRIVATE:-false}" = false ] ||
        fail 'the database is private: run this hook in its virtual network, without DEPLOYER_IP_ADDRESS'
    trap 'az resource delete --ids "$rule_id" --api-version 2025-08-01 --output none' EXIT
    trap 'exit 1' HUP INT TERM
    az resource create --id "$rule_id" --api-version 2025-08-01 --output none \
        --properties "{\"startIpAddress\": \"$DEPLOYER_IP_ADDRESS\", \"endIpAddress\": \"$DEPLOYER_IP_ADDRESS\"}"
fi

# libpq's own variables: nothing secret stands on a command line.
PGPASSWORD=$(az account get-access-token --resource-type oss-rdbms --query accessToken --output tsv)
PGUSER=$DATABASE_ADMINISTRATOR
PGHOST=$DATABASE_HOST
PGPORT=${DATABASE_PORT:-5432}
PGDATABASE=$DATABASE_NAME
PGSSLMODE=verify-full
PGSSLROOTCERT=${SSL_CERT_FILE:-$("$DEPLOY_PYTHON" -m certifi)}
PGCONNECT_TIMEOUT=15
export PGPASSWORD PGUSER PGHOST PGPORT PGDATABASE PGSSLMODE PGSSLROOTCERT PGCONNECT_TIMEOUT

# A new server's name and administrator take a while to be known everywhere.
attempts=${DATABASE_ATTEMPTS:-12}
until "$DEPLOY_PYTHON" infra/scripts/database_role.py create "$IDENTITY_NAME" "$IDENTITY_PRINCIPAL_ID"; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || fail "the database does not let $DATABASE_ADMINISTRATOR in; is DEPLOYER_IP_ADDRESS set?"
    echo 'postprovision: trying again in 15 seconds' >&2
    sleep 15
done
DATABASE_URL=postgresql+psycopg:// "$DEPLOY_PYTHON" -m shared.cache upgrade
"$DEPLOY_PYTHON" infra/scripts/database_role.py grant "$IDENTITY_NAME"
