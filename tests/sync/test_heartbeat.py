"""A slice that waits long for an answer keeps its lease; one that is dead or over does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from local.tenant import Directory, Options, TenantServer
from shared.cache import slices
from shared.cache.tables import run_parts
from shared.models.organizations import Organization
from shared.models.slices import StaleSlice
from shared.sync.heartbeat import LONGEST_SLICE
from tests.application import HOST_JSON, running_application
from tests.cache.work import LATER, LEASE, NOW, Cache, opened_cache


@pytest.fixture
def cache(database_url: str) -> Iterator[Cache]:
    with opened_cache(database_url) as opened:
        yield opened


@pytest.fixture
def contoso(cache: Cache) -> Organization:
    return cache.register()


def test_a_beat_renews_the_lease(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, *contoso.entity.parts[:1])
    work = cache.take(message)
    assert work is not None
    cache.write(lambda c: slices.beat(c, work, LATER, LEASE))

    assert cache.take(message, LATER + LEASE - timedelta(seconds=1)) is None
    assert cache.take(message, LATER + LEASE) is not None


def test_a_slice_that_was_given_back_cannot_be_leased_again_by_a_late_beat(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, *contoso.entity.parts[:1])
    work = cache.take(message)
    assert work is not None
    following = cache.write(lambda c: slices.give_back(c, work, LATER, None, blameless=True))

    with pytest.raises(StaleSlice):
        cache.write(lambda c: slices.beat(c, work, NOW, LEASE))
    assert cache.take(following) is not None


def test_a_worker_whose_lease_went_to_another_cannot_renew_it(cache: Cache, contoso: Organization) -> None:
    (message,) = cache.queue(contoso, *contoso.entity.parts[:1])
    work = cache.take(message)
    assert work is not None
    assert cache.take(message, LATER) is not None

    with pytest.raises(StaleSlice):
        cache.write(lambda c: slices.beat(c, work, LATER, LEASE))


def test_hearts_stop_when_the_host_would_end_the_function() -> None:
    hours, minutes, seconds = map(int, HOST_JSON["functionTimeout"].split(":"))
    assert timedelta(hours=hours, minutes=minutes, seconds=seconds) == LONGEST_SLICE


def test_an_answer_that_takes_longer_than_the_lease_costs_the_slice_nothing(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    options = Options(page_size=200, latency_ms=0)
    with (
        TenantServer(Directory(users=20, groups=2, sites=2), options) as tenant,
        running_application(monkeypatch, database_url, tenant, LEASE_SECONDS="2") as application,
    ):
        application.register(parts=["users"])
        slow = {"path": "/users/delta", "kind": "latency", "milliseconds": 4000}
        application.control("POST", "/faults", [slow])
        run = application.start()
        while application.run(run["activityIdentifier"])["endTime"] is None:
            # Whoever finds the lease lapsed takes the part over.
            application.host.fire_timer("plan_synchronizations")
            time.sleep(0.1)

        assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
        with application.services.database.read() as connection:
            assert connection.execute(select(func.max(run_parts.c.fence))).scalar_one() == 1
