"""Notifications coalesce: however many come, few runs follow, and no change stays unread. Time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count, pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.cache import dirty_parts, organizations, runs, slices, subscriptions
from shared.models.notifications import ChangeMessage
from shared.models.organizations import Organization, OrganizationRegistration
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Run, RunStatus, RunType
from shared.models.slices import Slice, SliceMessage
from shared.models.subscriptions import Granted
from shared.services import Services
from shared.settings import Settings
from shared.sync.completion import finish_part
from shared.sync.control import pause, start
from shared.sync.notifications import Received, read_changes, receive
from shared.sync.planning import find_due, plan_for
from tests.application import APPLICATION
from tests.databases import Databases

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
OF_USERS, OF_GROUPS = {USERS, MAILBOXES}, {GROUPS, MEMBERS, TEAMS, CHANNELS}
BEGIN = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
DEBOUNCE = 10.0
SECRET = "the secret of the subscription"
NUMBERS = count(1)


@dataclass
class Clock:
    moment: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)

    async def sleep(self, seconds: float) -> None:
        self.forward(seconds=seconds)


@dataclass
class World:
    """One organization that is subscribed to, its queues, and a clock."""

    services: Services
    clock: Clock
    organization: Organization
    slices: list[SliceMessage] = field(default_factory=list[SliceMessage])
    changes: list[ChangeMessage] = field(default_factory=list[ChangeMessage])

    @property
    def key(self) -> int:
        return self.organization.key

    def item(self, collection: str = "users", **changed: Any) -> dict[str, Any]:
        item = {
            "subscriptionId": identifier(self.key, collection),
            "tenantId": self.organization.tenant_id,
            "clientState": SECRET,
            "changeType": "updated",
        }
        return {**item, **changed}

    def tell(self, *items: object) -> Received:
        received = receive(self.services, items or [self.item()])
        self.changes += received.changes
        return received

    def act(self) -> None:
        """Delivers the oldest message of changes: its function waits for its time."""
        planned = asyncio.run(read_changes(self.services, self.changes.pop(0), self.clock.sleep))
        self.slices += planned.slices

    def plan(self) -> None:
        """A turn of the planner."""
        for key in find_due(self.services).registered:
            self.slices += plan_for(self.services, key).slices

    def begin(self, most: int | None = None) -> list[Slice]:
        """Begins to read so many of the parts that messages wait for, or all of them."""
        begun: list[Slice] = []
        messages, self.slices = self.slices[:most], [] if most is None else self.slices[most:]
        for message in messages:
            with self.services.database.write() as connection:
                work = slices.take(connection, message, self.clock(), timedelta(minutes=2))
            if work is not None:
                begun.append(work)
        return begun

    def end(self, works: list[Slice]) -> None:
        for work in works:
            with self.services.database.write() as connection:
                self.slices += finish_part(connection, self.services, replace(work, delta_link="link"), None)

    def drain(self) -> None:
        """Does all slices, and those that follow them."""
        while self.slices:
            self.end(self.begin())

    def synchronize(self) -> None:
        self.slices += start(self.services, self.key)[1]
        self.drain()

    def unfinished(self) -> dict[RunStatus, Run]:
        with self.services.database.read() as connection:
            return dict(runs.find_unfinished(connection, self.organization))

    def dirty(self) -> set[PartName]:
        with self.services.database.read() as connection:
            return {name for _, name in dirty_parts.find(connection, [self.key])}


def identifier(key: int, collection: str) -> str:
    return str(UUID(int=key * 2 + (collection == "groups")))


def parts(run: Run) -> set[PartName]:
    return {part.part for part in run.parts}


@contextmanager
def opened(url: str) -> Iterator[Services]:
    clock = Clock()
    services = Services.create(
        Settings(database_url=url, auth_mode="none", notification_debounce_seconds=DEBOUNCE), clock
    )
    try:
        yield services
    finally:
        services.database.close()


def subscribed(services: Services, **changed: Any) -> World:
    """A new organization that has been read in full and is subscribed to."""
    clock = services.now
    assert isinstance(clock, Clock)
    number = f"00000000-0000-4000-8000-{next(NUMBERS):012}"
    document = {"tenantId": number, "name": f"{number}.com", "application": APPLICATION, **changed}
    with services.database.write() as connection:
        registration = OrganizationRegistration.model_validate(document)
        organization = organizations.register(connection, registration, timedelta(minutes=40), 500, clock())
    world = World(services, clock, organization)
    world.synchronize()
    with services.database.write() as connection:
        subscriptions.want(connection, organization.key, ("users", "groups"), "https://here", clock())
        for one in subscriptions.take_due(connection, organization.key, clock(), clock()):
            granted = Granted(identifier(organization.key, one.collection), clock() + timedelta(days=28))
            later, proof = clock() + timedelta(days=14), sha256(SECRET.encode()).digest()
            assert subscriptions.keep_granted(
                connection, organization.key, one, granted, later, clock(), client_state_hash=proof, url="https://here"
            )
    return world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with opened(database_url) as services:
        yield subscribed(services)


# --- What is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("collection", "expected"), [("users", OF_USERS), ("groups", OF_GROUPS)])
def test_a_notification_has_just_the_parts_read_that_it_is_about(
    world: World, collection: str, expected: set[PartName]
) -> None:
    world.tell(world.item(collection))
    world.act()
    (run,) = world.unfinished().values()
    assert (parts(run), run.type) == (expected, RunType.INCREMENTAL)
    world.drain()
    assert world.unfinished() == {}
    assert world.dirty() == set()


def test_the_run_comes_when_the_first_notification_is_as_old_as_the_debounce(world: World) -> None:
    world.tell()
    world.clock.forward(seconds=9)
    world.tell()
    world.act()
    assert world.clock() == BEGIN + timedelta(seconds=DEBOUNCE)
    assert len(world.unfinished()) == 1


def test_what_is_told_of_users_and_groups_within_the_debounce_is_one_run(world: World) -> None:
    world.tell(world.item("users"))
    world.clock.forward(seconds=1)
    world.tell(world.item("groups"))
    world.act()
    (run,) = world.unfinished().values()
    assert parts(run) == OF_USERS | OF_GROUPS
    world.act()
    world.drain()
    assert world.unfinished() == {}


def test_only_parts_that_are_switched_on_are_read(database_url: str) -> None:
    with opened(database_url) as services:
        world = subscribed(services, parts=["users", "groups", "sites"])
        world.tell(world.item("users"), world.item("groups"))
        world.act()
        (run,) = world.unfinished().values()
        assert parts(run) == {USERS, GROUPS}


FORGED: dict[str, dict[str, Any]] = {
    "another secret": {"clientState": "guessed"},
    "the secret and more": {"clientState": SECRET + "x"},
    "no secret": {"clientState": ""},
    "a secret that is no text": {"clientState": None},
    "another tenant": {"tenantId": "00000000-0000-4000-8000-999999999999"},
    "no tenant": {"tenantId": None},
    "an unknown subscription": {"subscriptionId": "99999999-9999-4999-8999-999999999999"},
    "a subscription that is no id": {"subscriptionId": "' OR 1=1 --"},
    "a NUL": {"subscriptionId": "\x00"},
    "an unknown event": {"lifecycleEvent": "obey"},
    "an event that is no text": {"lifecycleEvent": ["missed"]},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
def test_a_forged_notification_leaves_no_trace(world: World, changed: dict[str, Any]) -> None:
    received = world.tell(world.item(**changed))
    assert received == Received()
    assert world.dirty() == set()


def test_the_hash_that_is_kept_is_not_taken_for_the_secret(world: World) -> None:
    world.tell(world.item(clientState=sha256(SECRET.encode()).hexdigest()))
    assert world.dirty() == set()


def test_a_good_item_among_forged_ones_counts(world: World) -> None:
    world.tell(None, 5, [], {}, *(world.item(**changed) for changed in FORGED.values()), world.item())
    assert world.dirty() == {USERS}


def test_replayed_notifications_make_no_more_runs_than_the_first(world: World) -> None:
    for _ in range(50):
        world.tell(*[world.item()] * 20)
    assert len(world.changes) == 1
    world.act()
    world.drain()
    assert world.unfinished() == {}


def test_what_was_missed_is_read_at_once_and_told_again_and_again_once_per_debounce(world: World) -> None:
    world.clock.forward(seconds=DEBOUNCE)
    begun: list[datetime] = []
    for _ in range(60):
        world.tell(world.item(lifecycleEvent="missed"))
        world.plan()
        if world.slices:
            begun.append(world.clock())
        world.drain()
        world.clock.forward(seconds=1)
    assert begun[0] == BEGIN + timedelta(seconds=DEBOUNCE)
    assert all(later - earlier >= timedelta(seconds=DEBOUNCE) for earlier, later in pairwise(begun))


def test_notifications_of_a_removed_organization_are_forged_ones(world: World) -> None:
    with world.services.database.write() as connection:
        organizations.remove(connection, world.organization, world.clock())
    assert world.tell().changes == []


# --- What is read meanwhile ---------------------------------------------------------------------------------------


def test_a_change_that_comes_before_its_part_is_begun_needs_no_further_run(world: World) -> None:
    world.tell()
    world.act()
    world.tell()
    assert world.changes == []
    world.drain()
    assert world.unfinished() == {}


def test_a_change_that_comes_while_its_part_is_read_leads_to_another_run(world: World) -> None:
    world.tell()
    world.act()
    reading = world.begin()
    assert world.dirty() == set()
    world.tell()
    world.act()
    under_way = world.unfinished()
    assert set(under_way) == {RunStatus.RUNNING, RunStatus.QUEUED}
    world.end(reading)
    world.drain()
    assert world.unfinished() == {}
    assert world.dirty() == set()


def test_what_is_derived_of_a_part_is_read_with_it_again(world: World) -> None:
    world.tell()
    world.act()
    world.end(world.begin())
    # Mailboxes are still to be begun: they would not see what users change now.
    world.tell()
    world.act()
    assert parts(world.unfinished()[RunStatus.QUEUED]) == OF_USERS


def test_a_run_that_people_ask_for_takes_the_changes_along(world: World) -> None:
    world.tell()
    world.synchronize()
    assert world.dirty() == set()
    world.act()
    assert world.unfinished() == {}


def test_the_planner_makes_up_for_a_lost_message_and_only_once(world: World) -> None:
    world.tell()
    world.changes.clear()
    world.plan()
    assert world.slices == []
    world.clock.forward(seconds=DEBOUNCE)
    world.plan()
    assert {message.part for message in world.slices} == {USERS}
    assert find_due(world.services).registered == []


def test_a_paused_job_keeps_its_marks_and_nothing_is_due(world: World) -> None:
    pause(world.services, world.key)
    world.tell()
    world.act()
    world.plan()
    assert (world.unfinished(), find_due(world.services).registered) == ({}, [])
    assert world.dirty() == {USERS}
    world.synchronize()
    assert world.dirty() == set()


def test_the_interval_of_the_job_is_not_counted_from_runs_that_notifications_asked_for(world: World) -> None:
    world.clock.forward(minutes=30)
    world.tell()
    world.act()
    world.drain()
    world.clock.forward(minutes=10)
    world.plan()
    assert {part.part for run in world.unfinished().values() for part in run.parts} == set(CATALOGUE)


def test_a_run_that_people_join_is_theirs(world: World) -> None:
    world.clock.forward(minutes=30)
    world.tell()
    world.act()
    run, _ = start(world.services, world.key, RunType.INCREMENTAL, [USERS])
    assert {run.activity_identifier} == {one.activity_identifier for one in world.unfinished().values()}
    assert [one.notified for one in world.unfinished().values()] == [False]


def test_a_mark_that_a_run_is_still_to_read_makes_no_further_run_with_what_was_marked_later(world: World) -> None:
    world.tell(world.item("users"))
    world.clock.forward(seconds=0.1)
    world.tell(world.item("groups"))
    world.act()
    (of_users,) = [message for message in world.slices if message.part == USERS]
    with world.services.database.write() as connection:
        assert slices.take(connection, of_users, world.clock(), timedelta(minutes=2))
    world.tell(world.item("users"))
    world.act()  # a tenth of a second later the groups are due, which the run is about to read
    assert RunStatus.QUEUED not in world.unfinished()


# --- However it comes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Burst:
    """What is told when, in tenths of a second, and for how long each run reads."""

    told: list[tuple[int, str]]
    reading: int


BURSTS = st.builds(
    Burst,
    st.lists(st.tuples(st.integers(0, 600), st.sampled_from(["users", "groups"])), min_size=1, max_size=60).map(sorted),
    st.integers(0, 300),
)


@pytest.fixture(scope="module")
def shared_services(databases: Databases) -> Iterator[Services]:
    with databases.fresh("sqlite") as url, opened(url) as services:
        yield services


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(burst=BURSTS)
@example(burst=Burst([(0, "users"), (1, "groups"), (101, "users")], 10))
def test_every_change_is_read_soon_by_few_runs(shared_services: Services, burst: Burst) -> None:
    world = subscribed(shared_services, parts=["users", "groups"])
    start_of_all, reading = world.clock(), timedelta(seconds=burst.reading / 10)
    told = [(start_of_all + timedelta(seconds=moment / 10), collection) for moment, collection in burst.told]
    waiting = list(told)
    read: dict[PartName, list[datetime]] = {USERS: [], GROUPS: []}
    begun: dict[str, datetime] = {}
    under_way: list[Slice] = []
    ends = start_of_all
    # The queue's function of notifications waits for nobody, and one worker reads one part after the other.
    while waiting or world.changes or under_way or world.slices:
        moments = [waiting[0][0]] if waiting else []
        moments += [max(world.changes[0].due, world.clock())] if world.changes else []
        moments += [ends] if under_way else [world.clock()] if world.slices else []
        world.clock.moment = max(world.clock(), min(moments))
        now = world.clock()
        if waiting and waiting[0][0] <= now:
            world.tell(world.item(waiting.pop(0)[1]))
        elif under_way and ends <= now:
            world.end(under_way)
            under_way = []
        elif world.slices and not under_way:
            under_way = world.begin(1)
            for work in under_way:
                read[work.part.name].append(now)
                begun.setdefault(work.run_id, now)
                ends = now + reading
        elif world.changes and world.changes[0].due <= now:
            world.act()
    for moment, collection in told:
        after = [begin for begin in read[PartName(collection)] if begin >= moment]
        # Within the debounce, or as soon as the run is over that was reading then; the other part may come first.
        assert after
        assert after[0] <= moment + max(timedelta(seconds=DEBOUNCE), 2 * reading) + reading
    assert all(later - earlier >= timedelta(seconds=DEBOUNCE) for earlier, later in pairwise(begun.values()))
    assert len(begun) <= 60 / DEBOUNCE + 1
    assert world.unfinished() == {}
    assert world.dirty() == set()
