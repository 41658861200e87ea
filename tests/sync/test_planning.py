"""Planning on both databases, without HTTP: what is due starts once, and what stalled is sent again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from shared.cache import jobs, organizations, part_states, runs, slices
from shared.cache.synchronization_record import read_record
from shared.cache.tables import organizations as organizations_table
from shared.models.errors import BadRequest, Conflict, DatabaseBlocked, NotFound
from shared.models.job_settings import JobSettings
from shared.models.jobs import Job
from shared.models.organizations import Organization, OrganizationRegistration
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Run, RunStatus, RunType
from shared.models.slices import SliceMessage
from shared.models.synchronization import ScheduleState, StatusCode, SynchronizationError
from shared.services import Services
from shared.settings import Settings
from shared.sync.completion import finish_part
from shared.sync.configuration import change_settings
from shared.sync.control import pause, start
from shared.sync.planning import Plan, find_due, plan_for
from shared.sync.slices import fail_dead_letter
from tests.application import APPLICATION

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
READ = [name for name, part in CATALOGUE.items() if part.source is None]
"""The parts that wait for no other."""
FULL, INCREMENTAL = RunType.FULL, RunType.INCREMENTAL
BEGIN = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)

WITH_CURSORS = {part.name for part in CATALOGUE.values() if part.source is None}


@dataclass
class Clock:
    moment: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


@dataclass
class Planner:
    """The product's services and a queue that nobody but the test reads."""

    services: Services
    clock: Clock
    sent: list[SliceMessage] = field(default_factory=list[SliceMessage])

    def register(self, number: int = 1, **changed: Any) -> Organization:
        identifier = f"00000000-0000-4000-8000-{number:012}"
        document = {"tenantId": identifier, "name": f"contoso{number}.com", "application": APPLICATION, "parts": READ}
        document |= changed
        registration = OrganizationRegistration.model_validate(document)
        with self.services.database.write() as connection:
            return organizations.register(connection, registration, timedelta(minutes=40), 500, self.clock())

    def start(self, organization: Organization, kind: RunType = INCREMENTAL, *parts: PartName) -> Run:
        run, messages = start(self.services, organization.key, kind, parts or None)
        self.sent += messages
        return run

    def plan(self) -> list[SliceMessage]:
        """The messages for slices that come of a planner's turn."""
        messages = planned(self.services)
        self.sent += messages
        return messages

    def work(self, *messages: SliceMessage, error: SynchronizationError | None = None) -> None:
        """Does what the messages ask for, as a slice does that comes to its part's end."""
        for message in messages:
            with self.services.database.write() as connection:
                work = slices.take(connection, message, self.clock(), self.services.settings.lease)
                if work is not None:
                    self.sent += finish_part(connection, self.services, replace(work, delta_link="link"), error)

    def deliver_in_vain(self, message: SliceMessage, times: int) -> None:
        """What deliveries of a message leave behind whose slices come to nothing."""
        for _ in range(times):
            with self.services.database.write() as connection:
                assert slices.take(connection, message, self.clock(), timedelta()) is not None

    def drain(self) -> None:
        """Delivers what is on the queue until it is empty."""
        while self.sent:
            self.work(self.sent.pop(0))

    def job(self, organization: Organization) -> Job:
        with self.services.database.read() as connection:
            return jobs.read(connection, organization.key)

    def unfinished(self, organization: Organization) -> dict[RunStatus, Run]:
        with self.services.database.read() as connection:
            return dict(runs.find_unfinished(connection, organization))

    def run(self, organization: Organization, identifier: str) -> Run:
        with self.services.database.read() as connection:
            run = runs.find(connection, organization, identifier)
        assert run is not None
        return run


def planned(services: Services) -> list[SliceMessage]:
    """The messages for slices once all are delivered that the planner sends in its turn."""
    return [message for key in find_due(services).registered for message in plan_for(services, key).slices]


@pytest.fixture
def planner(database_url: str) -> Iterator[Planner]:
    clock = Clock()
    services = Services.create(Settings(database_url=database_url, auth_mode="none"), clock)
    try:
        yield Planner(services, clock)
    finally:
        services.database.close()


@pytest.fixture
def contoso(planner: Planner) -> Organization:
    return planner.register()


# --- Starting -----------------------------------------------------------------------------------------------------


def test_a_registered_organization_waits_for_its_first_start(planner: Planner, contoso: Organization) -> None:
    planner.clock.forward(days=30)
    assert planner.plan() == []
    job = planner.job(contoso)
    assert (job.schedule_state, job.status_code) == (ScheduleState.DISABLED, StatusCode.NOT_CONFIGURED)


def test_a_first_start_reads_every_part_in_full_and_activates_the_job(planner: Planner, contoso: Organization) -> None:
    run = planner.start(contoso)
    assert (run.type, run.status) == (FULL, RunStatus.QUEUED)
    assert [part.part for part in run.parts] == READ
    assert [message.part for message in planner.sent] == READ
    job = planner.job(contoso)
    assert (job.schedule_state, job.status_code) == (ScheduleState.ACTIVE, StatusCode.NOT_RUN)


def test_a_start_without_its_own_type_is_incremental_once_every_part_was_read(
    planner: Planner, contoso: Organization
) -> None:
    planner.start(contoso)
    planner.drain()
    assert planner.job(contoso).status_code is StatusCode.ACTIVE
    run = planner.start(contoso)
    assert (run.type, {part.type for part in run.parts}) == (INCREMENTAL, {INCREMENTAL})


def test_a_second_start_joins_the_first(planner: Planner, contoso: Organization) -> None:
    first = planner.start(contoso)
    sent = len(planner.sent)
    assert planner.start(contoso).activity_identifier == first.activity_identifier
    assert len(planner.sent) == sent
    planner.work(planner.sent[0])
    assert planner.start(contoso).activity_identifier == first.activity_identifier
    assert set(planner.unfinished(contoso)) == {RunStatus.RUNNING}


def test_a_full_start_beside_an_incremental_run_is_queued_and_runs_when_its_turn_comes(
    planner: Planner, contoso: Organization
) -> None:
    planner.start(contoso)
    planner.drain()
    running = planner.start(contoso, INCREMENTAL)
    users, *rest = planner.sent
    planner.sent.clear()
    planner.work(users)
    queued = planner.start(contoso, FULL, USERS)
    assert queued.activity_identifier != running.activity_identifier
    assert queued.status is RunStatus.QUEUED
    assert planner.sent == []
    planner.work(*rest)
    assert [message.activity_identifier for message in planner.sent] == [queued.activity_identifier]
    planner.drain()
    ended = planner.run(contoso, queued.activity_identifier)
    assert (ended.status, ended.type) == (RunStatus.SUCCEEDED, FULL)
    assert planner.unfinished(contoso) == {}


def test_a_queued_run_is_widened_by_what_is_asked_next(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    planner.drain()
    first = planner.start(contoso, INCREMENTAL, USERS)
    second = planner.start(contoso, FULL, USERS, SITES)
    assert second.activity_identifier == first.activity_identifier
    assert {part.part: part.type for part in second.parts} == {USERS: FULL, SITES: FULL}
    planner.drain()
    ended = planner.run(contoso, first.activity_identifier)
    assert {part.part: part.status for part in ended.parts} == dict.fromkeys((USERS, SITES), RunStatus.SUCCEEDED)


@pytest.mark.parametrize("kind", ["Modern", "Basic"])
def test_an_organization_that_is_no_application_is_refused_and_nothing_changes(planner: Planner, kind: str) -> None:
    organization = planner.register(2, authenticationType=kind)
    with pytest.raises(Conflict, match=f"ApplicationOnly.*{kind}"):
        planner.start(organization)
    assert planner.unfinished(organization) == {}
    assert planner.job(organization).schedule_state is ScheduleState.DISABLED


def test_a_part_that_the_organization_does_not_have_is_refused_and_nothing_changes(planner: Planner) -> None:
    organization = planner.register(2, parts=["users"])
    with pytest.raises(BadRequest, match="sites"):
        planner.start(organization, INCREMENTAL, USERS, SITES)
    with pytest.raises(BadRequest):
        start(planner.services, organization.key, INCREMENTAL, [])
    assert planner.unfinished(organization) == {}


def test_an_unknown_organization_is_not_found(planner: Planner) -> None:
    with pytest.raises(NotFound):
        start(planner.services, 999, INCREMENTAL, None)


@pytest.mark.parametrize("attempt", range(5))
def test_starts_at_the_same_moment_are_told_the_same_run(planner: Planner, contoso: Organization, attempt: int) -> None:
    together = threading.Barrier(4)

    def begin(_: int) -> tuple[Run, list[SliceMessage]]:
        together.wait(timeout=30)
        return start(planner.services, contoso.key, INCREMENTAL, None)

    with ThreadPoolExecutor(4) as threads:
        started = list(threads.map(begin, range(4)))
    assert len({run.activity_identifier for run, _ in started}) == 1
    assert sum(len(messages) for _, messages in started) == len(READ)


def test_planners_at_the_same_moment_start_what_is_due_once(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    planner.drain()
    planner.clock.forward(minutes=40)
    together = threading.Barrier(3)

    def turn(_: int) -> list[SliceMessage]:
        together.wait(timeout=30)
        return planned(planner.services)

    with ThreadPoolExecutor(3) as threads:
        turns = list(threads.map(turn, range(3)))
    assert [len(messages) for messages in turns if messages] == [len(READ)]


# --- The schedule -------------------------------------------------------------------------------------------------


def test_a_due_organization_starts_once_and_only_it(planner: Planner, contoso: Organization) -> None:
    idle = planner.register(2)
    planner.start(contoso)
    planner.drain()
    assert planner.job(contoso).next_run_time == BEGIN + timedelta(minutes=40)
    planner.clock.forward(minutes=39, seconds=59)
    assert planner.plan() == []
    planner.clock.forward(seconds=1)
    assert [message.part for message in planner.plan()] == READ
    assert planner.plan() == []
    assert planner.unfinished(contoso)[RunStatus.QUEUED].type is INCREMENTAL
    assert planner.unfinished(idle) == {}
    planner.drain()
    assert planner.plan() == []
    assert planner.job(contoso).next_run_time == BEGIN + timedelta(minutes=80)


def test_an_organization_that_cannot_be_started_stops_no_other(planner: Planner, contoso: Organization) -> None:
    fabrikam = planner.register(2)
    for organization in (contoso, fabrikam):
        planner.start(organization)
    planner.drain()
    with planner.services.database.write() as connection:
        connection.execute(
            update(organizations_table)
            .where(organizations_table.c.organization_id == contoso.key)
            .values(parts="of another version")
        )
    planner.clock.forward(minutes=40)
    assert find_due(planner.services).registered == [contoso.key, fabrikam.key]
    with pytest.raises(ValueError, match="PartName"):
        plan_for(planner.services, contoso.key)
    assert plan_for(planner.services, fabrikam.key).slices != []
    assert find_due(planner.services).registered == [contoso.key]


def test_what_was_planned_before_the_database_went_away_is_sent_and_the_rest_stays_due(
    planner: Planner, contoso: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabrikam = planner.register(2)
    for organization in (contoso, fabrikam):
        planner.start(organization)
    planner.drain()
    planner.clock.forward(minutes=40)

    def lock(connection: Connection, key: int) -> Organization:
        if key != contoso.key:
            raise DatabaseBlocked("SQLITE_FULL")
        return contoso

    monkeypatch.setattr(organizations, "lock", lock)
    assert {message.organization_key for message in planner.plan()} == {contoso.key}
    assert find_due(planner.services).registered == [fabrikam.key]


def test_a_message_of_the_planner_that_comes_twice_or_late_changes_nothing(
    planner: Planner, contoso: Organization
) -> None:
    planner.start(contoso)
    planner.drain()
    planner.clock.forward(minutes=40)
    planner.plan()
    assert plan_for(planner.services, contoso.key) == Plan()
    planner.drain()
    before = planner.job(contoso)
    assert plan_for(planner.services, contoso.key) == Plan()
    assert planner.job(contoso) == before
    with planner.services.database.write() as connection:
        organizations.remove(connection, contoso, planner.clock())
    assert plan_for(planner.services, contoso.key) == Plan()


def test_the_longest_waiting_is_planned_first(planner: Planner, contoso: Organization) -> None:
    fabrikam = planner.register(2)
    for organization in (fabrikam, contoso):
        planner.start(organization)
        planner.drain()
        planner.clock.forward(minutes=1)
    planner.clock.forward(days=1)
    assert find_due(planner.services).registered == [fabrikam.key, contoso.key]


def test_a_turn_of_the_planner_is_one_query_whatever_is_due(planner: Planner, contoso: Organization) -> None:
    aging, stalled, removed = (planner.register(number) for number in (2, 3, 4))
    for organization in (contoso, aging):
        planner.start(organization)
    planner.drain()
    pause(planner.services, aging.key)
    planner.clock.forward(hours=23, minutes=59)
    planner.start(stalled)
    with planner.services.database.write() as connection:
        organizations.remove(connection, removed, planner.clock())
    planner.clock.forward(minutes=5)
    asked: list[str] = []

    def listen(*told: Any) -> None:
        if not told[2].startswith("BEGIN"):
            asked.append(told[2])

    event.listen(planner.services.database.engine, "before_cursor_execute", listen)
    due = find_due(planner.services)
    event.remove(planner.services.database.engine, "before_cursor_execute", listen)
    assert (set(due.registered), due.removed) == ({contoso.key, aging.key, stalled.key}, [removed.key])
    assert [statement.startswith("SELECT") for statement in asked] == [True]


def test_the_interval_is_counted_from_start_to_start(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    first, *rest = planner.sent
    planner.work(first)
    planner.clock.forward(minutes=30)
    planner.work(*rest)
    assert planner.job(contoso).next_run_time == BEGIN + timedelta(minutes=40)


def test_a_run_longer_than_the_interval_is_followed_at_once(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    first, *rest = planner.sent
    planner.sent.clear()
    planner.work(first)
    planner.clock.forward(hours=2)
    assert all(message.activity_identifier == first.activity_identifier for message in planner.plan())
    planner.work(*rest)
    assert planner.job(contoso).next_run_time == planner.clock()


def test_a_failed_run_is_tried_again_at_the_next_interval(planner: Planner, contoso: Organization) -> None:
    run = planner.start(contoso)
    planner.work(*planner.sent, error=SynchronizationError(code="x", message="y"))
    ended = planner.run(contoso, run.activity_identifier)
    assert (ended.status, ended.error is not None) == (RunStatus.FAILED, True)
    job = planner.job(contoso)
    assert (job.successive_complete_failures, job.next_run_time) == (1, BEGIN + timedelta(minutes=40))
    planner.clock.forward(minutes=40)
    assert len(planner.plan()) == len(READ)


def test_a_paused_organization_is_left_alone(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    planner.drain()
    pause(planner.services, contoso.key)
    planner.clock.forward(hours=23)
    assert planner.plan() == []
    planner.start(contoso)
    planner.drain()
    assert planner.job(contoso).schedule_state is ScheduleState.ACTIVE


def test_a_job_paused_during_its_run_does_nothing_until_it_goes_on_where_it_was(
    planner: Planner, contoso: Organization
) -> None:
    run = planner.start(contoso)
    pause(planner.services, contoso.key)
    planner.drain()
    planner.clock.forward(days=7)
    assert planner.plan() == []
    assert planner.job(contoso).next_run_time is None
    assert planner.start(contoso).activity_identifier == run.activity_identifier
    planner.drain()
    assert planner.unfinished(contoso) == {}


def test_a_removed_organization_is_left_to_the_purge(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    with planner.services.database.write() as connection:
        organizations.remove(connection, contoso, planner.clock())
    planner.clock.forward(days=1)
    assert find_due(planner.services) == ([], [contoso.key], [])
    assert plan_for(planner.services, contoso.key) == Plan()


# --- The age of cursors -------------------------------------------------------------------------------------------


def test_cursors_of_a_paused_job_are_refreshed_after_a_day_and_the_job_stays_paused(
    planner: Planner, contoso: Organization
) -> None:
    planner.start(contoso)
    planner.drain()
    pause(planner.services, contoso.key)
    before = planner.job(contoso)
    planner.clock.forward(hours=23, minutes=59)
    assert planner.plan() == []
    planner.clock.forward(minutes=1)
    assert {message.part for message in planner.plan()} == WITH_CURSORS
    assert planner.plan() == []
    run = planner.unfinished(contoso)[RunStatus.QUEUED]
    assert {part.type for part in run.parts} == {INCREMENTAL}
    planner.drain()
    after = planner.job(contoso)
    assert after.last_run == run.activity_identifier
    assert (after.status_code, after.schedule_state) == (StatusCode.PAUSED, ScheduleState.DISABLED)
    assert (after.next_run_time, after.successive_complete_failures) == (None, before.successive_complete_failures)
    planner.clock.forward(hours=23, minutes=59)
    assert planner.plan() == []


def test_a_lost_message_of_a_run_that_keeps_a_paused_jobs_cursors_is_sent_again(
    planner: Planner, contoso: Organization
) -> None:
    planner.start(contoso)
    planner.drain()
    pause(planner.services, contoso.key)
    planner.clock.forward(hours=24)
    lost = planner.plan()
    planner.sent.clear()
    planner.clock.forward(minutes=5)
    assert sorted(planner.plan(), key=str) == sorted(lost, key=str)
    planner.drain()
    assert planner.unfinished(contoso) == {}


def test_cursors_grow_no_older_though_the_next_run_of_the_schedule_is_far_and_the_schedule_stays(
    planner: Planner, contoso: Organization
) -> None:
    change_settings(planner.services, contoso.key, JobSettings(interval=timedelta(days=30)))
    planner.start(contoso)
    planner.drain()
    for _ in range(29):
        planner.clock.forward(days=1)
        planner.plan()
        assert {part.type for part in planner.unfinished(contoso)[RunStatus.QUEUED].parts} == {INCREMENTAL}
        planner.drain()
        assert planner.job(contoso).next_run_time == BEGIN + timedelta(days=30)
    planner.clock.forward(days=1)
    planner.plan()
    planner.drain()
    assert planner.job(contoso).next_run_time == BEGIN + timedelta(days=60)


@pytest.mark.parametrize(("hours", "retries"), [(24, range(30, 168, 6)), (144, range(150, 168, 6))])
def test_a_refresh_that_fails_is_tried_again_some_times_before_the_cursor_is_seven_days_old(
    planner: Planner, contoso: Organization, hours: int, retries: range
) -> None:
    settings = planner.services.settings.model_copy(update={"cursor_refresh_hours": hours})
    planner.services = replace(planner.services, settings=settings)
    planner.start(contoso, INCREMENTAL, USERS)
    planner.drain()
    pause(planner.services, contoso.key)
    tried: list[int] = []
    for hour in range(1, 7 * 24):
        planner.clock.forward(hours=1)
        if messages := planner.plan():
            tried.append(hour)
            planner.work(*messages, error=SynchronizationError(code="EncounteredCredentialError", message="No token."))
            assert planner.plan() == []
    assert tried == [hours, *retries]
    assert planner.job(contoso).status_code is StatusCode.PAUSED


def test_what_a_pause_stopped_in_its_middle_goes_on_before_its_links_are_too_old(
    planner: Planner, contoso: Organization
) -> None:
    run = planner.start(contoso)
    users, *_ = planner.sent
    with planner.services.database.write() as connection:
        work = slices.take(connection, users, planner.clock(), planner.services.settings.lease)
        assert work is not None
        slices.give_back(connection, work, planner.clock(), None, blameless=True)
    pause(planner.services, contoso.key)
    planner.sent.clear()
    planner.clock.forward(hours=23)
    assert planner.plan() == []
    planner.clock.forward(hours=1)
    planner.plan()
    planner.drain()
    assert planner.run(contoso, run.activity_identifier).status is RunStatus.SUCCEEDED
    assert planner.job(contoso).status_code is StatusCode.PAUSED


def test_a_paused_job_has_nothing_to_keep_where_a_full_run_is_to_come(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso)
    planner.drain()
    pause(planner.services, contoso.key)
    with planner.services.database.write() as connection:
        part_states.require_full_run(connection, contoso.key, CATALOGUE)
    planner.clock.forward(days=8)
    assert planner.plan() == []


@pytest.mark.parametrize("given_up", [False, True], ids=["held back", "given up"])
def test_a_job_in_quarantine_is_not_tried_more_often_for_its_cursors(
    planner: Planner, contoso: Organization, given_up: bool
) -> None:
    planner.start(contoso)
    planner.drain()
    planner.clock.forward(minutes=40)
    refused = SynchronizationError(code="EncounteredCredentialError", message="No token.")
    planner.work(*planner.plan(), error=refused)
    if given_up:
        planner.clock.forward(days=29)
        planner.work(*planner.plan(), error=refused)
    attempt = planner.job(contoso).next_run_time
    assert (attempt is None) == given_up
    planner.clock.moment = planner.clock() + timedelta(days=8) if attempt is None else attempt - timedelta(seconds=1)
    planner.sent.clear()
    assert planner.plan() == []


# --- What stalled -------------------------------------------------------------------------------------------------


def test_a_lost_message_is_sent_again(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso, INCREMENTAL, USERS)
    (lost,) = planner.sent
    planner.clock.forward(seconds=299)
    assert planner.plan() == []
    planner.clock.forward(seconds=1)
    assert planner.plan() == [lost]
    assert planner.plan() == []


def test_a_part_whose_worker_died_goes_on(planner: Planner, contoso: Organization) -> None:
    run = planner.start(contoso, INCREMENTAL, USERS)
    (message,) = planner.sent
    with planner.services.database.write() as connection:
        assert slices.take(connection, message, planner.clock(), planner.services.settings.lease) is not None
    planner.clock.forward(seconds=119)
    assert planner.plan() == []
    planner.clock.forward(seconds=1)
    planner.work(*planner.plan())
    assert planner.run(contoso, run.activity_identifier).status is RunStatus.SUCCEEDED


def test_a_message_that_was_sent_twice_is_worked_on_once(planner: Planner, contoso: Organization) -> None:
    planner.start(contoso, INCREMENTAL, USERS)
    planner.clock.forward(minutes=5)
    planner.plan()
    assert len(planner.sent) == 2
    planner.drain()
    assert planner.unfinished(contoso) == {}
    with planner.services.database.read() as connection:
        assert read_record(connection, contoso, planner.clock()).last is not None


def test_a_dead_message_fails_its_part_visibly_and_the_other_parts_go_on(
    planner: Planner, contoso: Organization
) -> None:
    run = planner.start(contoso, INCREMENTAL, USERS, GROUPS)
    users, groups = planner.sent
    planner.deliver_in_vain(users, times=5)
    assert fail_dead_letter(planner.services, users) == []
    planner.work(groups)
    ended = planner.run(contoso, run.activity_identifier)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == "MessageDeadLettered"
    assert {part.part: part.status for part in ended.parts} == {USERS: RunStatus.FAILED, GROUPS: RunStatus.SUCCEEDED}
    assert fail_dead_letter(planner.services, users) == []
    # The series of complete failures does not begin: one part was good.
    assert planner.job(contoso).successive_complete_failures == 0


def test_a_dead_message_of_a_part_that_no_slice_failed_for_changes_nothing(
    planner: Planner, contoso: Organization
) -> None:
    run = planner.start(contoso, INCREMENTAL, USERS)
    assert fail_dead_letter(planner.services, planner.sent[0]) == []
    assert planner.run(contoso, run.activity_identifier).status is RunStatus.QUEUED


def test_a_dead_message_of_a_part_that_has_attempts_left_leaves_it_to_the_planner(
    planner: Planner, contoso: Organization
) -> None:
    run = planner.start(contoso, INCREMENTAL, USERS)
    (users,) = planner.sent
    planner.sent.clear()
    # Of five deliveries four never reached the database.
    planner.deliver_in_vain(users, times=1)
    assert fail_dead_letter(planner.services, users) == []
    assert planner.run(contoso, run.activity_identifier).status is RunStatus.RUNNING
    planner.clock.forward(minutes=5)
    planner.plan()
    planner.drain()
    assert planner.run(contoso, run.activity_identifier).status is RunStatus.SUCCEEDED


def test_a_start_of_a_part_that_just_failed_is_done_though_its_run_goes_on(
    planner: Planner, contoso: Organization
) -> None:
    planner.start(contoso, INCREMENTAL, USERS, GROUPS)
    users, _ = planner.sent
    planner.sent.clear()
    planner.deliver_in_vain(users, times=5)
    fail_dead_letter(planner.services, users)
    asked = planner.start(contoso, INCREMENTAL, USERS)
    assert any(part.part is USERS and not part.status.finished for part in asked.parts)


# --- Parts that wait for another ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, SynchronizationError(code="x", message="y")], ids=["succeeded", "failed"])
def test_a_derived_part_is_sent_when_its_source_is_over_however_that_ended(
    planner: Planner, error: SynchronizationError | None
) -> None:
    contoso = planner.register(parts=["users", "mailboxes"])
    run = planner.start(contoso)
    (users,) = planner.sent
    planner.sent.clear()
    planner.work(users, error=error)
    assert [message.part for message in planner.sent] == [MAILBOXES]
    planner.drain()
    ended = planner.run(contoso, run.activity_identifier)
    assert {part.part: part.status for part in ended.parts} == {
        USERS: RunStatus.FAILED if error else RunStatus.SUCCEEDED,
        MAILBOXES: RunStatus.SUCCEEDED,
    }


def test_a_derived_part_that_the_planner_sends_too_early_does_not_begin_and_is_sent_again(planner: Planner) -> None:
    contoso = planner.register(parts=["users", "mailboxes"])
    run = planner.start(contoso)
    (users,) = planner.sent
    planner.sent.clear()
    for _ in range(3):
        planner.clock.forward(minutes=6)
        early = [message for message in planner.plan() if message.part is MAILBOXES]
        assert len(early) == 1
        planner.work(*early)
        parts = {part.part: part.status for part in planner.run(contoso, run.activity_identifier).parts}
        assert parts[MAILBOXES] is RunStatus.QUEUED
    planner.sent.clear()
    planner.work(users)
    planner.drain()
    assert planner.run(contoso, run.activity_identifier).status is RunStatus.SUCCEEDED


def test_a_derived_part_waits_for_nothing_where_its_source_is_not_in_the_run(planner: Planner) -> None:
    contoso = planner.register(parts=["teams", "channels"])
    planner.start(contoso, FULL, CHANNELS)
    assert [message.part for message in planner.sent] == [CHANNELS]
