"""Ends a part's run, and with the last part the run itself."""

from __future__ import annotations

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
    counts = total(run.parts)
    runs.finish(connection, key, work.run_id, run_status(run.parts), counts, run_error(run.parts), now)
    job = jobs.read_job(connection, key)
    changed = job_after_run(job, work.run_id, run.start_time or now, run.parts, counts, now)
    queued = runs.find_unfinished(connection, work.organization).get(RunStatus.QUEUED)
    if queued is None:
        jobs.update_job(connection, key, **changed)
        return []
    jobs.update_job(connection, key, **changed | {"next_run_at": None})
    return slices.enqueue(connection, key, queued.activity_identifier, now, services.settings.requeue_after)
