"""What the end of a run's parts means for the run and for the job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.models.jobs import Job
from shared.models.runs import Counts, PartRun, RunStatus
from shared.models.synchronization import ScheduleState, StatusCode, SynchronizationError


def run_status(parts: Sequence[PartRun]) -> RunStatus:
    """Failed when a part failed, EntryLevelErrors when objects were put aside, else Succeeded."""
    statuses = {part.status for part in parts}
    for status in (RunStatus.FAILED, RunStatus.ENTRY_LEVEL_ERRORS):
        if status in statuses:
            return status
    return RunStatus.SUCCEEDED


def run_error(parts: Sequence[PartRun]) -> SynchronizationError | None:
    """The failed parts' errors as one; its code is the first one's."""
    errors = [(part.part, part.error) for part in parts if part.error is not None]
    if not errors:
        return None
    return SynchronizationError(
        code=errors[0][1].code,
        message=" ".join(f"{name}: {error.message}" for name, error in errors),
        tenant_actionable=any(error.tenant_actionable for _, error in errors),
    )


def total(parts: Sequence[PartRun]) -> Counts:
    """The run's counts."""
    return sum((part.counts for part in parts), Counts())


def job_after_run(
    job: Job, run_id: str, started: datetime, parts: Sequence[PartRun], counts: Counts, now: datetime
) -> dict[str, Any]:
    """The job's columns that a finished run changes (graph.md appendix B.3).

    A run that succeeded leaves nothing to be read: the steady state. A run in which every part failed is a complete
    failure; one good part ends the series.
    """
    status = run_status(parts)
    changed: dict[str, Any] = {
        "last_run": run_id,
        "successive_complete_failures": (
            job.successive_complete_failures + 1 if all(part.status is RunStatus.FAILED for part in parts) else 0
        ),
        "next_run_at": max(now, started + job.interval) if job.schedule_state is ScheduleState.ACTIVE else None,
    }
    if job.status_code is StatusCode.NOT_RUN:
        changed["status_code"] = StatusCode.ACTIVE
    if status is RunStatus.SUCCEEDED:
        changed |= {
            "last_successful_run": run_id,
            "steady_state_first_at": job.steady_state_first or now,
            "steady_state_last_at": now,
        }
        if counts.exported:
            changed["last_successful_run_with_exports"] = run_id
    return changed
