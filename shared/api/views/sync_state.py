"""The record as users of Get-VBOOrganizationSynchronizationState read it."""

from __future__ import annotations

from shared.models.jobs import PartState, SynchronizationRecord
from shared.models.parity import Parity
from shared.models.parts import CATALOGUE
from shared.models.runs import PartProgress, Run, RunStatus
from shared.models.sync_state import (
    CurrentStatus,
    CurrentSyncState,
    LastSyncState,
    OrganizationSyncState,
    PartParity,
    PartSyncState,
    SyncStatus,
)
from shared.models.synchronization import StatusCode, SynchronizationError


def organization_sync_state(record: SynchronizationRecord) -> OrganizationSyncState:
    """The organization's state (graph.md appendix B.2).

    A run with object-level errors counts as Success with ``error`` filled (docs/decisions/0004-two-states.md).
    """
    last = record.last
    status = SyncStatus.NONE if last is None else _outcome(last.status)
    if record.job.status_code is StatusCode.QUARANTINE:
        status = SyncStatus.ERROR
    return OrganizationSyncState(
        organization=record.organization.name,
        sync_status=status,
        type=last.type if last else None,
        last_sync_time=last.start_time if last else None,
        error=_message((last.error if last else None) or (record.job.quarantine and record.job.quarantine.error)),
        current_state=_current(record.running or record.queued),
        parts={
            name: _part(record, record.parts[name]) if name in record.organization.entity.parts else None
            for name in CATALOGUE
        },
    )


def _part(record: SynchronizationRecord, state: PartState) -> PartSyncState:
    return PartSyncState(
        last_state=_last(state.last_run) if state.last_run else None,
        current_state=_current_part(record.running, state.running) or _current_part(record.queued, state.queued),
        last_successful_sync_time=state.last_successful_sync_time,
        parity=_parity(state.parity) if state.parity else None,
    )


def _parity(found: Parity) -> PartParity:
    return PartParity(checked_date_time=found.checked, expected=found.expected, cached=found.cached, drift=found.drift)


def _last(run: PartProgress) -> LastSyncState:
    return LastSyncState(
        sync_status=_outcome(run.status),
        type=run.type,
        start_time=run.start_time,
        end_time=run.end_time,
        error=_message(run.error),
    )


def _current(run: Run | None) -> CurrentSyncState | None:
    if run is None:
        return None
    return CurrentSyncState(
        status=CurrentStatus(run.status), type=run.type, scheduled_time=run.queued_time, start_time=run.start_time
    )


def _current_part(run: Run | None, part: PartProgress | None) -> CurrentSyncState | None:
    if run is None or part is None or part.status.finished:
        return None
    return CurrentSyncState(
        status=CurrentStatus(part.status), type=part.type, scheduled_time=run.queued_time, start_time=part.start_time
    )


def _outcome(status: RunStatus) -> SyncStatus:
    return SyncStatus.ERROR if status in (RunStatus.FAILED, RunStatus.CANCELLED) else SyncStatus.SUCCESS


def _message(error: SynchronizationError | None) -> str:
    return (error.message or "") if error else ""
