"""Whatever a server answers in Graph's place: escrows or a clear error of the part, no crash and no lost page."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from sqlalchemy import select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import objects
from tests.application import NAME, Application, running_application
from tests.graph.servers import answering_server

Pages = Callable[[str, int], bytes]
"""The page of this number, with the root that links begin with."""


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(users=40, groups=6, sites=4, seed=5), Options(page_size=20)) as server:
        yield server


@contextmanager
def reading(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer, pages: Pages, **settings: str
) -> Iterator[Application]:
    """The product, with an organization whose users a server of the test's own lists page by page."""

    def answer(path: str) -> bytes:
        address = urlsplit(path)
        if not address.path.startswith("/v1.0/users/delta"):
            return b'{"value": []}'
        return pages(root, int(parse_qs(address.query).get("page", ["0"])[0]))

    with (
        answering_server(answer) as root,
        running_application(monkeypatch, database_url, tenant, GRAPH_URL=root, **settings) as application,
    ):
        application.register(parts=["users"])
        yield application


def page_of(values: Any, root: str, next_page: int | None = None) -> bytes:
    link = {"@odata.deltaLink": f"{root}/v1.0/users/delta?page=1000000"}
    if next_page is not None:
        link = {"@odata.nextLink": f"{root}/v1.0/users/delta?page={next_page}"}
    return orjson.dumps({"value": values, **link})


def user(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"user-{number}", "displayName": f"User {number}", **more}


def cached(application: Application) -> dict[str, Any]:
    with application.services.database.read() as connection:
        return {row.object_id: row.payload for row in connection.execute(select(objects))}


def get_on(application: Application, run: dict[str, Any], rounds: int = 8) -> dict[str, Any]:
    for _ in range(rounds):
        application.clock.forward(minutes=6)
        application.plan()
    return application.run(run["activityIdentifier"])


@pytest.mark.parametrize("slice_seconds", ["0.000001", "60"], ids=["a slice for each page", "one slice"])
def test_a_listing_that_goes_in_a_circle_is_a_clear_error_also_across_slices(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer, slice_seconds: str
) -> None:
    def pages(root: str, number: int) -> bytes:
        return page_of([user(number)], root, number + 1 if number < 4 else 2)

    with reading(monkeypatch, database_url, tenant, pages, SLICE_SECONDS=slice_seconds) as application:
        run = application.synchronize()
        assert (run["status"], run["error"]["code"]) == ("Failed", "RepeatedLink")
        assert cached(application).keys() == {f"user-{number}" for number in range(5)}


def test_a_long_chain_of_empty_pages_is_followed_to_its_end(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    def pages(root: str, number: int) -> bytes:
        return page_of([], root, number + 1) if number < 400 else page_of([user(1)], root)

    with reading(monkeypatch, database_url, tenant, pages) as application:
        assert application.synchronize()["status"] == "Succeeded"
        assert cached(application).keys() == {"user-1"}


def test_an_object_of_ten_megabytes_is_kept_with_the_others_of_its_page(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    def pages(root: str, number: int) -> bytes:
        return page_of([user(1), user(2, officeLocation="x" * 10_000_000), user(3)], root)

    with reading(monkeypatch, database_url, tenant, pages) as application:
        assert application.synchronize()["status"] == "Succeeded"
        found = cached(application)
        assert found.keys() == {"user-1", "user-2", "user-3"}
        assert len(found["user-2"]["officeLocation"]) == 10_000_000


ODD = [
    b"null",
    b"5",
    b"[]",
    b'{"id": null}',
    b'{"displayName": "nobody"}',
    b'{"id": "nul\\u0000id"}',
    b'{"id": "' + b"x" * 10_000 + b'"}',
    b'{"id": "odd-removed", "@removed": "deleted"}',
    b'{"id": "odd-reason", "@removed": {"reason": "moved"}}',
    b'{"id": "odd-depth", "displayName": ' + b"[" * 300 + b"]" * 300 + b"}",
]
KEPT = {
    "kept-nul": rb'{"id": "kept-nul", "displayName": "a\u0000b", "mail": "\u0000", "userPrincipalName": "\u0000"}',
    "kept-half": rb'{"id": "kept-half", "displayName": "\ud83d", "\udc00": 1}',
    "kept-case": b'{"id": "KEPT-case", "displayName": "A"}, {"id": "kept-CASE", "displayName": "B"}',
    "kept-keys": b'{"id": "other", "id": "kept-keys", "displayName": "A", "displayName": "B"}',
    "kept-types": b'{"id": "kept-types", "displayName": 5, "accountEnabled": "yes", "mail": {"a": []}}',
    "kept-dates": b'{"id": "kept-dates", "createdDateTime": "99999-99-99T99:99:99Z", "deletedDateTime": -1}',
    "kept-numbers": b'{"id": "kept-numbers", "displayName": NaN, "mail": -Infinity, "city": ' + b"9" * 400 + b"}",
    "kept-words": '{"id": "kept-words", "displayName": "\u202eאב\u0301😀\uffff\u2028"}'.encode(),
    "ключ-😀": '{"id": "Ключ-😀", "displayName": "A"}'.encode(),
}


def test_objects_of_every_sort_are_kept_or_put_aside_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    def pages(root: str, number: int) -> bytes:
        if number == 1_000_000:
            return page_of([user(2)], root)
        listed = b", ".join([*ODD, *KEPT.values(), orjson.dumps(user(1))])
        return b'{"value": [' + listed + b'], "@odata.deltaLink": "' + page_of([], root).partition(b'Link":"')[2]

    with reading(monkeypatch, database_url, tenant, pages) as application:
        assert application.synchronize()["status"] == "EntryLevelErrors"
        assert cached(application).keys() == {*KEPT, "user-1"}
        escrows = application.client.get(f"/organizations/{NAME}/escrows").raise_for_status().json()["value"]
        assert len(escrows) == len(ODD)
        assert application.synchronize()["status"] == "EntryLevelErrors"
        assert cached(application).keys() == {*KEPT, "user-1", "user-2"}


def test_a_page_without_a_link_ends_nothing_and_takes_nothing_away(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    ending = True

    def pages(root: str, number: int) -> bytes:
        if ending:
            return page_of([user(1), user(2)], root)
        return orjson.dumps({"value": [user(1)]})

    with reading(monkeypatch, database_url, tenant, pages) as application:
        application.synchronize()
        ending = False
        for kind in ("Full", "Incremental"):
            run = application.synchronize(type=kind)
            assert (run["status"], run["error"]["code"]) == ("Failed", "IncompleteListing")
        assert {name: bool(payload) for name, payload in cached(application).items()} == {
            "user-1": True,
            "user-2": True,
        }
        ending = True
        assert application.synchronize(type="Full")["status"] == "Succeeded"


@pytest.mark.parametrize(
    "link", ["", "/v1.0/users/delta?page=1", "\x00", "x" * 1_000_000], ids=["empty", "relative", "NUL", "1 MB"]
)
@pytest.mark.parametrize("name", ["nextLink", "deltaLink"])
def test_a_link_of_no_use_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer, name: str, link: str
) -> None:
    def pages(root: str, number: int) -> bytes:
        absolute = link if link.startswith("/") or not link else f"{root}/v1.0/users/delta?{link}"
        return orjson.dumps({"value": [user(1)], f"@odata.{name}": absolute})

    with reading(monkeypatch, database_url, tenant, pages) as application:
        run = get_on(application, application.synchronize())
        assert run["status"] == "Failed"
        assert run["error"]["code"] in ("MalformedAnswer", "ForeignLink", "IncompleteListing")


def test_an_answer_that_is_always_cut_off_fails_its_part_alone_and_later_runs_catch_up(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    with running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20") as application:
        application.register()
        application.control("POST", "/faults", [{"path": "/users/delta", "kind": "malformed", "after": 1}])
        run = get_on(application, application.synchronize())
        assert {part["part"] for part in run["parts"] if part["status"] != "Succeeded"} == {"users"}
        assert run["error"]["code"] == "MalformedAnswer"
        application.control("DELETE", "/faults")
        get_on(application, run)
        assert application.synchronize()["status"] == "Succeeded"
        assert application.compare().differences == []


def test_an_object_whose_links_never_end_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    endless = itertools.count()

    def answer(path: str) -> bytes:
        address = urlsplit(path).path
        if address.startswith("/v1.0/groups/delta"):
            return page_of([{"id": "whole", "displayName": "Whole"}, {"id": "odd", "@removed": 5}], root)
        if address.startswith("/v1.0/users/delta"):
            # The deltaLink of the page above.
            return page_of([], root)
        if address.endswith("/owners"):
            link = f"{root}{address}?page={next(endless)}"
            return orjson.dumps({"value": [{"id": "user-1"}], "@odata.nextLink": link})
        return b'{"id": "odd", "displayName": "Odd"}' if address == "/v1.0/groups/odd" else b'{"value": []}'

    with (
        answering_server(answer) as root,
        running_application(
            monkeypatch, database_url, tenant, GRAPH_URL=root, GRAPH_TIMEOUT_SECONDS="1"
        ) as application,
    ):
        application.register(parts=["groups"])
        assert application.synchronize()["status"] == "EntryLevelErrors"
        application.clock.forward(minutes=31)
        run = application.synchronize()
        assert (run["status"], run["counts"]["countEscrowed"]) == ("EntryLevelErrors", 1)
        assert cached(application).keys() == {"whole"}
        assert next(endless) > 0
