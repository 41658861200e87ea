"""Leases on parts: duplicates are dropped, dead workers replaced, and a stale worker writes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from shared.cache import organizations, part_states, runs, slices, waiting_parts
from shared.cache import tables as t
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.slices import Slice, Stage, StaleSlice
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LATER, LEASE, NONE_ESCROWED, NOW, REQUEUE, Cache, end_run, live

USERS, GROUPS = PartName.USERS, PartName.GROUPS
EXPIRED = NOW + LEASE


def status(cache: Cache, organization: Organization, run_id: str) -> RunStatus:
    run = cache.read(lambda c: runs.find(c, organization, run_id))
    assert run is not None
    return run.status


def test_a_message_delivered_twice_is_dropped_the_second_time(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    assert cache.take(message) is not None
    assert cache.take(message) is None


def test_a_message_delivered_again_after_its_slice_is_dropped(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    work = cache.take(message)
    assert work is not None
    following = cache.write(lambda c: slices.give_back(c, work, LATER, None, blameless=True))
    assert cache.take(message) is None
    again = cache.take(following)
    assert again is not None
    assert again.fence > work.fence


def test_the_first_part_that_is_taken_makes_the_run_a_running_one(cache: Cache, contoso: Organization) -> None:
    users, groups = cache.queue(contoso, USERS, GROUPS)
    assert status(cache, contoso, users.activity_identifier) is RunStatus.QUEUED
    cache.take(groups)
    run = cache.read(lambda c: runs.find(c, contoso, users.activity_identifier))
    assert run is not None
    assert (run.status, run.start_time) == (RunStatus.RUNNING, NOW)
    assert {part.part: part.status for part in run.parts} == {USERS: RunStatus.QUEUED, GROUPS: RunStatus.RUNNING}


def test_a_queued_run_waits_while_another_is_running(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    (waiting,) = cache.queue(contoso, GROUPS)
    assert cache.take(waiting) is None
    cache.finish(work)
    assert cache.take(waiting) is not None


def test_runs_of_two_organizations_do_not_wait_for_one_another(cache: Cache, contoso: Organization) -> None:
    cache.begin(contoso)
    assert cache.begin(cache.register(2)).organization.key != contoso.key


@pytest.mark.parametrize("fence", [-1, 0, 1, 2, 99])
def test_an_expired_lease_is_taken_by_any_message(cache: Cache, contoso: Organization, fence: int) -> None:
    (message,) = cache.queue(contoso, USERS)
    first = cache.take(message)
    assert first is not None
    outdated = message.model_copy(update={"fence": fence})
    assert cache.take(outdated, EXPIRED - timedelta(microseconds=1)) is None
    second = cache.take(outdated, EXPIRED)
    assert second is not None
    assert (second.fence, second.attempts) == (first.fence + 1, 2)
    assert cache.take(outdated, EXPIRED) is None


def test_the_next_worker_goes_on_where_the_last_commit_was(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    first = cache.take(message)
    assert first is not None
    got_on = replace(first, cursor="https://graph/next", total=100)
    cache.apply(got_on, live("a"))
    second = cache.take(message, EXPIRED)
    assert second == replace(got_on, fence=first.fence + 1, attempts=1)


def test_getting_on_renews_the_lease(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    work = cache.take(message)
    assert work is not None
    cache.apply(work, live("a"), now=EXPIRED - timedelta(seconds=1))
    assert cache.take(message, EXPIRED) is None
    assert cache.take(message, EXPIRED + LEASE) is not None


@pytest.mark.parametrize("what", ["advance", "give back", "restart", "finish", "abandon"])
@pytest.mark.parametrize("reason", ["another worker", "the part is over"])
def test_a_stale_worker_can_do_nothing_any_more(cache: Cache, contoso: Organization, what: str, reason: str) -> None:
    (message, _) = cache.queue(contoso, USERS, GROUPS)
    stale = cache.take(message)
    assert stale is not None
    if reason == "another worker":
        assert cache.take(message, EXPIRED) is not None
    else:
        ended = replace(stale, delta_link="d")
        cache.write(lambda c: slices.finish_part(c, ended, RunStatus.SUCCEEDED, None, NONE_ESCROWED, NOW))
    before = cache.read(lambda c: c.execute(select(t.run_parts).order_by(t.run_parts.c.part)).all())
    with pytest.raises(StaleSlice):
        cache.write(
            lambda c: {
                "advance": lambda: slices.advance(c, stale, Counts(imported=1), LATER, LEASE),
                "give back": lambda: slices.give_back(c, stale, LATER, None, blameless=True),
                "restart": lambda: slices.restart_full(c, stale),
                "finish": lambda: slices.finish_part(
                    c, replace(stale, delta_link="d"), RunStatus.SUCCEEDED, None, NONE_ESCROWED, NOW
                ),
                "abandon": lambda: slices.abandon(c, stale, LATER),
            }[what]()
        )
    assert cache.read(lambda c: c.execute(select(t.run_parts).order_by(t.run_parts.c.part)).all()) == before


def test_a_stale_workers_page_is_not_written(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    stale = cache.take(message)
    assert stale is not None
    new = cache.take(message, EXPIRED)
    assert new is not None
    with pytest.raises(StaleSlice):
        cache.apply(stale, live("stale"))
    cache.apply(new, live("new"))
    assert cache.live_objects(contoso) == {"new"}
    assert cache.entries(contoso) == 1


def test_an_abandoned_part_is_free_at_once(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    work = cache.take(message)
    assert work is not None
    cache.write(lambda c: slices.abandon(c, work, NOW))
    assert cache.take(message, NOW) is not None


def test_attempts_count_until_the_part_gets_on(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)

    def fail(blameless: bool) -> int:
        nonlocal message
        work = cache.take(message)
        assert work is not None
        message = cache.write(lambda c: slices.give_back(c, work, LATER, None, blameless=blameless))
        return work.attempts

    assert [fail(False), fail(False), fail(True), fail(False)] == [1, 2, 3, 1]
    work = cache.take(message)
    assert work is not None
    assert cache.read(lambda c: slices.count_attempts(c, work)) == 2
    cache.apply(work, live("a"))
    assert cache.read(lambda c: slices.count_attempts(c, work)) == 0


def test_a_dead_message_leases_the_part_whatever_its_fence(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    work = cache.take(message)
    assert work is not None
    cache.write(lambda c: slices.give_back(c, work, LATER, None, blameless=False))
    dead = cache.write(lambda c: slices.dead_letter(c, message, 1, NOW, LEASE))
    assert dead is not None
    assert dead.fence == work.fence + 1


def test_a_dead_message_does_not_end_a_part_that_somebody_works_on_or_that_is_over(
    cache: Cache, contoso: Organization
) -> None:
    (message,) = cache.queue(contoso, USERS)
    work = cache.take(message)
    assert work is not None
    assert cache.write(lambda c: slices.dead_letter(c, message, 1, NOW, LEASE)) is None
    cache.finish(work)
    assert cache.write(lambda c: slices.dead_letter(c, message, 1, LATER, LEASE)) is None


def test_a_message_of_a_removed_organization_or_of_no_run_is_dropped(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    unknown = message.model_copy(update={"activity_identifier": "unknown"})
    assert cache.take(unknown) is None
    assert cache.take(message.model_copy(update={"part": GROUPS})) is None
    assert cache.write(lambda c: slices.dead_letter(c, unknown, 1, NOW, LEASE)) is None
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    assert cache.take(message) is None
    assert cache.write(lambda c: slices.dead_letter(c, message, 1, NOW, LEASE)) is None


def test_what_nothing_came_of_is_woken_when_its_time_has_come_and_not_twice(
    cache: Cache, contoso: Organization
) -> None:
    (message,) = cache.queue(contoso, USERS)
    due = NOW + REQUEUE
    assert cache.write(lambda c: waiting_parts.wake(c, contoso.key, due - timedelta(microseconds=1), REQUEUE)) == []
    assert cache.write(lambda c: waiting_parts.wake(c, contoso.key, due, REQUEUE)) == [message]
    assert cache.write(lambda c: waiting_parts.wake(c, contoso.key, due, REQUEUE)) == []
    assert cache.write(lambda c: waiting_parts.wake(c, contoso.key, due + REQUEUE, REQUEUE)) == [message]


def test_a_part_whose_worker_died_is_woken_when_its_lease_is_over(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    assert cache.write(lambda c: waiting_parts.wake(c, contoso.key, EXPIRED - timedelta(microseconds=1), REQUEUE)) == []
    (woken,) = cache.write(lambda c: waiting_parts.wake(c, contoso.key, EXPIRED, REQUEUE))
    again = cache.take(woken, EXPIRED)
    assert again is not None
    assert again.fence == work.fence + 1


def test_a_finished_part_is_never_woken(cache: Cache, contoso: Organization) -> None:
    cache.finish(cache.begin(contoso))
    assert cache.write(lambda c: waiting_parts.wake(c, contoso.key, LATER, REQUEUE)) == []


# --- Which way a part is read -------------------------------------------------------------------------------------


def test_a_part_that_was_never_read_is_read_in_full_then_by_its_cursor(cache: Cache, contoso: Organization) -> None:
    first = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    assert (first.type, first.cursor, first.stage) == (RunType.FULL, None, Stage.LISTING)
    cache.finish(replace(first, delta_link="https://graph/delta1"))
    second = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    assert (second.type, second.cursor) == (RunType.INCREMENTAL, "https://graph/delta1")
    assert second.generation > first.generation


def test_a_full_run_uses_no_cursor(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS)
    work = cache.begin(contoso)
    assert (work.type, work.cursor) == (RunType.FULL, None)


def test_a_changed_selection_takes_a_full_run(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS)
    cache.write(lambda c: c.execute(t.parts.update().values(selection="id,displayName")))
    work = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    assert (work.type, work.cursor) == (RunType.FULL, None)


def failed(cache: Cache, work: Slice) -> None:
    error = SynchronizationError(code="x", message="y")
    cache.write(lambda c: slices.finish_part(c, work, RunStatus.FAILED, error, NONE_ESCROWED, NOW))
    cache.write(lambda c: end_run(c, work, RunStatus.FAILED, error, NOW))


def test_a_failed_run_leaves_the_cursor_where_it_was(cache: Cache, contoso: Organization) -> None:
    cache.finish(replace(cache.begin(contoso), delta_link="https://graph/delta1"))
    work = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    failed(cache, replace(work, delta_link="https://graph/delta2"))
    again = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    assert (again.type, again.cursor) == (RunType.INCREMENTAL, "https://graph/delta1")


def test_an_expired_cursor_starts_a_full_listing_of_a_new_generation(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS)
    work = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    restarted = cache.write(lambda c: slices.restart_full(c, work))
    assert (restarted.type, restarted.stage, restarted.cursor) == (RunType.FULL, Stage.LISTING, None)
    assert restarted.generation > work.generation
    # Should this listing fail as well, the next run must not try the dead cursor again.
    failed(cache, restarted)
    assert cache.begin(contoso, run_type=RunType.INCREMENTAL).type is RunType.FULL


def test_a_need_for_a_full_run_that_comes_up_during_a_run_outlives_it(cache: Cache, contoso: Organization) -> None:
    def needed() -> bool:
        return USERS in cache.read(lambda c: part_states.parts_without_cursor(c, contoso.key))

    cache.finish(replace(cache.begin(contoso), delta_link="https://graph/delta1"))
    assert not needed()
    work = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    cache.write(lambda c: part_states.require_full_run(c, contoso.key, [USERS]))
    cache.finish(replace(work, delta_link="https://graph/delta2"))
    assert needed()
    cache.finish(replace(cache.begin(contoso), delta_link="https://graph/delta3"))
    assert not needed()
