"""Writes the report: the tables of README.md and the plots, from what was found."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.results import DIRECTORY, Result
from benchmarks.results import told as number
from benchmarks.workbench import ROOT, Workbench

README = Path(__file__).parent / "README.md"
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


def machine(bench: Workbench) -> str:
    """Where and when the measurement was made."""
    cores = len(os.sched_getaffinity(0))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip() or 'unknown'}, {cores} cores of {_processor()}, "
        f"Python {platform.python_version()}, {bench.server}, {bench.users:,} users"
    )


def told(result: Result) -> str:
    """The result as text for the terminal and for the report."""
    return _table(asdict(result))


def write() -> None:
    """Renders everything that is in results/ into README.md and its plots."""
    documents = [json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))]
    before, _, rest = README.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    sections: list[str] = []
    for document in documents:
        pictures = [_draw(document["number"], place, plot) for place, plot in enumerate(document["plots"])]
        shown = "".join(f"\n![{alt}](results/{name})\n" for name, alt in pictures)
        sections.append(f"{_table(document)}{shown}\nMeasured {document['machine']}.\n")
    README.write_text(f"{before}{_BEGIN}\n\n{chr(10).join(sections)}\n{_END}{after}")


def _table(document: dict[str, Any]) -> str:
    lines = [f"### {document['number']}. {document['title']}", ""]
    if document["verdicts"]:
        lines += ["| Judged | Found | Target | |", "|---|---|---|---|"]
        lines += [
            f"| {one['what']} | **{one['value']}** | {one['wanted']} | {'met' if one['met'] else 'not met'} |"
            for one in document["verdicts"]
        ]
        lines.append("")
    if document["figures"]:
        lines += ["| Measured | |", "|---|---|"]
        lines += [f"| {one['what']} | {number(one['value'])} {one['unit']} |" for one in document["figures"]]
        lines.append("")
    lines += [f"{remark}\n" for remark in document["remarks"]]
    return "\n".join(lines)


def _draw(result: int, place: int, plot: dict[str, Any]) -> tuple[str, str]:
    """Draws one plot and returns its file's name and what it shows."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    series = plot["series"]
    places = range(len(plot["labels"]))
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        if plot["lines"]:
            axes.plot(places, values, marker="o", label=name)
        else:
            offset = (index - (len(series) - 1) / 2) * width
            bars = axes.bar([place + offset for place in places], values, width * 0.95, label=name)
            axes.bar_label(bars, labels=[number(value) for value in values], padding=2, fontsize=8)
    axes.set_xticks(list(places), plot["labels"])
    axes.set_ylabel(plot["unit"])
    axes.set_title(plot["title"])
    axes.set_ylim(0, max(max(values) for values in series.values()) * 1.15)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False)
    name = f"{result:02}-{place}.svg"
    figure.savefig(DIRECTORY / name, metadata={"Date": None})
    plt.close(figure)
    return name, plot["title"]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
