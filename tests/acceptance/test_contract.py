"""schemathesis asks the running product whatever its OpenAPI document allows, and what it forbids.

Every check of schemathesis is on: no answer with 5xx, none with a status, type, header or body that the document does
not have, nothing accepted that the document forbids, no protected operation that answers without a token.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from shared.api.routing import METHODS
from shared.models.jobs import TEMPLATE_ID
from tests.api.support import small_tenant
from tests.api.tokens import protected_application, writer
from tests.application import APPLICATION, NAME
from tests.databases import Databases

ROOT = Path(__file__).parents[2]
CONFIGURATION = f"""
[checks.positive_data_acceptance]
# What the models check beyond JSON Schema, such as that a certificate has a name, is refused with 400.
expected-statuses = ["2xx", "400", "401", "403", "404", "409"]

[phases.coverage]
# Others do not come as far as a function.
unexpected-methods = {orjson.dumps([method for method in METHODS if method != "HEAD"]).decode()}
"""


@pytest.mark.parametrize("with_token", [True, False], ids=["with a token", "without a token"])
def test_the_product_keeps_to_its_document_whatever_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, databases: Databases, tmp_path: Path, with_token: bool
) -> None:
    with (
        databases.fresh("sqlite") as url,
        small_tenant() as tenant,
        protected_application(monkeypatch, url, tenant) as application,
    ):
        application.client.headers.update(writer(tenant))
        entity = application.register()
        known = {
            "organization": NAME,
            "applications": APPLICATION["objectId"],
            "servicePrincipals": APPLICATION["servicePrincipalId"],
            "jobId": entity["jobId"],
            "activityIdentifier": application.start()["activityIdentifier"],
            "templateId": TEMPLATE_ID,
        }

        process = ask(application.host.url, tmp_path, known, writer(tenant) if with_token else {})

    assert process.returncode == 0, process.stdout + process.stderr


def ask(
    url: str, folder: Path, known: Mapping[str, str], headers: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What schemathesis has to tell; it asks the same in every run."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.acceptance.known_names",
        "KNOWN_NAMES": orjson.dumps(known).decode(),
    }
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(configuration), "--no-color"),
            *("run", f"{url}/openapi.json", "--checks", "all", "--continue-on-failure"),
            *("--max-examples", "20", "--seed", "1", "--generation-deterministic", "--generation-database", "none"),
            *(part for name, value in headers.items() for part in ("--header", f"{name}: {value}")),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
