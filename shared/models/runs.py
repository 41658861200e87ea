"""Runs (executions): their states and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from operator import add, attrgetter

from shared.models.parts import CATALOGUE, PartName
from shared.models.synchronization import SynchronizationError


class RunType(StrEnum):
    """Full reads every object again; Incremental reads what changed."""

    FULL = "Full"
    INCREMENTAL = "Incremental"


class RunStatus(StrEnum):
    """The life of a run, and of each part in it: Queued, Running, then one of the others for good."""

    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    ENTRY_LEVEL_ERRORS = "EntryLevelErrors"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (RunStatus.QUEUED, RunStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of synchronizationTaskExecution (graph.md §3.5), added up page by page.

    Attributes:
        imported: Objects received, each once in a run.
        imported_deltas: Change records received, replays and link changes included.
        imported_reference_deltas: Of those, link changes.
        entitled: Received objects that belong to the part.
        entitled_for_provisioning: Of these, the ones in parts that are switched on.
        exports: Rows that were to be written.
        exported: Rows really written.
        escrowed: Objects that could not be written and wait for a retry.
        escrowed_raw: The same, with those that the service itself put off.
    """

    imported: int = 0
    imported_deltas: int = 0
    imported_reference_deltas: int = 0
    entitled: int = 0
    entitled_for_provisioning: int = 0
    exports: int = 0
    exported: int = 0
    escrowed: int = 0
    escrowed_raw: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(add, _numbers(self), _numbers(other)))

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return dict(zip(_NAMES, _numbers(self), strict=True))

    def as_members(self) -> dict[str, int]:
        """The counts by their names as members of synchronizationTaskExecution."""
        return dict(zip(_MEMBERS, _numbers(self), strict=True))


_NAMES = tuple(field.name for field in fields(Counts))
_MEMBERS = tuple(f"count_{name}" for name in _NAMES)
_numbers = attrgetter(*_NAMES)


@dataclass(frozen=True, slots=True)
class PartRun:
    """One part's share of a run.

    Attributes:
        completed: Objects received so far.
        total: Objects expected, when Graph tells.
        resource_units: What Graph took for the part's pages so far; only the directory and SharePoint count in such
            units (graph.md §6).
        next_attempt: When the part goes on that Graph told to wait; None while it does not wait for that.
    """

    part: PartName
    type: RunType
    status: RunStatus
    completed: int
    total: int | None
    counts: Counts
    start_time: datetime | None
    end_time: datetime | None
    error: SynchronizationError | None
    resource_units: int = 0
    next_attempt: datetime | None = None


@dataclass(frozen=True, slots=True)
class PartProgress:
    """Of one part's share of a run, what a job and a synchronization state tell; the members are those of PartRun."""

    type: RunType
    status: RunStatus
    completed: int
    total: int | None
    start_time: datetime | None
    end_time: datetime | None
    error: SynchronizationError | None


def conclusive(parts: Sequence[PartRun]) -> Sequence[PartRun]:
    """The parts whose ends say something of Graph: one that is derived from a failed part may have asked nothing."""
    failed = {part.part for part in parts if part.status is RunStatus.FAILED}
    return [part for part in parts if CATALOGUE[part.part].source not in failed]


@dataclass(frozen=True, slots=True)
class Run:
    """One Full or Incremental pass over an organization.

    Attributes:
        keeps_cursors: Whether it was begun, or goes on in a pause, only lest cursors grow too old: a pause does not
            stop it, and the job's interval is not counted from it.
        notified: Whether nothing but Graph's notifications asked for it: the job's interval is not counted from it.
    """

    activity_identifier: str
    organization: str
    type: RunType
    status: RunStatus
    queued_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    error: SynchronizationError | None
    counts: Counts
    parts: tuple[PartRun, ...] = ()
    keeps_cursors: bool = False
    notified: bool = False
