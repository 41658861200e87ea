"""docs/operations.md is about what there is: each metric, each alert, and the pages of the errors behind it."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from shared.api.views.troubleshooting import markdown
from shared.models.troubleshooting import ALL_PAGES, Alert
from shared.telemetry import spans

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CODE = (ROOT / "shared" / "telemetry" / "metrics.py").read_text()
METRIC = re.compile(r"\bsync\.[a-z_]+\b")

each_alert = pytest.mark.parametrize("alert", Alert)


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(alert: Alert) -> str:
    found = OPERATIONS.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
    assert found, f"docs/operations.md has no section {alert}"
    return found


def test_each_metric_that_the_docs_name_exists_and_each_that_exists_is_explained() -> None:
    explained = set(re.findall(r"^\| `(sync\.[a-z_]+)` \|", OPERATIONS, re.MULTILINE))
    assert explained == set(METRIC.findall(CODE))
    assert set(METRIC.findall(OPERATIONS)) == explained


@each_alert
def test_each_alert_has_a_section_that_tells_what_it_means_how_to_look_and_what_to_do(alert: Alert) -> None:
    text = section(alert)
    means, look, do = (text.index(part) for part in ("**What it means.**", "```kql\n", "**What to do.**"))
    assert means < look < do


@each_alert
def test_an_alert_and_the_pages_of_its_errors_lead_to_each_other(alert: Alert) -> None:
    linked = set(re.findall(r"\(troubleshooting\.md#([\w-]+)\)", section(alert)))
    pages = {anchor(page.title) for page in ALL_PAGES if alert in page.alerts}
    assert linked == pages
    assert markdown().count(f"(operations.md#{anchor(alert)})") == len(pages)


def test_the_queries_look_for_labels_that_are_told() -> None:
    queries = "\n".join(re.findall(r"```kql\n(.*?)```", OPERATIONS, re.DOTALL))
    asked = set(re.findall(r"customDimensions\.(\w+)", queries)) | set(
        re.findall(r'customDimensions\["([\w.]+)"\]', queries)
    )
    told = CODE + Path(spans.__file__).read_text() + (ROOT / "shared" / "telemetry" / "labels.py").read_text()
    assert asked
    assert {label for label in asked if f'"{label}"' not in told} == set()


def test_the_host_speaks_opentelemetry_too() -> None:
    assert orjson.loads((ROOT / "host.json").read_bytes())["telemetryMode"] == "OpenTelemetry"
