"""The one record of an organization's synchronization, from which every view is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.models.organizations import Organization
from shared.models.parity import Parity
from shared.models.parts import Part, PartName
from shared.models.restart import RestartScope
from shared.models.runs import PartProgress, Run
from shared.models.synchronization import QuarantineReason, ScheduleState, StatusCode, SynchronizationError

TEMPLATE_ID = "M365OrgCache"


@dataclass(frozen=True, slots=True)
class PartState:
    """What is known of one part across runs.

    Attributes:
        part: The part with the selection in force.
        last_run: How its share of its last finished run went.
        running, queued: How far it is in the runs under way, if it is in them.
        last_successful_sync_time: When its last successful run started.
        entry_count: Objects (or links) of the part that are live in the cache.
        parity: What the last comparison with Graph's counts found.
    """

    part: Part
    last_run: PartProgress | None
    running: PartProgress | None
    queued: PartProgress | None
    last_successful_sync_time: datetime | None
    entry_count: int
    parity: Parity | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a job is held back (graph.md §1.8).

    Attributes:
        current_began: When it was last imposed.
        series_began: When the first of the quarantines in a row was imposed.
        series_count: How often it was looked at again and kept.
        next_attempt: When a run is tried again.
    """

    reason: QuarantineReason
    error: SynchronizationError
    current_began: datetime
    series_began: datetime
    series_count: int
    next_attempt: datetime


@dataclass(frozen=True, slots=True)
class Restart:
    """The last restart: the run that it began, what it threw away, and when. Clients send a POST again."""

    run_id: str
    scope: RestartScope
    at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """What the job itself keeps; the runs are named by their activityIdentifiers.

    Attributes:
        id: The job's id; None when the organization's job was deleted.
        deletion_threshold: How many deletions a part's run carries out unasked; None for any number.
        initial_run_pending: Whether no run has been through since the job began, or began anew.
        escrows_pruned: Whether the initial run's object-level errors were thrown away (graph.md §3.3).
    """

    id: str | None
    schedule_state: ScheduleState
    interval: timedelta
    status_code: StatusCode
    next_run_time: datetime | None = None
    successive_complete_failures: int = 0
    last_run: str | None = None
    last_successful_run: str | None = None
    last_successful_run_with_exports: str | None = None
    steady_state_first: datetime | None = None
    steady_state_last: datetime | None = None
    quarantine: Quarantine | None = None
    deletion_threshold: int | None = None
    initial_run_pending: bool = True
    escrows_pruned: bool = False
    restarted: Restart | None = None


@dataclass(frozen=True, slots=True)
class SynchronizationRecord:
    """Everything there is to say about an organization's synchronization at one moment.

    Attributes:
        running, queued: The runs under way, without their parts and what is counted of these.
        last, last_successful, last_successful_with_exports: Finished runs, without their parts.
        observed: When the record was read.
    """

    organization: Organization
    job: Job
    running: Run | None
    queued: Run | None
    last: Run | None
    last_successful: Run | None
    last_successful_with_exports: Run | None
    parts: Mapping[PartName, PartState]
    observed: datetime
