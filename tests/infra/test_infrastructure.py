"""What the Bicep files deploy is what the product needs, and what the documents say."""

from __future__ import annotations

import json
import re

import pytest

import function_app
from local.host.metadata import read_functions
from shared.access.gate import check_protection
from shared.settings import Settings
from tests.infra.bicep import INFRA, ROOT, app_settings, block, main, module, parameters

FUNCTIONS = read_functions(function_app.app, {"SYNC_SCHEDULE": "0 * * * * *"})
DEPLOYMENT = (ROOT / "docs" / "deploy.md").read_text()

OF_THE_PLATFORM = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
    "PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "MALLOC_ARENA_MAX",
}
"""App settings that the Functions host, its Python worker, the worker's exporter or the C library reads."""
EXAMPLES = {
    "identityClientId": "3b5d7f90-1a2c-4e6f-8b9d-0c1e2f3a4b5c",
    "databaseUrl": "postgresql+psycopg://id-organization-cache@psql.postgres.database.azure.com:5432/organization_cache",
    "vault.properties.vaultUri": "https://kv.vault.azure.net/",
    "authTenantId": "1147ceed-a2e8-4cea-b246-1e6d8de03f50",
    "authAudience": "e2f6b0c8-4a91-4d37-8b52-1c9e7f3d6a04",
    "syncSchedule": "0 * * * * *",
    "empty(publicUrl) ? 'https://${app.properties.defaultHostName}' : publicUrl": "https://func.azurewebsites.net",
    "'https://ossrdbms-aad${environment().suffixes.sqlServerHostname}'": "https://ossrdbms-aad.database.windows.net",
}
"""What the expressions of app settings come to in Azure."""


def product_settings() -> set[str]:
    """What the product reads: its settings, and the schedules that are read when functions are indexed."""
    sources = "\n".join(path.read_text() for path in ROOT.glob("shared/triggers/*.py"))
    schedules = re.findall(r"%([A-Z_]+)%|environ\.get\(\"([A-Z_]+)\"", sources)
    return {name.upper() for name in Settings.model_fields} | {name for names in schedules for name in names if name}


def test_the_app_is_given_no_setting_that_nothing_reads() -> None:
    assert set(app_settings()) - product_settings() - OF_THE_PLATFORM == set()


def test_the_product_starts_in_azure_with_the_settings_that_it_is_given() -> None:
    given = {
        name: EXAMPLES.get(expression, expression.strip("'"))
        for name, expression in app_settings().items()
        if name in product_settings()
    }
    settings = Settings.of(given)
    check_protection(settings, {"WEBSITE_SITE_NAME": "func"})
    assert read_functions(function_app.app, given)
    # None of what makes it useful in Azure is left at a default that is for development.
    assert settings.database_tokens_for == "https://ossrdbms-aad.database.windows.net"
    assert settings.public_root == "https://func.azurewebsites.net"
    assert settings.key_vault_url
    assert settings.azure_client_id == EXAMPLES["identityClientId"]


def test_every_queue_of_the_app_is_there_with_its_poison_queue() -> None:
    made = {line.strip("'") for line in block(module("storage"), "var workQueues = [")}
    assert "'${name}-poison'" in module("storage")
    read = {str(function.trigger.properties["queueName"]) for function in FUNCTIONS if "queue" in function.trigger.type}
    written = {
        str(output.properties["queueName"])
        for function in FUNCTIONS
        for output in function.outputs
        if output.type == "queue"
    }
    assert {name for name in read | written if not name.endswith("-poison")} == made
    assert {name.removesuffix("-poison") for name in read} == made


def test_every_role_is_told_with_the_call_that_needs_it() -> None:
    ids = dict(re.findall(r"^var (\w+) = '([0-9a-f-]{36})'$", module("rbac"), re.MULTILINE))
    assigned = re.findall(r"roleDefinitionId: subscriptionResourceId\([^,]+, (\w+)\)", module("rbac"))
    scopes = re.findall(r"^  scope: (\w+)$", module("rbac"), re.MULTILINE)
    assert sorted(ids) == sorted(assigned)
    assert len(scopes) == len(assigned)

    told = re.findall(r"^\| \*([^*]+)\* \| `([0-9a-f-]{36})` \|([^|]+)\|([^|]+)\|([^|]+)\|$", DEPLOYMENT, re.MULTILINE)
    assert {role.replace(" ", "").lower(): role_id for role, role_id, *_ in told} == {
        name.lower(): role_id for name, role_id in ids.items()
    }
    for role, _, _, _, needed_by in told:
        files = re.findall(r"`([\w/]+\.(?:py|json))`", needed_by)
        assert files, role
        for file in files:
            assert (ROOT / file).exists(), f"{role}: {file}"


def test_no_role_is_granted_anywhere_else() -> None:
    for path in INFRA.glob("**/*.bicep"):
        assert path.name == "rbac.bicep" or "roleAssignments" not in path.read_text(), path


def test_storage_database_and_telemetry_take_nothing_but_tokens() -> None:
    assert "allowSharedKeyAccess: false" in module("storage")
    assert "passwordAuth: 'Disabled'" in module("database")
    assert "enableRbacAuthorization: true" in module("key-vault")
    assert "DisableLocalAuth: true" in module("monitoring")
    for path in INFRA.glob("**/*.bicep"):
        assert not re.search(r"\blist\w*(Keys|Secrets)\b|@secure", path.read_text()), f"{path} handles a secret"


def test_the_parameters_file_repeats_the_defaults() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    defaults = parameters()
    assert given.keys() <= defaults.keys()
    assert {name for name, default in defaults.items() if default is None} <= given.keys()
    for name, told in given.items():
        if isinstance(told["value"], str) and "=" in told["value"]:
            assert told["value"].partition("=")[2].removesuffix("}") == (defaults[name] or "").strip("'"), name


def test_everything_that_can_be_set_is_told() -> None:
    text = (INFRA / "main.parameters.json").read_text()
    for name in re.findall(r"\$\{(\w+)", text):
        assert f"`{name}`" in DEPLOYMENT, name
    for name in parameters():
        assert f"param {name} " in main()
        assert re.search(rf"@description\('[^\n]+\)(\n@\w+\([^\n]*\))*\nparam {name} ", main()), name


def test_the_hooks_find_their_values_among_the_outputs() -> None:
    outputs = set(re.findall(r"^output (\w+) ", main(), re.MULTILINE))
    hook = (INFRA / "hooks" / "postprovision.sh").read_text()
    needed = re.findall(r"^for name in ([A-Z_ ]+); do$", hook, re.MULTILINE)[0].split()
    assert set(needed) <= outputs
    registering = (INFRA / "scripts" / "register-app.sh").read_text()
    assert set(re.findall(r"of_azd ([A-Z_]+)\)", registering)) <= outputs


@pytest.mark.parametrize("file", ["modules/alerts.bicep", "workbook.json"])
def test_alerts_and_workbook_ask_for_metrics_that_the_app_tells(file: str) -> None:
    asked = set(re.findall(r"'(sync\.\w+)'", (INFRA / file).read_text()))
    told = {
        name for path in ROOT.glob("shared/telemetry/*.py") for name in re.findall(r"\"(sync\.\w+)\"", path.read_text())
    }
    assert asked
    assert asked <= told


def test_each_alert_leads_to_what_is_to_be_done_about_it() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    named = re.findall(r"docs/operations\.md#([\w-]+)", module("alerts"))
    assert named
    assert set(named) <= {title.lower().replace(" ", "-") for title in sections}


def test_alerts_judge_columns_that_their_queries_have() -> None:
    rules = re.findall(r"query: '''\n(.+?)'''\n.+?dimensions: \[(.+?)\]", module("alerts"), re.DOTALL)
    names = re.findall(r"^    name: '([\w-]+)'$", module("alerts"), re.MULTILINE)
    assert len(rules) == len(names)
    for query, dimensions in rules:
        for column in ["number", *(name.strip("' ") for name in dimensions.split(","))]:
            assert re.search(rf"\b{column} = ", query), (column, query)
    for name in names:
        assert f"\n| {name} |" in DEPLOYMENT, name


def test_the_workbook_is_of_this_components_data() -> None:
    workbook = json.loads((INFRA / "workbook.json").read_text())
    assert workbook["fallbackResourceIds"] == ["<componentId>"]
    assert "'<componentId>', componentId" in module("workbook")
    names = [item["name"] for item in workbook["items"]]
    assert len(names) == len(set(names))
    period = {item["content"].get("timeContextFromParameter") for item in workbook["items"] if item["type"] == 3}
    assert period == {workbook["items"][1]["content"]["parameters"][0]["name"]}
