"""Sites, with a delta query and without, under whole ids and half ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import objects, parts
from tests.application import Application, running_application

WITHOUT_DELTA = {"path": "/sites/delta", "status": 400, "code": "invalidRequest"}


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    # A list of all sites has 100 on a page.
    directory = Directory(users=10, groups=4, sites=150, seed=7)
    with TenantServer(directory, Options(page_size=50, replay_probability=0, empty_page_probability=0)) as server:
        yield server


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant) as running:
        running.register(parts=["sites"])
        yield running


def without_delta(application: Application) -> None:
    application.control("POST", "/faults", [WITHOUT_DELTA])


def of_sites(run: dict[str, Any]) -> tuple[str, str]:
    (part,) = run["parts"]
    return part["type"], part["status"]


def differences(application: Application) -> list[str]:
    return [told for told in application.compare().differences if told.startswith("sites")]


def cached(application: Application) -> dict[str, Any]:
    with application.services.database.read() as connection:
        rows = connection.execute(select(objects).where(objects.c.part == "sites", objects.c.deleted_at.is_(None)))
        return {row.object_id: row for row in rows}


def test_without_a_delta_query_all_sites_are_listed_every_time(application: Application) -> None:
    without_delta(application)
    assert of_sites(application.synchronize()) == ("Full", "Succeeded")
    assert differences(application) == []
    assert {row.kind for row in cached(application).values()} == {"Site", "Personal"}

    gone, renamed, *_ = (row.payload["id"] for row in cached(application).values())
    application.control("DELETE", f"/sites/{gone}")
    application.control("PATCH", f"/sites/{renamed}", {"displayName": "Renamed"})
    application.control("POST", "/sites", {"displayName": "New"})
    assert of_sites(application.synchronize()) == ("Full", "Succeeded")
    assert differences(application) == []
    assert len(cached(application)) == 225


def test_a_delta_query_is_used_as_soon_as_it_is_offered_and_given_up_when_it_is_not(application: Application) -> None:
    without_delta(application)
    application.synchronize()
    application.control("DELETE", "/faults")
    assert of_sites(application.synchronize()) == ("Full", "Succeeded")
    assert of_sites(application.synchronize()) == ("Incremental", "Succeeded")
    assert differences(application) == []

    without_delta(application)
    # A cursor that is refused, in whatever words, is of no more use.
    assert of_sites(application.synchronize()) == ("Full", "Succeeded")
    assert differences(application) == []


def test_a_list_of_all_sites_is_read_over_many_slices(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    with running_application(monkeypatch, database_url, tenant, SLICE_SECONDS="0.000001") as application:
        application.register(parts=["sites"])
        without_delta(application)
        assert of_sites(application.synchronize()) == ("Full", "Succeeded")
        asked = application.control("GET", "/requests")["paths"]
        # Each slice reads ahead of its page; only the first of them asks whether there is a delta query.
        assert asked["/v1.0/sites/delta"] == 1
        assert asked["/v1.0/sites/getAllSites"] >= 3
        assert differences(application) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_permission_is_no_reason_to_list_all_sites(application: Application, status: int) -> None:
    application.control("POST", "/faults", [{"path": "/sites/delta", "status": status}])
    run = application.synchronize()
    assert of_sites(run) == ("Full", "Failed")
    assert ("Sites.Read.All" in run["error"]["message"]) == (status == 403)
    assert "/v1.0/sites/getAllSites" not in application.control("GET", "/requests")["paths"]


@pytest.mark.parametrize(
    "fault", [{}, {"path": "/sites/delta", "status": 404}, {"path": "/sites/delta", "status": 501}]
)
def test_sites_have_their_whole_id_however_graph_names_them(
    application: Application, tenant: TenantServer, fault: dict[str, Any]
) -> None:
    tenant.tenant.options.bare_site_ids = True
    if fault:
        application.control("POST", "/faults", [fault])
    application.synchronize()
    site_id = next(iter(cached(application).values())).payload["id"]
    application.control("PATCH", f"/sites/{site_id}", {"displayName": "Renamed"})
    application.synchronize()
    application.synchronize(type="Full")
    assert all(row.payload["id"].count(",") == 2 for row in cached(application).values())
    assert differences(application) == []


def test_the_place_of_a_cursor_is_kept_where_there_is_none(application: Application) -> None:
    without_delta(application)
    application.synchronize()
    with application.services.database.read() as connection:
        row = connection.execute(select(parts).where(parts.c.part == "sites")).one()
    assert (row.delta_link, row.full_run_required) == ("withoutDelta", False)
