"""Subscriptions and marks in the database: who comes late keeps nothing, and a mark goes when its part is begun."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from shared.cache import dirty_parts, due, organizations, purge, subscriptions
from shared.cache import tables as t
from shared.models.errors import DatabaseFailure
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import RunType
from shared.models.subscriptions import Granted, Subscription
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LATER, NOW, Cache, live

URL, ELSEWHERE = "https://here/notifications/graph", "https://there/notifications/graph"
ID, HASH = "7b0d3c52-6f0a-4a53-9f5e-0d7c6a1b2c3d", b"hash"
GRANTED = Granted(ID, NOW + timedelta(days=28))
RENEWAL = NOW + timedelta(days=14)
ERROR = SynchronizationError(code="Refused", message="Not now.")
USERS, GROUPS = PartName.USERS, PartName.GROUPS


def want(cache: Cache, organization: Organization, *collections: str, url: str = URL, now: datetime = NOW) -> None:
    cache.write(lambda c: subscriptions.want(c, organization.key, collections, url, now))  # pyright: ignore


def take(cache: Cache, organization: Organization, now: datetime = NOW) -> list[Subscription]:
    return list(cache.write(lambda c: subscriptions.take_due(c, organization.key, now, now + timedelta(minutes=5))))


def keep(cache: Cache, organization: Organization, taken: Subscription) -> bool:
    return cache.write(
        lambda c: subscriptions.keep_granted(
            c, organization.key, taken, GRANTED, RENEWAL, NOW, client_state_hash=HASH, url=URL
        )
    )


def subscribing(cache: Cache, now: datetime) -> list[int]:
    return cache.read(lambda c: due.find(c, now)).subscribing


def granted(cache: Cache, organization: Organization) -> None:
    want(cache, organization, "users")
    (taken,) = take(cache, organization)
    assert keep(cache, organization, taken)


def test_what_is_wanted_is_due_once(cache: Cache, contoso: Organization) -> None:
    want(cache, contoso, "users", "groups")
    assert subscribing(cache, NOW) == [contoso.key]
    assert [one.collection for one in take(cache, contoso)] == ["groups", "users"]
    assert take(cache, contoso) == []
    want(cache, contoso, "users", "groups")
    assert subscribing(cache, NOW) == []


def test_what_was_granted_is_due_at_its_renewal(cache: Cache, contoso: Organization) -> None:
    granted(cache, contoso)
    assert subscribing(cache, RENEWAL - timedelta(seconds=1)) == []
    assert subscribing(cache, RENEWAL) == [contoso.key]
    (taken,) = take(cache, contoso, RENEWAL)
    assert (taken.granted, taken.url, taken.wanted) == (GRANTED, URL, True)


def test_an_attempt_that_was_given_up_for_dead_keeps_nothing(cache: Cache, contoso: Organization) -> None:
    want(cache, contoso, "users")
    (first,) = take(cache, contoso)
    (second,) = take(cache, contoso, LATER)
    assert not keep(cache, contoso, first)
    cache.write(lambda c: subscriptions.keep_failure(c, contoso.key, first, ERROR, NOW))
    assert cache.read(lambda c: subscriptions.list_all(c, contoso.key, NOW))[0].error is None
    assert keep(cache, contoso, second)


def test_a_failure_is_told_until_an_attempt_works(cache: Cache, contoso: Organization) -> None:
    want(cache, contoso, "users")
    (taken,) = take(cache, contoso)
    cache.write(lambda c: subscriptions.keep_failure(c, contoso.key, taken, ERROR, LATER))
    (told,) = cache.read(lambda c: subscriptions.list_all(c, contoso.key, NOW))
    assert (told.active, told.error, told.next_attempt) == (False, ERROR, LATER)
    (again,) = take(cache, contoso, LATER)
    assert again.failures == 1
    assert keep(cache, contoso, again)
    (told,) = cache.read(lambda c: subscriptions.list_all(c, contoso.key, NOW))
    assert (told.active, told.error) == (True, None)


def test_what_is_not_wanted_any_more_is_due_and_then_forgotten(cache: Cache, contoso: Organization) -> None:
    granted(cache, contoso)
    want(cache, contoso)
    (taken,) = take(cache, contoso)
    assert not taken.wanted
    cache.write(lambda c: subscriptions.forget(c, contoso.key, taken))
    assert cache.read(lambda c: subscriptions.list_all(c, contoso.key, NOW)) == []


@pytest.mark.parametrize("works", [True, False])
def test_what_becomes_due_during_an_attempt_stays_due(cache: Cache, contoso: Organization, works: bool) -> None:
    want(cache, contoso, "users")
    (taken,) = take(cache, contoso)
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    if works:
        assert keep(cache, contoso, taken)
    else:
        cache.write(lambda c: subscriptions.keep_failure(c, contoso.key, taken, ERROR, LATER))
    (again,) = take(cache, contoso)
    assert (again.wanted, again.granted) == (False, GRANTED if works else None)


def test_graphs_events_do_not_shorten_the_wait_after_a_failure(cache: Cache, contoso: Organization) -> None:
    granted(cache, contoso)
    (taken,) = take(cache, contoso, RENEWAL)
    retry = RENEWAL + timedelta(minutes=10)
    cache.write(lambda c: subscriptions.keep_failure(c, contoso.key, taken, ERROR, retry))
    known = cache.read(lambda c: subscriptions.find_known(c, [ID]))[ID]
    assert not cache.write(lambda c: subscriptions.hurry(c, known, RENEWAL))
    assert take(cache, contoso, RENEWAL) == []
    assert [one.failures for one in take(cache, contoso, retry)] == [1]


def test_what_is_wanted_again_meanwhile_is_not_forgotten(cache: Cache, contoso: Organization) -> None:
    granted(cache, contoso)
    want(cache, contoso)
    (taken,) = take(cache, contoso)
    want(cache, contoso, "users")
    cache.write(lambda c: subscriptions.forget(c, contoso.key, taken))
    assert [one.wanted for one in take(cache, contoso)] == [True]


def test_another_address_makes_a_subscription_due(cache: Cache, contoso: Organization) -> None:
    granted(cache, contoso)
    want(cache, contoso, "users", url=ELSEWHERE)
    assert subscribing(cache, NOW) == [contoso.key]


def test_a_known_subscription_is_found_by_its_id_while_the_organization_is_registered(
    cache: Cache, contoso: Organization
) -> None:
    granted(cache, contoso)
    many = [f"{number:08}-0000-4000-8000-000000000000" for number in range(3_000)]
    found = cache.read(lambda c: subscriptions.find_known(c, [*many, ID]))
    assert {name: (one.organization_key, one.client_state_hash) for name, one in found.items()} == {
        ID: (contoso.key, HASH)
    }
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    assert cache.read(lambda c: subscriptions.find_known(c, [ID])) == {}


def test_a_removed_organization_stays_until_graph_has_none_of_its_subscriptions(
    cache: Cache, contoso: Organization
) -> None:
    granted(cache, contoso)
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    while cache.write(lambda c: purge.purge(c, contoso.key)):
        pass
    assert cache.read(lambda c: organizations.find_removed(c, contoso.key)).tenant_id == contoso.tenant_id
    (taken,) = take(cache, contoso)
    cache.write(lambda c: subscriptions.forget(c, contoso.key, taken))
    assert cache.write(lambda c: purge.purge(c, contoso.key)) is False
    assert cache.read(lambda c: c.execute(select(t.organizations)).all()) == []


@pytest.mark.parametrize("missing", ["client_state_hash", "url", "expires_at", "granted_at"])
def test_a_subscription_that_is_granted_is_kept_whole(cache: Cache, contoso: Organization, missing: str) -> None:
    granted(cache, contoso)
    with pytest.raises(DatabaseFailure):
        cache.write(lambda c: c.execute(update(t.subscriptions).values({missing: None})))


# --- Marks --------------------------------------------------------------------------------------------------------


def mark(cache: Cache, organization: Organization, *names: PartName, at: datetime = NOW) -> bool:
    return cache.write(lambda c: dirty_parts.mark(c, organization.key, names, at))


def marks(cache: Cache, organization: Organization) -> dict[PartName, datetime]:
    return {name: at for (_, name), at in cache.read(lambda c: dirty_parts.find(c, [organization.key])).items()}


def test_a_mark_is_news_once_and_again_if_it_is_for_sooner(cache: Cache, contoso: Organization) -> None:
    assert mark(cache, contoso, USERS, at=LATER)
    assert not mark(cache, contoso, USERS, at=LATER)
    assert not mark(cache, contoso, USERS, at=LATER + timedelta(seconds=1))
    assert marks(cache, contoso) == {USERS: LATER}
    assert mark(cache, contoso, USERS, at=NOW)
    assert mark(cache, contoso, USERS, GROUPS, at=NOW)
    assert marks(cache, contoso) == {USERS: NOW, GROUPS: NOW}
    assert not mark(cache, contoso)


def test_the_beginning_of_a_parts_run_takes_its_mark_away_and_no_other(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"))
    mark(cache, contoso, USERS, GROUPS)
    (message,) = cache.queue(contoso, USERS, run_type=RunType.INCREMENTAL)
    assert set(marks(cache, contoso)) == {USERS, GROUPS}
    assert cache.take(message) is not None
    assert set(marks(cache, contoso)) == {GROUPS}


def test_a_later_slice_of_the_run_leaves_the_mark_of_what_came_meanwhile(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, USERS)
    assert cache.take(message) is not None
    mark(cache, contoso, USERS)
    assert cache.take(message, LATER) is not None
    assert set(marks(cache, contoso)) == {USERS}


def test_marks_of_one_organization_are_nobody_elses(cache: Cache, contoso: Organization) -> None:
    other = cache.register(2)
    mark(cache, contoso, USERS)
    assert marks(cache, other) == {}
    cache.write(lambda c: dirty_parts.forget(c, other.key, [USERS]))
    assert set(marks(cache, contoso)) == {USERS}
