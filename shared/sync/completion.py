"""Ends a part's run, and with the last part the run itself."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from shared.cache import jobs, organizations, runs, slices
from shared.models.runs import RunStatus
from shared.models.slices import Slice, SliceMessage
from shared.models.synchronization import SynchronizationError
from shared.services import Services
from shared.sync.outcome import job_after_run, run_error, run_status, total


def finish_part(
    connection: Connection, services: Services, work: Slice, error: SynchronizationError | None
) -> list[SliceMessage]:
    """Ends the part, failed if there is an error, and returns the messages of the run that now gets its turn.

    Raises:
        StaleSlice: The lease is lost.
    """
    now, key = services.now(), work.organization.key
    organizations.lock(connection, key)
    slices.finish_part(connection, work, RunStatus.FAILED if error else RunStatus.SUCCEEDED, error, now)
    run = runs.find(connection, work.organization, work.run_id)
    assert run is not None
    if not all(part.status.finished for part in run.parts):
        return []
    run = replace(run, status=run_status(run.parts), counts=total(run.parts), error=run_error(run.parts))
    runs.finish(connection, key, run, now)
    job = job_after_run(jobs.read_job(connection, key), run, now)
    queued = runs.find_unfinished(connection, work.organization).get(RunStatus.QUEUED)
    jobs.save_job(connection, key, job if queued is None else replace(job, next_run_time=None))
    if queued is None:
        return []
    return slices.enqueue(connection, key, queued.activity_identifier, now, services.settings.requeue_after)
