"""schemathesis asks the running product whatever its OpenAPI document allows, and what it forbids.

Every check of schemathesis is on: no answer with 5xx, none with a status, type, header or body that the document does
not have, nothing accepted that the document forbids, no protected operation that answers without a token.
"""

from __future__ import annotations

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
from tests.application import APPLICATION, NAME, Application
from tests.databases import Databases

CONFIGURATION = f"""
[checks.positive_data_acceptance]
# What the models check beyond JSON Schema, such as that a certificate has a name, is refused with 400.
expected-statuses = ["2xx", "400", "401", "403", "404", "409"]

[phases.coverage]
# Others do not come as far as a function.
unexpected-methods = {orjson.dumps([method for method in METHODS if method != "HEAD"]).decode()}
"""
HANDSHAKE = """
[[operations]]
# Graph's handshake is answered whatever comes with it: it brings no notification that could be wrong.
include-path-regex = '^/notifications/'
[operations.checks.negative_data_rejection]
enabled = false
"""
REMOVING = ("remove_organization", "delete_synchronization_job")
"""What would leave nothing to ask about."""


@pytest.mark.parametrize(
    ("with_token", "of_what_is_there"),
    [(True, True), (True, False), (False, False)],
    ids=["of what is there", "of anything", "without a token"],
)
def test_the_product_keeps_to_its_document_whatever_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, databases: Databases, tmp_path: Path, with_token: bool, of_what_is_there: bool
) -> None:
    with (
        databases.fresh("sqlite") as url,
        small_tenant() as tenant,
        protected_application(monkeypatch, url, tenant) as application,
    ):
        given = writer(tenant)
        application.client.headers.update(given)
        there = names(application)
        configuration = CONFIGURATION + HANDSHAKE + (pinned(there) if of_what_is_there else "")

        process = ask(application.host.url, tmp_path, configuration, given if with_token else {})

    assert process.returncode == 0, process.stdout + process.stderr


def names(application: Application) -> dict[str, dict[str, str]]:
    """What the parameters of paths stand for that is there, by how the paths begin."""
    entity = application.register()
    return {
        "^/organizations/": {"id": NAME, "activityIdentifier": application.start()["activityIdentifier"]},
        "/synchronization/": {
            "version": "v1.0",
            "owner": "applications",
            "id": APPLICATION["objectId"],
            "jobId": entity["jobId"],
            "templateId": TEMPLATE_ID,
        },
    }


def pinned(there: Mapping[str, Mapping[str, str]]) -> str:
    """The part of schemathesis's configuration that has it ask for what is there."""
    removing = f"\n[[operations]]\ninclude-operation-id = {list(REMOVING)}\nenabled = false\n"
    return removing + "".join(
        f"\n[[operations]]\ninclude-path-regex = '{path}'\n[operations.parameters]\n"
        + "".join(f"'path.{name}' = '{value}'\n" for name, value in parameters.items())
        for path, parameters in there.items()
    )


def ask(url: str, folder: Path, configuration: str, headers: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What schemathesis has to tell; it asks the same in every run."""
    written = folder / "schemathesis.toml"
    written.write_text(configuration)
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(written), "--no-color"),
            *("run", f"{url}/openapi.json", "--continue-on-failure"),
            *("--max-examples", "5", "--seed", "1", "--generation-deterministic"),
            *(part for name, value in headers.items() for part in ("--header", f"{name}: {value}")),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
    )
