"""What people set of a job: whether there is one, its settings, and what it synchronizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from shared.cache import escrows, held_deletions, jobs, organizations, part_states, runs, selections, subscriptions
from shared.cache.erasure import erase_job
from shared.models.errors import Conflict
from shared.models.job_settings import JobSettings
from shared.models.jobs import Job
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import RunType
from shared.models.slices import SliceMessage
from shared.models.synchronization import ScheduleState
from shared.services import Services
from shared.sync.planning import start_run


def create_job(services: Services, key: int, settings: JobSettings) -> Organization:
    """Gives an organization whose job was deleted a new one, born disabled.

    Raises:
        NotFound: The organization is not registered.
        Conflict: It has a job.
    """
    with services.database.write() as connection:
        organization = organizations.lock(connection, key)
        if organization.entity.job_id is not None:
            raise Conflict(f"{organization.name} has a synchronization job already; each organization has one.")
        own = services.settings
        interval = own.sync_interval if settings.interval is None else settings.interval
        threshold = _threshold(settings, own.deletion_threshold)
        jobs.create(connection, key, organization.entity.tenant_id, interval, threshold)
        parts = CATALOGUE if settings.parts is None else settings.parts
        selections.save(connection, key, {name: CATALOGUE[name].select for name in parts})
        return organizations.find_by_key(connection, key)


def delete_job(services: Services, key: int) -> None:
    """Stops the job and erases all its state, its subscriptions too; what has been synchronized stays (graph.md §2.1).

    Raises:
        NotFound: The organization is not registered.
    """
    with services.database.write() as connection:
        organizations.lock(connection, key)
        erase_job(connection, key)
        subscriptions.want(connection, key, (), None, services.now())


def change_settings(services: Services, key: int, settings: JobSettings) -> list[SliceMessage]:
    """Changes the job's settings that are given, and returns the messages to send.

    The next run comes the new interval after the start of the last one. A change of the parts begins anew, as
    ``change_selection`` says.

    Raises:
        NotFound: The organization is not registered.
    """
    with services.database.write() as connection:
        organization = organizations.lock(connection, key)
        job = jobs.read(connection, key)
        if settings.interval is not None:
            job = _with_interval(services, connection, organization, job, settings.interval)
        jobs.save(connection, key, replace(job, deletion_threshold=_threshold(settings, job.deletion_threshold)))
        if settings.parts is None:
            return []
        current = selections.read(connection, key)
        return _select(services, connection, organization, {name: current[name].select for name in settings.parts})


def change_selection(services: Services, key: int, selection: Mapping[PartName, Sequence[str]]) -> list[SliceMessage]:
    """Makes these the parts and properties that are synchronized, and returns the messages to send.

    A change forces a new initial cycle of all parts, as in Graph (graph.md §3.1): the run under way is cancelled, and a
    job that is going begins anew at once. What the cache holds of a part that is switched off stays as it is.

    Raises:
        NotFound: The organization is not registered.
    """
    with services.database.write() as connection:
        return _select(services, connection, organizations.lock(connection, key), selection)


def _select(
    services: Services, connection: Connection, organization: Organization, selection: Mapping[PartName, Sequence[str]]
) -> list[SliceMessage]:
    key = organization.key
    before = selections.read(connection, key)
    now = {name: selection[name] for name in CATALOGUE if name in selection}
    in_force = {name: frozenset(before[name].select) for name in organization.entity.parts}
    if {name: frozenset(chosen) for name, chosen in now.items()} == in_force:
        return []
    selections.save(connection, key, now)
    for name in CATALOGUE:
        if name not in now:
            # Nothing tries them again; when the part is switched on, its full run finds anew what is true then.
            escrows.clear(connection, key, name)
            held_deletions.clear(connection, key, name)
    runs.cancel_unfinished(connection, key, services.now())
    part_states.require_full_run(connection, key, now)
    job = replace(jobs.read(connection, key), initial_run_pending=True)
    if job.schedule_state is not ScheduleState.ACTIVE or job.quarantine is not None:
        # A run that was cancelled just now was perhaps the quarantine's next attempt.
        next_run_time = (
            job.quarantine.next_attempt if job.schedule_state is ScheduleState.ACTIVE and job.quarantine else None
        )
        jobs.save(connection, key, replace(job, next_run_time=next_run_time))
        return []
    jobs.save(connection, key, job)
    _, messages = start_run(connection, services, organizations.find_by_key(connection, key), RunType.FULL, list(now))
    return messages


def _threshold(settings: JobSettings, otherwise: int | None) -> int | None:
    if settings.without_deletion_threshold:
        return None
    return otherwise if settings.deletion_threshold is None else settings.deletion_threshold


def _with_interval(
    services: Services, connection: Connection, organization: Organization, job: Job, interval: timedelta
) -> Job:
    changed = replace(job, interval=interval)
    if changed == job or job.next_run_time is None or job.quarantine is not None or job.last_run is None:
        return changed
    last = runs.find_many(connection, organization, [job.last_run])[job.last_run]
    assert last.start_time is not None
    return replace(changed, next_run_time=max(services.now(), last.start_time + interval))
