"""Ends a part's run, and with the last part the run itself."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from shared.cache import (
    cursors,
    escrows,
    held_deletions,
    jobs,
    organizations,
    pages,
    part_states,
    retention,
    runs,
    slices,
    waiting_parts,
)
from shared.models.jobs import Job
from shared.models.organizations import Organization
from shared.models.runs import Run, RunStatus, RunType
from shared.models.slices import WITHOUT_DELTA, Slice, SliceMessage
from shared.models.synchronization import SynchronizationError
from shared.services import Services
from shared.sync.outcome import job_after_run, part_outcome, prunes_escrows, run_error, run_status, total
from shared.sync.quarantine import Backlog, QuarantineRules
from shared.sync.subscriptions import subscribe


def finish_part(
    connection: Connection, services: Services, work: Slice, error: SynchronizationError | None
) -> list[SliceMessage]:
    """Ends the part, failed if there is an error, and returns the messages of what now gets its turn: the parts that
    are derived from it, or the next run.

    Raises:
        StaleSlice: The lease is lost.
    """
    now, key = services.now(), work.organization.key
    organizations.lock(connection, key)
    if error is None and work.type is RunType.FULL and work.rebuild:
        pages.recount_entries(connection, key, work.part.name)
    escrowed = escrows.count(connection, work)
    status, told = part_outcome(work.part.name, error, escrowed, held_deletions.count(connection, work))
    slices.finish_part(connection, work, status, told, escrowed, now)
    if error is None:
        ages = work.part.source is None and work.delta_link != WITHOUT_DELTA
        cursors.refresh_at(connection, key, work.part.name, now + services.settings.cursor_refresh if ages else None)
    run = runs.find(connection, work.organization, work.run_id)
    assert run is not None
    if not all(part.status.finished for part in run.parts):
        requeue_after = services.settings.requeue_after
        return waiting_parts.enqueue(connection, key, work.run_id, now, requeue_after, source=work.part.name)
    job = _finish_run(connection, services, work.organization, run)
    if job.quarantine is not None:
        # What was asked for before waits with everything else for the next attempt.
        runs.cancel_unfinished(connection, key, now)
        return []
    queued = runs.find_unfinished(connection, work.organization).get(RunStatus.QUEUED)
    if queued is None:
        return []
    jobs.save(connection, key, replace(job, next_run_time=None))
    return waiting_parts.enqueue(connection, key, queued.activity_identifier, now, services.settings.requeue_after)


def _finish_run(connection: Connection, services: Services, organization: Organization, run: Run) -> Job:
    now, key = services.now(), organization.key
    run = replace(run, status=run_status(run.parts), counts=total(run.parts), error=run_error(run.parts))
    runs.finish(connection, key, run, now)
    before, rules = jobs.read(connection, key), QuarantineRules.of(services.settings)
    enabled = organization.entity.parts
    unread = [name for name in part_states.parts_without_cursor(connection, key) if name in enabled]
    held_back = held_deletions.are_held_back(connection, key)
    backlog = Backlog(escrows.count_waiting(connection, key), enabled, unread, held_back)
    if prunes_escrows(before, run, backlog, rules):
        # Nobody names the objects again unless they are all read again.
        part_states.require_full_run(connection, key, backlog.escrows)
        escrows.clear(connection, key)
    by_plan = not run.keeps_cursors and not run.notified
    counted_from = run.start_time if by_plan else runs.last_start_by_plan(connection, key)
    job = job_after_run(before, run, backlog, rules, now, counted_from)
    jobs.save(connection, key, job)
    retention.forget_runs(connection, key, now - services.settings.run_retention)
    subscribe(connection, services, organization, job)
    return job
