"""One budget for each organization and family of services: who waits, until when, and that nothing is lost by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, select

from shared.cache import due, jobs, runs, slices, throttles, waiting_parts
from shared.cache import tables as t
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, Family, PartName
from shared.models.runs import Counts, PartRun, RunStatus, RunType
from shared.models.slices import SliceMessage, Stage
from shared.models.synchronization import StatusCode, SynchronizationError
from tests.cache.work import LEASE, NOW, REQUEUE, Cache

USERS, GROUPS, SITES = PartName.USERS, PartName.GROUPS, PartName.SITES
UNTIL = NOW + timedelta(minutes=20)
JUST_BEFORE = UNTIL - timedelta(microseconds=1)
THROTTLED = SynchronizationError(code="TooManyRequests", message="GET /users/delta answered 429.")


def throttle(
    cache: Cache, organization: Organization, until: datetime = UNTIL, family: Family = CATALOGUE[USERS].family
) -> None:
    cache.write(lambda c: throttles.extend(c, organization.key, family, until))


def wait(
    cache: Cache, organization: Organization, family: Family = CATALOGUE[USERS].family, now: datetime = NOW
) -> datetime | None:
    return cache.read(lambda c: throttles.until(c, organization.key, family, now))


def row(cache: Cache, message: SliceMessage) -> Row[Any]:
    mine = (t.run_parts.c.run_id == message.activity_identifier, t.run_parts.c.part == message.part)
    return cache.read(lambda c: c.execute(select(t.run_parts).where(*mine)).one())


def shown(cache: Cache, organization: Organization, message: SliceMessage) -> PartRun:
    """The part as people see it in its run."""
    run = cache.read(lambda c: runs.find(c, organization, message.activity_identifier))
    assert run is not None
    return next(part for part in run.parts if part.part is message.part)


def woken(cache: Cache, now: datetime) -> list[SliceMessage]:
    """The messages for what is due of all organizations."""
    keys = cache.read(lambda c: due.find(c, now)).registered
    woken = [cache.write(lambda c, key=key: waiting_parts.wake(c, key, now, REQUEUE)) for key in keys]
    return [message for messages in woken for message in messages]


# --- The budget ---------------------------------------------------------------------------------------------------


def test_a_wait_lasts_until_its_end_and_no_longer(cache: Cache, contoso: Organization) -> None:
    assert wait(cache, contoso) is None
    throttle(cache, contoso)
    assert wait(cache, contoso, now=JUST_BEFORE) == UNTIL
    assert wait(cache, contoso, now=UNTIL) is None


def test_a_wait_gets_longer_but_never_shorter(cache: Cache, contoso: Organization) -> None:
    throttle(cache, contoso)
    throttle(cache, contoso, UNTIL - timedelta(minutes=5))
    assert wait(cache, contoso) == UNTIL
    throttle(cache, contoso, UNTIL + timedelta(microseconds=1))
    assert wait(cache, contoso) == UNTIL + timedelta(microseconds=1)


def test_organizations_and_families_do_not_share_a_budget(cache: Cache, contoso: Organization) -> None:
    throttle(cache, contoso)
    assert wait(cache, contoso, "sharepoint") is None
    assert wait(cache, cache.register(2)) is None


def test_the_parts_that_the_directory_answers_for_share_one_budget_and_sites_have_another() -> None:
    families = {name: part.family for name, part in CATALOGUE.items()}
    assert families[SITES] == "sharepoint"
    assert {families[name] for name in (USERS, GROUPS, PartName.GROUP_MEMBERS, PartName.TEAMS)} == {"directory"}


# --- Slices that would begin --------------------------------------------------------------------------------------


def test_a_part_whose_family_waits_sleeps_until_the_end_and_is_taken_then(cache: Cache, contoso: Organization) -> None:
    users, sites = cache.queue(contoso, USERS, SITES)
    throttle(cache, contoso)
    before = row(cache, users)

    assert cache.take(users, JUST_BEFORE) is None
    assert cache.take(sites) is not None

    after = row(cache, users)
    unchanged = ("status", "fence", "attempts", "stage", "generation", "started_at")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    assert [message.part for message in woken(cache, JUST_BEFORE)] == [SITES]
    assert woken(cache, UNTIL) == [users]
    assert cache.take(users, UNTIL) is not None


def test_people_see_why_a_part_sleeps_and_when_it_goes_on(cache: Cache, contoso: Organization) -> None:
    (users,) = cache.queue(contoso, USERS)
    assert shown(cache, contoso, users).next_attempt is None
    throttle(cache, contoso)
    cache.take(users)
    asleep = shown(cache, contoso, users)
    assert asleep.next_attempt == UNTIL
    assert asleep.error is not None
    assert (asleep.error.code, asleep.error.tenant_actionable) == ("TooManyRequests", False)
    cache.take(users, UNTIL)
    assert shown(cache, contoso, users).next_attempt is None


def test_a_part_that_was_told_to_wait_itself_shows_when_it_goes_on(cache: Cache, contoso: Organization) -> None:
    (users,) = cache.queue(contoso, USERS)
    work = cache.take(users)
    assert work is not None
    cache.write(lambda c: slices.give_back(c, work, UNTIL, THROTTLED, blameless=True))
    assert shown(cache, contoso, users).next_attempt == UNTIL


def test_a_part_that_waits_for_another_reason_or_is_over_has_no_next_attempt(
    cache: Cache, contoso: Organization
) -> None:
    users, groups = cache.queue(contoso, USERS, GROUPS)
    work = cache.take(users)
    assert work is not None
    cache.write(lambda c: slices.give_back(c, work, UNTIL, None, blameless=True))
    assert shown(cache, contoso, users).next_attempt is None
    throttle(cache, contoso)
    cache.take(groups)
    cache.write(lambda c: runs.cancel_unfinished(c, contoso.key, NOW))
    assert shown(cache, contoso, groups).next_attempt is None


def test_messages_that_come_twice_wake_nobody_early_and_lose_nothing(cache: Cache, contoso: Organization) -> None:
    (users,) = cache.queue(contoso, USERS)
    throttle(cache, contoso)
    assert [cache.take(users), cache.take(users, JUST_BEFORE)] == [None, None]
    assert woken(cache, JUST_BEFORE) == []
    # The duplicate comes late, and the planner's message after it.
    work = cache.take(users, UNTIL)
    assert work is not None
    assert cache.take(users, UNTIL) is None


def test_a_part_whose_worker_died_sleeps_as_well_and_only_the_planners_message_goes_on_with_it(
    cache: Cache, contoso: Organization
) -> None:
    (users,) = cache.queue(contoso, USERS)
    died = cache.take(users)
    assert died is not None
    throttle(cache, contoso)
    assert cache.take(users, NOW + LEASE) is None
    assert row(cache, users).attempts == died.attempts
    assert cache.take(users, UNTIL) is None
    (again,) = woken(cache, UNTIL)
    work = cache.take(again, UNTIL)
    assert work is not None
    assert (work.fence, work.attempts) == (died.fence + 1, died.attempts + 1)


def test_a_wait_that_grew_while_a_part_slept_is_slept_through(cache: Cache, contoso: Organization) -> None:
    (users,) = cache.queue(contoso, USERS)
    throttle(cache, contoso)
    cache.take(users)
    longer = UNTIL + timedelta(minutes=1)
    throttle(cache, contoso, longer)
    (again,) = woken(cache, UNTIL)
    assert cache.take(again, UNTIL) is None
    assert shown(cache, contoso, users).next_attempt == longer
    assert woken(cache, longer) == [users]


@pytest.mark.parametrize("stage", [stage for stage in Stage if not stage.asks_graph])
def test_a_part_that_asks_graph_nothing_more_does_not_wait(cache: Cache, contoso: Organization, stage: Stage) -> None:
    work = cache.listed(cache.begin(contoso), stage)
    message = cache.write(lambda c: slices.give_back(c, work, NOW, None, blameless=True))
    throttle(cache, contoso)
    assert cache.take(message) is not None


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage.asks_graph])
def test_a_part_that_still_has_to_ask_graph_waits(cache: Cache, contoso: Organization, stage: Stage) -> None:
    work = cache.listed(cache.begin(contoso), stage)
    message = cache.write(lambda c: slices.give_back(c, work, NOW, None, blameless=True))
    throttle(cache, contoso)
    assert cache.take(message) is None


def test_a_paused_job_is_left_as_it_is(cache: Cache, contoso: Organization) -> None:
    (users,) = cache.queue(contoso, USERS)
    job = cache.read(lambda c: jobs.read(c, contoso.key))
    cache.write(lambda c: jobs.save(c, contoso.key, replace(job, status_code=StatusCode.PAUSED)))
    before = row(cache, users)
    throttle(cache, contoso)
    assert cache.take(users) is None
    assert row(cache, users) == before


def test_a_cancelled_run_is_left_as_it_is(cache: Cache, contoso: Organization) -> None:
    (users,) = cache.queue(contoso, USERS)
    cache.write(lambda c: runs.cancel_unfinished(c, contoso.key, NOW))
    before = row(cache, users)
    throttle(cache, contoso)
    assert cache.take(users) is None
    assert row(cache, users) == before
    assert woken(cache, UNTIL) == []


def test_a_message_that_the_queue_gave_up_ends_its_part_although_the_family_waits(
    cache: Cache, contoso: Organization
) -> None:
    (users,) = cache.queue(contoso, USERS)
    work = cache.take(users)
    assert work is not None
    cache.write(lambda c: slices.give_back(c, work, NOW, None, blameless=False))
    throttle(cache, contoso)
    assert cache.write(lambda c: slices.dead_letter(c, users, 1, NOW, LEASE)) is not None


def test_resource_units_add_up_and_a_listing_that_begins_again_does_not_give_them_back(
    cache: Cache, contoso: Organization
) -> None:
    (users,) = cache.queue(contoso, USERS, run_type=RunType.INCREMENTAL)
    work = cache.take(users)
    assert work is not None
    for units in (2, 0, 5):
        cache.write(lambda c, units=units: slices.advance(c, work, Counts(imported=1), NOW, LEASE, units))
    cache.write(lambda c: slices.restart_full(c, work))
    told = shown(cache, contoso, users)
    assert (told.resource_units, told.completed, told.status) == (7, 0, RunStatus.RUNNING)
