"""Ends a part's run, and with the last part the run itself."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from shared.cache import escrows, held_deletions, jobs, organizations, pages, runs, slices
from shared.models.runs import Run, RunStatus, RunType
from shared.models.slices import Slice, SliceMessage
from shared.models.synchronization import SynchronizationError
from shared.services import Services
from shared.sync.outcome import job_after_run, part_outcome, run_error, run_status, total
from shared.sync.quarantine import QuarantineRules


def finish_part(
    connection: Connection, services: Services, work: Slice, error: SynchronizationError | None
) -> list[SliceMessage]:
    """Ends the part, failed if there is an error, and returns the messages of the run that now gets its turn.

    Raises:
        StaleSlice: The lease is lost.
    """
    now, key = services.now(), work.organization.key
    organizations.lock(connection, key)
    if error is None and work.type is RunType.FULL:
        escrows.forget_unseen(connection, work)
        if work.rebuild:
            pages.recount_entries(connection, work)
    escrowed = escrows.count(connection, work)
    status, told = part_outcome(work.part.name, error, escrowed.waiting, held_deletions.count(connection, work))
    slices.finish_part(connection, work, status, told, escrowed, now)
    run = runs.find(connection, work.organization, work.run_id)
    assert run is not None
    if not all(part.status.finished for part in run.parts):
        return []
    _finish_run(connection, services, key, run)
    queued = runs.find_unfinished(connection, work.organization).get(RunStatus.QUEUED)
    if queued is None:
        return []
    jobs.save(connection, key, replace(jobs.read(connection, key), next_run_time=None))
    return slices.enqueue(connection, key, queued.activity_identifier, now, services.settings.requeue_after)


def _finish_run(connection: Connection, services: Services, key: int, run: Run) -> None:
    now = services.now()
    run = replace(run, status=run_status(run.parts), counts=total(run.parts), error=run_error(run.parts))
    runs.finish(connection, key, run, now)
    before = jobs.read(connection, key)
    waiting = escrows.count_waiting(connection, key)
    job = job_after_run(before, run, waiting, QuarantineRules.of(services.settings), now)
    if job.escrows_pruned and not before.escrows_pruned:
        escrows.clear(connection, key)
    jobs.save(connection, key, job)
