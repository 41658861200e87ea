"""What the README and the docs say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import function_app
from local.host.metadata import read_functions
from shared.models.parts import CATALOGUE
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/**/*.md")]
FUNCTIONS = read_functions(function_app.app, {"SYNC_SCHEDULE": "0 * * * * *"})


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_readme_tells_every_setting_with_its_meaning_and_default(name: str) -> None:
    field = Settings.model_fields[name]
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name.upper()}` |"))
    _, _, default, meaning, _ = (cell.strip() for cell in row.split("|"))
    assert field.description
    assert meaning.startswith(field.description)
    if field.default is not None:
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        assert ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) in default


@pytest.mark.parametrize(
    "route",
    [
        str(function.trigger.properties["route"])
        for function in FUNCTIONS
        if function.trigger.type == "httpTrigger" and function.name != "unknown_path"
    ],
)
def test_the_readme_tells_every_route(route: str) -> None:
    assert f" /{route}`" in README.replace(" S/", " /{version}/{owner}/{id}/synchronization/")


def test_the_readme_tells_every_permission_that_a_part_needs() -> None:
    for part in CATALOGUE.values():
        assert f"`{part.permission}`" in README


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_decision_has_its_number_and_is_found_where_the_code_refers_to_it() -> None:
    names = sorted(path.name for path in ROOT.glob("docs/decisions/*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for source in ROOT.glob("shared/**/*.py"):
        for reference in re.findall(r"docs/decisions/[\w-]+\.md", source.read_text()):
            assert (ROOT / reference).exists(), f"{source}: {reference}"


def test_a_specific_route_is_tried_before_a_general_one() -> None:
    # The Functions host tries routes in the order of the functions' names.
    order = [function.name for function in FUNCTIONS]
    assert order == sorted(order, key=str.lower)
    assert order.index("get_all_sync_states") < order.index("get_organization")
    assert order.index("count_synchronization_jobs") < order.index("get_synchronization_job")
    assert order.index("count_synchronization_templates") < order.index("get_synchronization_template")
    assert order[-1] == "unknown_path"


@pytest.mark.parametrize("document", ["reliability.md", "security.md"])
def test_every_test_that_proves_what_is_promised_exists(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert named
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_every_file_that_the_page_on_testing_names_exists() -> None:
    named = re.findall(r"`((?:tests|local|\.github)/[\w./-]+)`", (ROOT / "docs" / "testing.md").read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_threat_names_its_proof() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (?!Threat |---)([^|]+)\|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    assert rows
    assert [threat for threat, proof in rows if "::" not in proof] == []


@pytest.mark.parametrize("triggers", ["HTTP triggers", "Webhooks", "Queue triggers", "Timer triggers"])
def test_every_kind_of_threat_is_thought_of_for_every_kind_of_trigger(triggers: str) -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    section = text.partition(f"\n## {triggers}\n")[2].partition("\n## ")[0]
    for kind in (
        "Spoofing", "Tampering", "Repudiation", "Information disclosure", "Denial of service", "Elevation of privilege",
    ):  # fmt: skip
        assert f"**{kind}**" in section, kind


def test_every_promise_of_reliability_names_its_proof() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text().partition("## How it is tested")[0]
    rows = re.findall(r"^\| (?!Promise |---)([^|]+)\|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    assert rows
    assert [promise for promise, proof in rows if "::" not in proof and "TODO(lead)" not in proof] == []
