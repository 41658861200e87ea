"""What a benchmark found: figures, the ratios that are judged, and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

DIRECTORY = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured, with its unit."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A measured bound or ratio beside what it should be: ``wanted`` is its text, e.g. "≥ 100 ×"."""

    what: str
    value: str
    wanted: str
    met: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        series: For each name the values, one for each label.
        lines: Whether the labels are steps along an axis; else bars stand side by side.
    """

    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    lines: bool = False


@dataclass(slots=True)
class Result:
    """What one target's benchmark found.

    Attributes:
        number: The target's number; the results are read in this order.
        remarks: What explains the figures, a sentence each.
    """

    number: int
    title: str
    figures: list[Figure] = field(default_factory=list[Figure])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    remarks: list[str] = field(default_factory=list[str])
    plots: list[Plot] = field(default_factory=list[Plot])

    def judge_at_least(self, what: str, value: float, bound: float, unit: str) -> None:
        """Adds the verdict on something that should be large."""
        self.verdicts.append(Verdict(what, _told(value, unit), f"≥ {_told(bound, unit)}", value >= bound))

    def judge_at_most(self, what: str, value: float, bound: float, unit: str) -> None:
        """Adds the verdict on something that should be small."""
        self.verdicts.append(Verdict(what, _told(value, unit), f"≤ {_told(bound, unit)}", value <= bound))


def save(result: Result, machine: str) -> None:
    """Keeps a result for the report, in place of the target's last one."""
    DIRECTORY.mkdir(exist_ok=True)
    document = {"machine": machine, **asdict(result)}
    path = DIRECTORY / f"{result.number:02}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def told(value: float) -> str:
    """A number as people read it: three digits, thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _told(value: float, unit: str) -> str:
    return f"{value:.0%}" if unit == "%" else f"{told(value)} {unit}".strip()
