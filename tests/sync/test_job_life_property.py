"""Whatever people and runs do to a job, in whatever order: it shows a possible state, follows the table, and goes on.

The product's own functions work on real databases; only Graph is left out: a slice ends its part as the test says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from shared.api.views.job import synchronization_job
from shared.api.views.sync_state import organization_sync_state
from shared.cache import organizations, runs, slices
from shared.cache import tables as t
from shared.cache.synchronization_record import read_record
from shared.models.errors import Conflict
from shared.models.job_settings import JobSettings
from shared.models.jobs import SynchronizationRecord
from shared.models.organizations import OrganizationRegistration
from shared.models.parts import CATALOGUE, PartName
from shared.models.restart import RestartScope
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.slices import Slice, SliceMessage, StaleSlice
from shared.models.synchronization import ScheduleState, StatusCode, SynchronizationError
from shared.services import Services
from shared.settings import Settings
from shared.sync.completion import finish_part
from shared.sync.configuration import change_selection, change_settings, create_job, delete_job
from shared.sync.control import pause, quarantine_on_demand, restart, start, start_job, verified
from shared.sync.lifecycle import TRANSITIONS, Condition, Event, after
from shared.sync.planning import Plan, find_due, plan_for
from shared.sync.slices import fail_dead_letter
from tests.application import APPLICATION

BEGIN = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
USERS, GROUPS, SITES = PartName.USERS, PartName.GROUPS, PartName.SITES
SOME_PARTS = st.frozensets(st.sampled_from([USERS, GROUPS, SITES]), min_size=1)
SCOPES = st.sampled_from(list(RestartScope)).flatmap(
    lambda one: st.sampled_from(
        [one, one | RestartScope.ESCROWS, one | RestartScope.QUARANTINE_STATE, RestartScope.NONE]
    )
)
# Small numbers, so that a few objects that fail are many.
SETTINGS: dict[str, Any] = {
    "quarantine_base_escrows": 3,
    "quarantine_total_escrows": 5,
    "quarantine_proportion_from": 2,
}

REFUSED = SynchronizationError(code="EncounteredCredentialError", message="No token.", tenant_actionable=True)
FORBIDDEN = SynchronizationError(code="Authorization_RequestDenied", message="No permission.", tenant_actionable=True)
BROKEN = SynchronizationError(code="serviceNotAvailable", message="Graph is away.")


@dataclass(frozen=True)
class End:
    """How a part's run ends.

    Attributes:
        error: What it fails with.
        escrows: How many of its objects then wait for a retry.
        held: Whether deletions are held back.
    """

    error: SynchronizationError | None = None
    escrows: int = 0
    held: bool = False


GOOD = End()
ENDS = st.sampled_from(
    [GOOD, GOOD, End(BROKEN), End(REFUSED), End(FORBIDDEN), End(escrows=1), End(escrows=6), End(held=True)]
)
ENDS_OF_RUNS = {Event.RUN_ENDED, Event.QUARANTINE, Event.EXPIRE, Event.ESCROWS_PRUNED}
NUMBERS = count(1)
RETRY_HOURS = 6
"""After which a cursor that is due, and was not refreshed, is due again."""


class JobLife(RuleBasedStateMachine):
    """One organization's job, its queue and its clock. The database is shared with the lives before this one."""

    services: Services
    now: datetime

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[SliceMessage] = []
        self.taken: list[tuple[Slice, SliceMessage]] = []
        self.scope: RestartScope | None = None

    # --- Helpers --------------------------------------------------------------------------------------------------

    @initialize()
    def register(self) -> None:
        identifier = f"00000000-0000-4000-8000-{next(NUMBERS):012}"
        document = {"tenantId": identifier, "name": f"{identifier}.com", "application": APPLICATION}
        registration = OrganizationRegistration.model_validate({**document, "parts": ["users", "sites"]})
        with self.services.database.write() as connection:
            self.key = organizations.register(connection, registration, timedelta(minutes=40), 500, self.now).key
        self.condition = Condition.NEW
        self.look()

    def look(self) -> SynchronizationRecord:
        """Sees how everything is now; ``record`` is what was seen last."""
        with self.services.database.read() as connection:
            organization = organizations.find_by_key(connection, self.key)
            self.record = read_record(connection, organization, self.now)
            mine = t.run_parts.c.organization_id == self.key
            self.run_parts = connection.execute(select(t.run_parts).where(mine)).all()
            unfinished = t.runs.c.organization_id == self.key, t.runs.c.status.in_(runs.UNFINISHED)
            self.unfinished = list(connection.execute(select(t.runs.c.status).where(*unfinished)).scalars())
        return self.record

    def has_job(self) -> bool:
        return self.record.job.id is not None

    def is_active(self) -> bool:
        return self.condition.schedule_state is ScheduleState.ACTIVE

    def followed(self, *events: Event, possible: Collection[Event] = ()) -> None:
        """Checks that the job went where the table says that the events lead.

        Args:
            events: What happened.
            possible: What may have happened then, in the table's order.
        """
        expected = self.condition
        for event in events:
            expected = after(expected, event)
        allowed = {expected}
        for event in TRANSITIONS:
            if event in possible:
                allowed |= {after(condition, event) for condition in allowed}
        job = self.look().job
        now = Condition.of(job.schedule_state, job.status_code)
        assert now in allowed, f"{self.condition} became {now} by {events or possible}"
        self.condition = now

    # --- What people do -------------------------------------------------------------------------------------------

    @precondition(has_job)
    @rule(seldom=st.integers(0, 3))
    def delete(self, seldom: int) -> None:
        if seldom:
            return
        delete_job(self.services, self.key)
        self.condition = Condition.NEW
        self.scope = None
        self.followed()
        assert (self.record.running, self.record.queued, self.record.last) == (None, None, None)
        assert self.run_parts == []

    @precondition(lambda self: not self.has_job())
    @rule(parts=st.none() | SOME_PARTS)
    def create(self, parts: frozenset[PartName] | None) -> None:
        chosen = None if parts is None else tuple(name for name in CATALOGUE if name in parts)
        create_job(self.services, self.key, JobSettings(parts=chosen))
        self.followed()
        assert self.has_job()

    @precondition(lambda self: not self.has_job())
    @rule()
    def ask_of_no_job(self) -> None:
        for asked in (start, start_job):
            with pytest.raises(Conflict):
                asked(self.services, self.key)
        with pytest.raises(Conflict):
            restart(self.services, self.key, RestartScope.FULL)
        verified(self.services, self.key)
        assert self.planned() == []
        self.followed()

    @precondition(has_job)
    @rule(kind=st.sampled_from(RunType), some=st.none() | SOME_PARTS)
    def synchronize(self, kind: RunType, some: frozenset[PartName] | None) -> None:
        enabled = self.record.organization.entity.parts
        parts = [name for name in enabled if some is None or name in some] or None
        run, messages = start(self.services, self.key, kind, parts)
        self.queue += messages
        self.followed(Event.START)
        assert not run.status.finished
        assert {part.part for part in run.parts} >= set(parts or enabled)

    @precondition(has_job)
    @rule()
    def start_by_graph(self) -> None:
        before, was_started = self.record, self.condition is Condition.STARTED
        self.queue += start_job(self.services, self.key)
        self.followed(Event.START)
        assert not was_started or replace(self.record, observed=before.observed) == before

    @precondition(has_job)
    @rule()
    def pause(self) -> None:
        unfinished = self.record.running, self.record.queued
        pause(self.services, self.key)
        self.followed(Event.PAUSE)
        assert (self.record.running, self.record.queued) == unfinished

    @precondition(has_job)
    @rule(scope=SCOPES)
    def restart(self, scope: RestartScope) -> None:
        self.ask_for_restart(scope, sent_again=False)

    @precondition(lambda self: self.has_job() and self.scope is not None)
    @rule()
    def send_a_restart_again(self) -> None:
        assert self.scope is not None
        self.ask_for_restart(self.scope, sent_again=True)

    @precondition(has_job)
    @rule(what=st.sampled_from(["start_by_graph", "pause", "hold_back", "restart"]), scope=SCOPES, data=st.data())
    def ask_twice(self, what: str, scope: RestartScope, data: st.DataObject) -> None:
        """The same again, with something else in between."""
        asked = (lambda: self.ask_for_restart(scope, sent_again=False)) if what == "restart" else getattr(self, what)
        between = ["start_by_graph", "pause", "hold_back", "tick", "end_one_well"]
        asked()
        getattr(self, data.draw(st.sampled_from(between)))()
        asked()

    def ask_for_restart(self, scope: RestartScope, *, sent_again: bool) -> None:
        self.queue += restart(self.services, self.key, scope, sent_again=sent_again)
        self.scope = scope
        lifts = scope == RestartScope.NONE or scope & (RestartScope.QUARANTINE_STATE | RestartScope.FORCE_DELETES)
        event = Event.RESTART if lifts else Event.RESTART_IN_QUARANTINE
        # What a client sends again was done the first time, whatever became of the job since.
        if not (sent_again and self.is_active()):
            self.followed(event)
        else:
            self.followed(possible=[event])
        if not sent_again:
            assert self.is_active()
            assert self.unfinished or scope == RestartScope.NONE

    @precondition(has_job)
    @rule()
    def hold_back(self) -> None:
        told = SynchronizationError(code="QuarantinedOnDemand", message="Wait.")
        if self.condition in (Condition.STARTED, Condition.QUARANTINED, Condition.EXPIRED):
            quarantine_on_demand(self.services, self.key, told)
            self.followed(Event.QUARANTINE)
        else:
            with pytest.raises(Conflict):
                quarantine_on_demand(self.services, self.key, told)
            self.followed()

    @precondition(has_job)
    @rule()
    def verify(self) -> None:
        verified(self.services, self.key)
        self.followed(Event.VERIFIED)

    @precondition(has_job)
    @rule(
        minutes=st.none() | st.sampled_from([1, 40, 300]),
        threshold=st.none() | st.just(7),
        parts=st.none() | SOME_PARTS,
    )
    def change_settings(self, minutes: int | None, threshold: int | None, parts: frozenset[PartName] | None) -> None:
        changed = JobSettings(
            interval=None if minutes is None else timedelta(minutes=minutes),
            deletion_threshold=threshold,
            parts=None if parts is None else tuple(name for name in CATALOGUE if name in parts),
        )
        self.queue += change_settings(self.services, self.key, changed)
        self.followed()
        assert parts is None or set(self.record.organization.entity.parts) == parts

    @precondition(has_job)
    @rule(parts=SOME_PARTS, narrow=st.booleans())
    def change_schema(self, parts: frozenset[PartName], narrow: bool) -> None:
        selection = {name: CATALOGUE[name].required if narrow else CATALOGUE[name].select for name in parts}
        self.queue += change_selection(self.services, self.key, selection)
        self.followed()
        assert set(self.record.organization.entity.parts) == parts

    # --- What runs and the queue do -------------------------------------------------------------------------------

    @precondition(lambda self: self.queue)
    @rule(data=st.data(), end=ENDS)
    def end_a_part(self, data: st.DataObject, end: End) -> None:
        self._deliver(data.draw(st.integers(0, len(self.queue) - 1)), end)

    def end_one_well(self) -> None:
        if self.queue:
            self._deliver(0, GOOD)

    @precondition(lambda self: self.queue)
    @rule(end=ENDS)
    def end_all_parts(self, end: End) -> None:
        while self.queue:
            self._deliver(0, end)

    def _deliver(self, index: int, end: End) -> None:
        message = self.queue.pop(index)
        with self.services.database.write() as connection:
            work = slices.take(connection, message, self.now, self.services.settings.lease)
            if work is not None:
                self.queue += self._finish(connection, work, end)
        self.followed(possible=ENDS_OF_RUNS if work is not None else ())

    def _finish(self, connection: Any, work: Slice, end: End) -> list[SliceMessage]:
        """What a slice does that comes to its part's end."""
        key, part = work.organization.key, work.part.name
        for table in (t.escrows, t.held_deletions):
            connection.execute(delete(table).where(table.c.organization_id == key, table.c.part == part))
        of_part = {"organization_id": key, "part": part}
        for number in range(end.escrows):
            told = {"error_code": "x", "error_message": "y", "error_tenant_actionable": False, "raw": "{}"}
            times = dict.fromkeys(("first_failed_at", "last_failed_at", "next_attempt_at"), self.now)
            row = {**of_part, **told, **times, "object_id": str(number), "failures": 1, "last_run": work.run_id}
            connection.execute(t.escrows.insert().values(**row, generation=work.generation))
        if end.held:
            row = {**of_part, "object_id": "gone", "reason": "deleted", "held_at": self.now, "approved": False}
            connection.execute(t.held_deletions.insert().values(**row))
        slices.advance(
            connection, work, Counts(imported=7, entitled=7, exports=3, exported=2), self.now, timedelta(minutes=2)
        )
        return finish_part(connection, self.services, replace(work, delta_link=self.now.isoformat()), end.error)

    @precondition(lambda self: self.queue)
    @rule()
    def lose_a_message(self) -> None:
        self.queue.pop()

    @precondition(lambda self: self.queue)
    @rule()
    def send_a_message_twice(self) -> None:
        self.queue.append(self.queue[0])

    @precondition(lambda self: self.queue)
    @rule()
    def begin_a_part_and_die(self) -> None:
        message = self.queue.pop(0)
        with self.services.database.write() as connection:
            work = slices.take(connection, message, self.now, self.services.settings.lease)
        if work is not None:
            self.taken.append((work, message))
        self.followed()

    @precondition(lambda self: self.taken)
    @rule(end=ENDS)
    def come_back_from_the_dead(self, end: End) -> None:
        work, _ = self.taken.pop(0)
        try:
            with self.services.database.write() as connection:
                self.queue += self._finish(connection, work, end)
        except StaleSlice:
            self.followed()
        else:
            self.followed(possible=ENDS_OF_RUNS)

    @precondition(lambda self: self.taken)
    @rule()
    def give_a_message_up(self) -> None:
        _, message = self.taken.pop(0)
        self.queue += fail_dead_letter(self.services, message)
        self.followed(possible=ENDS_OF_RUNS)

    @rule(hours=st.sampled_from([0.05, 0.7, 3, 6, 12, 25, 24 * 29]))
    def time_passes(self, hours: float) -> None:
        self.forward(hours=hours)
        self.followed()

    @rule()
    def tick(self) -> None:
        self.plan()
        self.followed()

    @rule()
    def get_the_planners_message_late_and_twice(self) -> None:
        self.queue += plan_for(self.services, self.key).slices
        self.followed()
        before = self.record
        assert plan_for(self.services, self.key) == Plan()
        assert self.look() == before

    def plan(self) -> None:
        self.queue += self.planned()

    def planned(self) -> list[SliceMessage]:
        """The messages for slices that come of a planner's turn."""
        return [
            message for key in find_due(self.services).registered for message in plan_for(self.services, key).slices
        ]

    def forward(self, **by: float) -> None:
        type(self).now += timedelta(**by)

    @precondition(lambda self: self.condition in (Condition.STARTED, Condition.PAUSED))
    @rule(days=st.sampled_from([2, 8]))
    def days_pass_without_faults(self, days: int) -> None:
        """No cursor that is of use grows old, whether the job is paused or not."""
        before = self.condition
        self.forward(days=days)
        # First what was under way is brought to its end, then the parts are refreshed that had ended in it before.
        for _ in range(3):
            self.plan()
            while self.queue:
                self._deliver(0, GOOD)
            self.forward(hours=RETRY_HOURS)
        self.look()
        assert self.condition is before or self.record.job.escrows_pruned
        with self.services.database.read() as connection:
            mine = t.parts.c.organization_id == self.key, ~t.parts.c.full_run_required
            cursors = connection.execute(select(t.parts.c.part, t.parts.c.delta_link).where(*mine)).all()
        for part, link in cursors:
            age = self.now - datetime.fromisoformat(link)
            enabled = part in self.record.organization.entity.parts
            assert not enabled or age <= timedelta(hours=24 + RETRY_HOURS), f"{part}: {age}"

    @precondition(is_active)
    @rule()
    def wait_until_all_is_well(self) -> None:
        self.check_recovery()

    # --- What is true after every step ----------------------------------------------------------------------------

    @invariant()
    def what_is_shown_is_possible(self) -> None:
        record, job = self.record, self.record.job
        code = self.condition.status_code(has_run=job.last_run is not None)
        assert (job.schedule_state, job.status_code) == (self.condition.schedule_state, code)
        assert (job.quarantine is not None) == (job.status_code is StatusCode.QUARANTINE)
        assert job.next_run_time is None or job.schedule_state is ScheduleState.ACTIVE
        assert job.last_run is None or record.last is not None
        assert job.last_successful_run is None or record.last_successful is not None
        assert job.successive_complete_failures >= 0
        for run in (record.running, record.queued, record.last, record.last_successful):
            assert run is None or all(value >= 0 for value in run.counts.as_dict().values())
        if job.id is not None:
            assert synchronization_job(record, "https://host").wire()["status"]["code"] == job.status_code
        state = organization_sync_state(record)
        assert (state.current_state is not None) == bool(self.unfinished)

    @invariant()
    def what_is_under_way_is_never_forgotten(self) -> None:
        assert len(self.unfinished) == len(set(self.unfinished))
        job = self.record.job
        if job.schedule_state is ScheduleState.ACTIVE:
            # Either it waits for its time, or something is done; and what is done is not due as well.
            assert (job.next_run_time is None) == bool(self.unfinished)
        under_way = self.record.running or self.record.queued
        for row in self.run_parts:
            if row.status not in runs.UNFINISHED:
                assert (row.lease_until, row.wake_at) == (None, None)
            elif under_way is not None and row.run_id == under_way.activity_identifier:
                # The planner sends its message again if nobody else does.
                assert row.wake_at is not None

    def check_recovery(self) -> None:
        """With nothing in its way any more, the job gets by itself to a run that succeeds."""
        before = self.record.job.last_run
        for _ in range(20):
            self.plan()
            while self.queue:
                self._deliver(0, GOOD)
            record = self.look()
            if record.last and record.job.last_run != before and record.last.status is RunStatus.SUCCEEDED:
                assert self.condition is Condition.STARTED
                return
            if self.condition is Condition.PAUSED:
                # Parts that had ended before were the reason, and somebody has to look after their objects.
                assert record.job.escrows_pruned
                self.start_by_graph()
            self.forward(hours=6)
        raise AssertionError(f"stuck: {self.record}")

    def teardown(self) -> None:
        try:
            if not hasattr(self, "key"):
                return
            if not self.has_job():
                create_job(self.services, self.key, JobSettings())
                self.look()
            if not self.is_active():
                self.queue += start_job(self.services, self.key)
                self.followed(Event.START)
            self.check_recovery()
        finally:
            with self.services.database.write() as connection:
                organizations.remove(connection, organizations.find_by_key(connection, self.key), self.now)


@pytest.fixture
def life(database_url: str) -> Iterator[type[JobLife]]:
    """Lives on this database, each of an organization of its own."""
    bound: list[type[JobLife]] = []
    services = Services.create(Settings(database_url=database_url, auth_mode="none", **SETTINGS), lambda: bound[0].now)
    bound.append(type("JobLifeOnDatabase", (JobLife,), {"services": services, "now": BEGIN}))
    try:
        yield bound[0]
    finally:
        services.database.close()


def test_a_job_lives_through_anything(life: type[JobLife]) -> None:
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            report_multiple_bugs=False,
        ),
    )


# --- What has gone wrong before -----------------------------------------------------------------------------------


@pytest.fixture
def job(life: type[JobLife]) -> Iterator[JobLife]:
    """The life of one job, step by step; it has to end well, whatever the test does to it."""
    job = life()
    job.register()
    yield job
    job.teardown()


@pytest.mark.parametrize("scope", [RestartScope.WATERMARK, RestartScope.QUARANTINE_STATE, RestartScope.NONE])
def test_a_restart_that_is_asked_for_again_after_a_pause_sets_the_job_going(job: JobLife, scope: RestartScope) -> None:
    job.ask_for_restart(scope, sent_again=False)
    job.pause()
    job.ask_for_restart(scope, sent_again=False)
    assert job.condition is Condition.STARTED


def test_a_restart_that_is_sent_again_leaves_what_it_began_alone(job: JobLife) -> None:
    job.ask_for_restart(RestartScope.WATERMARK, sent_again=False)
    job.end_one_well()
    before = job.record
    job.ask_for_restart(RestartScope.WATERMARK, sent_again=True)
    assert replace(job.record, observed=before.observed) == before


def test_a_run_that_was_asked_for_behind_one_that_ends_in_quarantine_does_not_run_on_in_it(job: JobLife) -> None:
    job.synchronize(RunType.INCREMENTAL, frozenset({USERS}))
    job.end_one_well()
    job.synchronize(RunType.INCREMENTAL, frozenset({USERS}))
    (users,) = job.queue
    job.begin_a_part_and_die()
    job.synchronize(RunType.FULL, None)
    job.come_back_from_the_dead(End(REFUSED))
    assert users.part is USERS
    assert (job.condition, job.unfinished, job.queue) == (Condition.QUARANTINED, [], [])


def test_a_job_that_is_given_up_and_started_again_gets_well(job: JobLife) -> None:
    job.start_by_graph()
    job.end_all_parts(End(REFUSED))
    assert job.condition is Condition.QUARANTINED
    job.forward(days=29)
    job.tick()
    job.end_all_parts(End(REFUSED))
    assert job.condition is Condition.EXPIRED
    job.forward(days=29)
    job.tick()
    assert job.unfinished == []
    job.ask_for_restart(RestartScope.WATERMARK, sent_again=False)
    assert job.condition is Condition.QUARANTINED


def test_a_run_that_keeps_cursors_of_a_paused_job_goes_on_when_the_job_is_started_and_rests_when_it_is_paused_again(
    job: JobLife,
) -> None:
    job.start_by_graph()
    job.end_all_parts(GOOD)
    job.pause()
    job.forward(hours=25)
    job.tick()
    keeping = job.look().queued
    job.end_one_well()
    job.start_by_graph()
    assert keeping is not None
    assert job.record.running is not None
    assert job.record.running.activity_identifier == keeping.activity_identifier
    job.pause()
    job.end_all_parts(GOOD)
    assert job.record.running is not None
    job.start_by_graph()
    job.end_all_parts(GOOD)
    assert (job.unfinished, job.condition) == ([], Condition.STARTED)


def test_objects_that_fail_in_the_initial_run_pause_the_job_and_later_hold_it_back(job: JobLife) -> None:
    job.start_by_graph()
    job.end_all_parts(End(escrows=6))
    assert (job.condition, job.record.job.escrows_pruned) == (Condition.PAUSED, True)
    job.start_by_graph()
    job.end_all_parts(GOOD)
    job.synchronize(RunType.INCREMENTAL, None)
    job.end_all_parts(End(escrows=6))
    assert job.condition is Condition.QUARANTINED
