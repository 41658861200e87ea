"""The benchmarks' report: what was measured is told as it is, and what people wrote around it stays."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks import report, results
from benchmarks.__main__ import NAMES
from benchmarks.results import Figure, Plot, Result


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text("# Benchmarks\n\n<!-- results -->\nof yesterday\n<!-- end of results -->\n\nSaid by people.\n")
    for module in (report, results):
        monkeypatch.setattr(module, "DIRECTORY", tmp_path / "results")
    monkeypatch.setattr(report, "README", path)
    return path


def measured() -> Result:
    result = Result(2, "A full run", [Figure("SQLite", 12_345.6, "objects/s")], remarks=["Most of it is writing."])
    result.judge_at_least("product / script", 99.96, 100, "×")
    result.judge_at_most("rows rewritten", 0.004, 0.01, "%")
    result.plots.append(Plot("Speed", "objects/s", ["SQLite"], {"product": [12_345.6]}))
    return result


def test_the_report_tells_what_was_found_and_where_and_keeps_what_is_around_it(readme: Path) -> None:
    results.save(measured(), "on this machine")
    report.write()
    text = readme.read_text()
    assert "of yesterday" not in text
    assert text.startswith("# Benchmarks\n")
    assert text.endswith("\n\nSaid by people.\n")
    for line in (
        "### 2. A full run",
        "| SQLite | 12,346 objects/s |",
        "| rows rewritten | **0%** | ≤ 1% | met |",
        "Most of it is writing.",
        "Measured on this machine.",
        "![Speed](results/02-0.svg)",
    ):
        assert line in text.splitlines()
    assert (readme.parent / "results" / "02-0.svg").read_text().startswith("<?xml")


def test_a_bound_that_is_just_missed_is_not_met(readme: Path) -> None:
    (against_script, _) = measured().verdicts
    assert not against_script.met


def test_the_same_figures_draw_the_same_picture(readme: Path) -> None:
    results.save(measured(), "here")
    pictures: set[bytes] = set()
    for _ in range(2):
        report.write()
        pictures.add((readme.parent / "results" / "02-0.svg").read_bytes())
    assert len(pictures) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_that_is_listed_can_be_run(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").measure)
