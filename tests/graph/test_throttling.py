"""Retry-After in every form against the SDK's own retries, what a page costs, and the priority of requests."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from shared.graph.client import GraphClient
from shared.graph.pages import ReceivedPage
from shared.models.errors import GraphRefused, GraphThrottled, GraphUnavailable
from shared.models.parts import Part
from shared.models.records import Page
from tests.graph.servers import ScriptedServer
from tests.graph.support import EVERY_PART, GROUPS, SITES, TEAMS, USERS, Graph

LIMIT = 30
BOTH_STATUSES = pytest.mark.parametrize("status", [429, 503])
BOTH_PLACES = pytest.mark.parametrize("place", ["first page", "next page"])


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def rfc850_date(seconds: float) -> str:
    """The obsolete form of HTTP dates, which recipients still have to understand (RFC 9110, 5.6.7)."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%A, %d-%b-%y %H:%M:%S GMT")


def read(graph: Graph, place: str, advice: str | None, **fault: Any) -> Page:
    """The page of users at this place, for which Graph first asks to wait."""
    client = graph.client(graph_page_size=20, graph_max_wait_seconds=LIMIT)
    link = graph.run(client.first_page(USERS)).next_link if place == "next page" else None
    graph.control("/requests", method="DELETE")
    graph.fault(retryAfter=advice, **fault)
    return graph.run(client.first_page(USERS) if link is None else client.next_page(USERS, link)).read()


@BOTH_STATUSES
@BOTH_PLACES
@pytest.mark.parametrize(
    ("advice", "seconds"),
    [("1", 1), ("7", 7), ("2.128", 2.128), ("0.5", 0.5), ("30", 30), ("30.0", 30)],
)
def test_graph_is_asked_again_after_exactly_the_seconds_that_it_asked_for(
    graph: Graph, status: int, place: str, advice: str, seconds: float
) -> None:
    assert read(graph, place, advice, status=status, times=1).records
    assert graph.waits == [seconds]


@BOTH_STATUSES
@BOTH_PLACES
@pytest.mark.parametrize("date", [http_date, rfc850_date])
def test_graph_is_asked_again_at_the_date_that_it_named(graph: Graph, status: int, place: str, date: Any) -> None:
    assert read(graph, place, date(20), status=status, times=1).records
    (wait,) = graph.waits
    # Dates have whole seconds, and the test takes some itself.
    assert 10 < wait <= 20


@BOTH_STATUSES
@pytest.mark.parametrize("advice", [None, "", "0", "-5", "soon", "nan", "1 minute", "past", "past in RFC 850"])
def test_without_a_time_to_come_graph_is_asked_again_soon_but_not_at_once(
    graph: Graph, status: int, advice: str | None
) -> None:
    told = {"past": http_date(-60), "past in RFC 850": rfc850_date(-60)}.get(advice or "", advice)
    assert read(graph, "first page", told, status=status, times=2).records
    assert len(graph.waits) == 2
    assert all(0 < wait < 5 for wait in graph.waits)


@BOTH_STATUSES
@BOTH_PLACES
@pytest.mark.parametrize(
    ("advice", "seconds"),
    [
        ("31", 31),
        ("30.001", 30.001),
        ("120", 120),
        ("179", 179),
        ("3600", 3600),
        ("99999999999", 86_400),
        ("inf", 86_400),
    ],
)
def test_a_wait_beyond_the_limit_is_left_to_the_planner_and_graph_is_asked_nothing_more(
    graph: Graph, status: int, place: str, advice: str, seconds: float
) -> None:
    with pytest.raises(GraphThrottled) as throttled:
        read(graph, place, advice, status=status)
    assert throttled.value.retry_after == seconds
    assert graph.waits == []
    assert graph.asked()["/v1.0/users/delta"] == 1


@BOTH_STATUSES
@BOTH_PLACES
@pytest.mark.parametrize("date", [http_date, rfc850_date])
def test_a_date_beyond_the_limit_is_left_to_the_planner(graph: Graph, status: int, place: str, date: Any) -> None:
    with pytest.raises(GraphThrottled) as throttled:
        read(graph, place, date(600), status=status)
    assert 580 < throttled.value.retry_after <= 600
    assert graph.waits == []
    assert graph.asked()["/v1.0/users/delta"] == 1


@pytest.mark.parametrize(("advice", "seconds"), [(None, 60), ("5", 5), ("300", 300)])
def test_sharepoints_bandwidth_limit_is_a_wait_like_any_other(graph: Graph, advice: str | None, seconds: float) -> None:
    # The SDK does not know 509, so the planner has even the short wait.
    with pytest.raises(GraphThrottled) as throttled:
        read(graph, "first page", advice, status=509)
    assert throttled.value.retry_after == seconds
    assert "activityLimitReached" in throttled.value.message
    assert graph.asked()["/v1.0/users/delta"] == 1


@pytest.mark.parametrize("advice", [None, "120"])
def test_a_lock_is_a_refusal_and_not_tried_again(graph: Graph, advice: str | None) -> None:
    # An administrator has locked the site (423); time does not lift that.
    with pytest.raises(GraphRefused) as refused:
        read(graph, "first page", advice, status=423, code="resourceLocked")
    assert refused.value.code == "resourceLocked"
    assert graph.asked()["/v1.0/users/delta"] == 1


def test_a_gateway_that_gives_no_advice_is_no_throttling(graph: Graph) -> None:
    with pytest.raises(GraphUnavailable) as failed:
        read(graph, "first page", None, status=503)
    assert not isinstance(failed.value, GraphThrottled)


def test_a_wait_that_is_told_to_the_request_for_the_total_is_not_passed_over(graph: Graph) -> None:
    graph.fault(path=r"/\$count$", status=429, retryAfter=120)
    with pytest.raises(GraphThrottled) as throttled:
        graph.run(graph.client().count(USERS))
    assert throttled.value.retry_after == 120


# --- What pages cost ----------------------------------------------------------------------------------------------


def test_every_page_tells_what_graph_took_for_it(graph: Graph) -> None:
    client = graph.client(graph_page_size=5)
    assert [page.resource_units for page in graph.read(client, GROUPS)] == [1, 1, 1]
    sites = graph.read(client, SITES)
    assert {page.resource_units for page in sites} == {2}
    assert graph.run(client.next_page(SITES, sites[-1].delta_link or "")).resource_units == 1
    assert graph.run(client.first_deleted_page(USERS)).resource_units == 1


def test_pages_that_are_read_at_the_same_time_do_not_mix_up_what_they_cost(graph: Graph) -> None:
    client = graph.client()
    wanted = [USERS, SITES, GROUPS, SITES, TEAMS, SITES] * 4

    async def together() -> list[ReceivedPage]:
        return await asyncio.gather(*(client.first_page(part) for part in wanted))

    graph.fault(kind="latency", milliseconds=30, probability=0.5)
    found = [page.resource_units for page in graph.run(together())]
    assert found == [2 if part is SITES else 1 for part in wanted]


def test_a_page_that_had_to_be_asked_for_twice_tells_the_price_of_the_answer(graph: Graph) -> None:
    graph.fault(status=429, retryAfter=1, times=1)
    assert graph.run(graph.client().first_page(SITES)).resource_units == 2


@pytest.mark.parametrize("told", [None, "", "many", "-3", "1.5", "9" * 30])
def test_an_answer_that_tells_no_price_costs_nothing(graph: Graph, other: ScriptedServer, told: str | None) -> None:
    other.headers = {} if told is None else {"x-ms-resource-unit": told}
    assert graph.run(graph.client(other.url).first_page(USERS)).resource_units == 0


# --- Priority -----------------------------------------------------------------------------------------------------


async def ask_for_everything(client: GraphClient, part: Part, link: str, **chosen: bool) -> int:
    """Every request that a run makes for its listings; returns their number."""
    await client.count(part, **chosen)
    await client.first_page(part, **chosen)
    await client.next_page(part, link, **chosen)
    if part.deleted_items is None:
        return 2 if part.collection == "sites" else 3
    page = await client.first_deleted_page(part, **chosen)
    assert page.next_link is None
    root, _, _ = link.partition("/v1.0")
    deleted = f"{root}/v1.0/directory/deletedItems/microsoft.graph.{part.deleted_items}?$select=id"
    await client.next_deleted_page(part, deleted, **chosen)
    return 5


@EVERY_PART
def test_requests_say_that_they_may_wait_only_when_they_are_told_to(graph: Graph, part: Part) -> None:
    client = graph.client()
    link = graph.read(client, part)[-1].delta_link or ""
    graph.run(ask_for_everything(client, part, link))
    assert graph.control("/requests", method="GET")["throttlePriorities"] == {}
    number = graph.run(ask_for_everything(client, part, link, low_priority=True))
    assert graph.control("/requests", method="GET")["throttlePriorities"] == {"low": number}
