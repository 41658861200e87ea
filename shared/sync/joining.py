"""Decides what a start does when runs are under way already. Pure.

At most one run of an organization is running and one is queued. A start joins the running run when that covers the
parts asked for, whether they have been read yet or not, else the queued one, which is widened if need be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Run, RunStatus, RunType

_TO_BE_WIDENED = (RunType.INCREMENTAL, RunType.FULL)


@dataclass(frozen=True, slots=True)
class Join:
    """The run that is under way does what is asked."""

    activity_identifier: str


@dataclass(frozen=True, slots=True)
class Widen:
    """The queued run is made to do what is asked too.

    Attributes:
        run_type: The run's type from now on.
        in_full: Parts it has that are now read in full.
        added: Parts it did not have.
    """

    activity_identifier: str
    run_type: RunType
    in_full: Collection[PartName]
    added: Mapping[PartName, RunType]


@dataclass(frozen=True, slots=True)
class Queue:
    """A new run is queued."""

    run_type: RunType
    parts: Mapping[PartName, RunType]


def decide_start(
    run_type: RunType,
    wanted: Collection[PartName],
    without_cursor: Collection[PartName],
    running: Run | None,
    queued: Run | None,
) -> Join | Widen | Queue:
    """What to do with a request for these parts in this way; a part without a cursor is read in full either way."""
    asked = {name: RunType.FULL if name in without_cursor else run_type for name in CATALOGUE if name in wanted}
    for run in (running, queued):
        if run is not None and _covers(run, asked):
            return Join(run.activity_identifier)
    if queued is None:
        return Queue(_run_type(asked.values()), asked)
    has = _types(queued)
    in_full = {name for name, part_type in asked.items() if (has.get(name), part_type) == _TO_BE_WIDENED}
    added = {name: part_type for name, part_type in asked.items() if name not in has}
    together = {**has, **added, **dict.fromkeys(in_full, RunType.FULL)}
    return Widen(queued.activity_identifier, _run_type(together.values()), in_full, added)


def still_to_begin(running: Run) -> Run:
    """The running run as one sees it who asks because of a change: what it has begun to read may lack that change."""
    return replace(running, parts=tuple(part for part in running.parts if part.status is RunStatus.QUEUED))


def _run_type(part_types: Iterable[RunType]) -> RunType:
    """A run is a full one when it reads every object of all its parts."""
    return RunType.INCREMENTAL if RunType.INCREMENTAL in part_types else RunType.FULL


def _covers(run: Run, asked: Mapping[PartName, RunType]) -> bool:
    # A part that has failed in the run will not be read again by it.
    has = {part.part: part.type for part in run.parts if part.status is not RunStatus.FAILED}
    return all(has.get(name) in (part_type, RunType.FULL) for name, part_type in asked.items())


def _types(run: Run) -> dict[PartName, RunType]:
    return {part.part: part.type for part in run.parts}
