"""Mailboxes and channels: asked for object by object, in batches, and only where something may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import objects
from shared.models.parts import CATALOGUE, PartName
from tests.application import APPLICATION, NAME, Application, running_application

CALM = Options(page_size=50, replay_probability=0, empty_page_probability=0)
PURPOSE, CHANNELS = "/v1.0/users/{id}/mailboxSettings/userPurpose", "/v1.0/teams/{id}/channels"
BATCH = "/v1.0/$batch"
JOBS = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(users=90, groups=30, sites=4, seed=11), CALM) as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for between batches, none of them really."""
    waited: list[float] = []

    async def at_once(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("shared.graph.batches.asyncio", SimpleNamespace(sleep=at_once))
    return waited


@pytest.fixture
def application(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer, waits: list[float]
) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant) as running:
        running.register(parts=["users", "mailboxes", "teams", "channels"])
        yield running


def part(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in run["parts"] if part["part"] == name)


def asked(application: Application) -> dict[str, int]:
    """How often what was asked for since the last time."""
    paths = application.control("GET", "/requests")["paths"]
    application.control("DELETE", "/requests")
    return paths


def cached(application: Application, name: str) -> dict[str, Any]:
    """The live rows of a part."""
    with application.services.database.read() as connection:
        rows = connection.execute(
            select(objects).where(
                objects.c.part == name, objects.c.deleted_at.is_(None), objects.c.soft_deleted_at.is_(None)
            )
        )
        return {row.object_id: row for row in rows}


def fault(application: Application, **rule: Any) -> None:
    application.control("POST", "/faults", [rule])


def mailbox_of(application: Application, purpose: str = "user") -> str:
    return next(key for key, row in cached(application, "mailboxes").items() if row.kind == purpose)


def team_of(application: Application) -> str:
    """A team with several channels."""
    teams = [key.partition("/")[0] for key in cached(application, "channels")]
    return next(team for team in teams if teams.count(team) > 1)


def names_of(application: Application, team: str) -> set[str]:
    return {row.payload["displayName"] for key, row in cached(application, "channels").items() if key.startswith(team)}


# --- What is read -------------------------------------------------------------------------------------------------


def test_mailboxes_have_their_purpose_and_channels_their_team(application: Application) -> None:
    run = application.synchronize()
    assert run["status"] == "Succeeded"
    assert application.compare().differences == []
    mailboxes, channels = cached(application, "mailboxes"), cached(application, "channels")
    assert {row.kind for row in mailboxes.values()} == {"user", "equipment"}
    assert {row.kind for row in channels.values()} == {"standard", "private"}
    assert all(key == f"{row.payload['teamId']}/{row.payload['id']}".lower() for key, row in channels.items())
    guests = [row for row in cached(application, "users").values() if row.kind == "Guest"]
    assert guests
    assert asked(application)[PURPOSE] == 90 - len(guests)
    counts = {pair["key"]: pair["value"] for pair in application.job()["status"]["synchronizedEntryCountByType"]}
    assert counts["Mailbox to Mailbox"] == len(mailboxes)
    assert counts["Channel to Channel"] == len(channels)


def test_nobody_is_asked_about_twice_when_nothing_changed(application: Application) -> None:
    application.synchronize()
    asked(application)
    run = application.synchronize()
    assert (part(run, "mailboxes")["type"], part(run, "channels")["type"]) == ("Incremental", "Incremental")
    assert BATCH not in asked(application)


def test_who_is_new_or_changed_is_asked_about_and_nobody_else(application: Application) -> None:
    application.synchronize()
    user = mailbox_of(application)
    application.control("PATCH", f"/users/{user}", {"displayName": "Renamed"})
    application.control("POST", f"/users/{user}/userPurpose", {"value": "shared"})
    created = application.control("POST", "/users", {"displayName": "New", "mail": "new@contoso.com"})
    application.control("POST", f"/users/{created['id']}/userPurpose", {"value": "room"})
    asked(application)

    assert application.synchronize()["status"] == "Succeeded"

    paths = asked(application)
    assert (paths[BATCH], paths[PURPOSE]) == (1, 2)
    rows = cached(application, "mailboxes")
    assert (rows[user].kind, rows[user].display_name, rows[created["id"]].kind) == ("shared", "Renamed", "room")
    assert application.compare().differences == []


def test_a_purpose_that_changes_without_its_user_is_seen_by_a_full_run(application: Application) -> None:
    application.synchronize()
    user = mailbox_of(application)
    application.control("POST", f"/users/{user}/userPurpose", {"value": "equipment"})
    application.synchronize()
    assert cached(application, "mailboxes")[user].kind == "user"
    application.synchronize(type="Full", parts=["mailboxes"])
    assert cached(application, "mailboxes")[user].kind == "equipment"


@pytest.mark.parametrize("run_type", ["Incremental", "Full"])
def test_a_user_who_loses_the_mailbox_or_goes_has_none(application: Application, run_type: str) -> None:
    application.synchronize()
    without, soft, hard, unmailed, *_ = cached(application, "mailboxes")
    application.control("PATCH", f"/users/{without}", {"jobTitle": "Former"})
    application.control("POST", f"/users/{without}/userPurpose", {"value": ""})
    application.control("DELETE", f"/users/{soft}")
    application.control("DELETE", f"/users/{hard}?permanent=true")
    application.control("PATCH", f"/users/{unmailed}", {"mail": None, "proxyAddresses": []})
    application.control("POST", f"/users/{unmailed}/userPurpose", {"value": ""})

    assert application.synchronize(type=run_type)["status"] == "Succeeded"
    assert not {without, soft, hard, unmailed} & cached(application, "mailboxes").keys()
    assert application.compare().differences == []

    application.control("POST", f"/users/{soft}/restore")
    assert application.synchronize()["status"] == "Succeeded"
    assert soft in cached(application, "mailboxes")
    assert application.compare().differences == []


@pytest.mark.parametrize("run_type", ["Incremental", "Full"])
def test_a_teams_channels_come_are_renamed_and_go(application: Application, run_type: str) -> None:
    application.synchronize()
    team = team_of(application)
    first, second, *_ = sorted(names_of(application, team))
    change = {"add": ["New"], "remove": [first], "rename": {second: "Renamed"}}
    application.control("POST", f"/groups/{team}/channels", change)
    application.control("PATCH", f"/groups/{team}", {"description": "Changed"})

    assert application.synchronize(type=run_type)["status"] == "Succeeded"
    assert {"New", "Renamed"} <= names_of(application, team)
    assert not {first, second} & names_of(application, team)
    assert application.compare().differences == []


@pytest.mark.parametrize("run_type", ["Incremental", "Full"])
def test_a_team_that_is_gone_takes_its_channels_along(application: Application, run_type: str) -> None:
    application.synchronize()
    team = team_of(application)
    application.control("DELETE", f"/groups/{team}?permanent=true")
    assert application.synchronize(type=run_type)["status"] == "Succeeded"
    assert names_of(application, team) == set()
    assert application.compare().differences == []


def test_channels_that_nothing_tells_of_are_found_when_the_last_listing_is_a_day_old(application: Application) -> None:
    application.synchronize()
    team = team_of(application)
    application.control("POST", f"/groups/{team}/channels", {"add": ["Untold"]})
    application.clock.forward(hours=23)
    assert part(application.synchronize(), "channels")["type"] == "Incremental"
    assert "Untold" not in names_of(application, team)
    application.clock.forward(hours=1)
    run = application.synchronize()
    assert (part(run, "channels")["type"], part(run, "mailboxes")["type"]) == ("Full", "Incremental")
    assert "Untold" in names_of(application, team)
    assert part(application.synchronize(), "channels")["type"] == "Incremental"


def test_long_lists_of_channels_are_read_to_their_end(application: Application, tenant: TenantServer) -> None:
    tenant.tenant.options.page_size = 2
    application.synchronize()
    assert application.compare().differences == []
    paths = asked(application)
    assert paths[CHANNELS] > len(cached(application, "teams"))


# --- The order within a run ---------------------------------------------------------------------------------------


def test_short_slices_end_in_the_same_cache_and_ask_nobody_twice(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    with running_application(monkeypatch, database_url, tenant, SLICE_SECONDS="0.000001") as application:
        application.register()
        assert application.synchronize()["status"] == "Succeeded"
        assert application.compare().differences == []
        application.control("POST", "/mutate", {"count": 40, "seed": 3})
        assert application.synchronize()["status"] == "Succeeded"
        assert application.compare().differences == []
        asked(application)
        assert application.synchronize()["status"] == "Succeeded"
        assert BATCH not in asked(application)


def test_a_part_whose_source_waits_begins_when_that_is_over(application: Application) -> None:
    fault(application, path="/users/delta", status=500, times=1)
    run = application.synchronize()
    assert {part["part"]: part["status"] for part in run["parts"]} == {
        "users": "Running", "mailboxes": "Queued", "teams": "Succeeded", "channels": "Succeeded",
    }  # fmt: skip
    application.clock.forward(seconds=10)
    # The planner finds nothing to send, and what is sent all the same does not begin.
    application.plan()
    assert part(application.run(run["activityIdentifier"]), "mailboxes")["status"] == "Queued"
    application.clock.forward(seconds=600)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert application.compare().differences == []


def test_a_failed_source_leaves_what_the_cache_has_to_go_by(application: Application) -> None:
    application.synchronize()
    there = cached(application, "mailboxes").keys()
    fault(application, path="/users/delta", status=400)
    user = mailbox_of(application)
    application.control("POST", f"/users/{user}/userPurpose", {"value": "shared"})
    run = application.synchronize(type="Full", parts=["users", "mailboxes"])
    assert (part(run, "users")["status"], part(run, "mailboxes")["status"]) == ("Failed", "Succeeded")
    assert cached(application, "mailboxes").keys() == there
    assert cached(application, "mailboxes")[user].kind == "shared"


def test_a_part_can_be_read_without_its_source(application: Application) -> None:
    application.synchronize()
    run = application.synchronize(type="Full", parts=["channels"])
    assert [(part["part"], part["type"], part["status"]) for part in run["parts"]] == [
        ("channels", "Full", "Succeeded")
    ]
    assert application.compare().differences == []


# --- Trouble ------------------------------------------------------------------------------------------------------


def test_a_short_wait_inside_a_batch_is_obeyed_and_only_who_was_refused_is_asked_again(
    application: Application, waits: list[float]
) -> None:
    fault(application, path="/mailboxSettings/userPurpose", status=429, retryAfter=7, times=3)
    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []
    guests = sum(row.kind == "Guest" for row in cached(application, "users").values())
    assert asked(application)[PURPOSE] == 90 - guests + 3
    assert waits == [7]


def test_a_long_wait_inside_a_batch_ends_the_slice_which_goes_on_when_it_is_over(
    application: Application, waits: list[float]
) -> None:
    fault(application, path="/mailboxSettings/userPurpose", status=429, retryAfter=90, times=1, after=30)
    run = application.synchronize()
    assert (part(run, "mailboxes")["status"], part(run, "channels")["status"]) == ("Running", "Succeeded")
    assert part(run, "mailboxes")["error"]["code"] == "TooManyRequests"
    application.clock.forward(seconds=80)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Running"
    application.clock.forward(seconds=10)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert application.compare().differences == []
    assert waits == []


@pytest.mark.parametrize(("status", "code"), [(500, None), (400, "ErrorInternalServerError"), (403, None)])
def test_one_broken_mailbox_stops_nobody_and_heals(application: Application, status: int, code: str | None) -> None:
    application.synchronize()
    user, other, *_ = cached(application, "mailboxes")
    for one in (user, other):
        application.control("PATCH", f"/users/{one}", {"displayName": f"Renamed {one}"})
    fault(application, path=f"/users/{user}/mailboxSettings", status=status, code=code)
    for run_type in ("Incremental", "Full"):
        run = application.synchronize(type=run_type, parts=["users", "mailboxes"])
        assert (part(run, "mailboxes")["status"], run["counts"]["countEscrowed"]) == ("EntryLevelErrors", 1)
        rows = cached(application, "mailboxes")
        assert (rows[user].display_name != f"Renamed {user}", rows[other].display_name) == (True, f"Renamed {other}")
    (escrow,) = application.client.get(f"/organizations/{NAME}/escrows").json()["value"]
    assert (escrow["part"], escrow["objectId"]) == ("mailboxes", user)

    application.control("DELETE", "/faults")
    application.clock.forward(hours=2)
    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []
    assert application.client.get(f"/organizations/{NAME}/escrows").json()["value"] == []


def test_a_team_that_cannot_be_asked_about_keeps_its_channels(application: Application) -> None:
    application.synchronize()
    team = team_of(application)
    before = names_of(application, team)
    fault(application, path=f"/teams/{team}/channels", status=403, code="Forbidden")
    run = application.synchronize(type="Full")
    assert part(run, "channels")["status"] == "EntryLevelErrors"
    assert names_of(application, team) == before
    application.control("DELETE", "/faults")
    application.control("POST", f"/groups/{team}/channels", {"add": ["New"]})
    application.clock.forward(hours=1)
    assert application.synchronize()["status"] == "Succeeded"
    assert names_of(application, team) == {*before, "New"}


def test_the_only_changed_mailbox_that_is_refused_is_no_missing_permission(application: Application) -> None:
    application.synchronize()
    user = mailbox_of(application)
    application.control("PATCH", f"/users/{user}", {"displayName": "Renamed"})
    fault(application, path=f"/users/{user}/mailboxSettings", status=403, code="ErrorAccessDenied")
    assert part(application.synchronize(), "mailboxes")["status"] == "EntryLevelErrors"


def test_mailboxes_that_exchange_does_not_know_are_none(application: Application) -> None:
    application.synchronize()
    user = mailbox_of(application)
    application.control("PATCH", f"/users/{user}", {"displayName": "Renamed"})
    fault(application, path=f"/users/{user}/mailboxSettings", status=403, code="MailboxNotHostedInExchangeOnline")
    assert application.synchronize()["status"] == "Succeeded"
    assert user not in cached(application, "mailboxes")


def test_many_mailboxes_that_vanish_without_their_users_are_held_back(application: Application) -> None:
    application.synchronize()
    there = cached(application, "mailboxes").keys()
    fault(application, path="/mailboxSettings/userPurpose", status=404)
    application.synchronize(type="Full", parts=["mailboxes"])
    assert cached(application, "mailboxes").keys() == there
    assert application.job()["status"]["code"] == "Quarantine"


def test_mailboxes_that_go_with_their_users_need_no_approval_of_their_own(application: Application) -> None:
    application.synchronize()
    there = cached(application, "mailboxes")
    for user in list(there)[:60]:
        application.control("DELETE", f"/users/{user}?permanent=true")
    application.synchronize()
    assert (len(cached(application, "users")), len(cached(application, "mailboxes"))) == (90, len(there))

    restart = {"criteria": {"resetScope": "ForceDeletes"}}
    application.client.post(f"{JOBS}/{application.job()['id']}/restart", json=restart).raise_for_status()
    application.host.drain()
    assert (len(cached(application, "users")), len(cached(application, "mailboxes"))) == (30, len(there) - 60)
    assert application.job()["status"]["code"] == "Active"
    assert application.compare().differences == []


REFUSALS = {
    "users": "/users/delta",
    "sites": "/sites/delta",
    "mailboxes": "/mailboxSettings/userPurpose",
    "channels": "/teams/[^/]+/channels",
}
"""Groups, their members and teams are read from the same delta query, which faults cannot tell apart."""


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("when", ["the first time", "later"])
def test_a_part_whose_permission_is_missing_fails_alone_and_says_which(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer, name: str, when: str
) -> None:
    with running_application(monkeypatch, database_url, tenant) as application:
        application.register()
        if when == "later":
            application.synchronize()
            application.control("POST", "/mutate", {"count": 60, "seed": 8})
        fault(application, path=REFUSALS[name], status=403)
        run = application.synchronize()
        assert {part["part"]: part["status"] for part in run["parts"]} == {
            other: "Failed" if other == name else "Succeeded" for other in CATALOGUE
        }
        assert CATALOGUE[PartName(name)].permission in part(run, name)["error"]["message"]
        # Whoever depends on the users goes by what was known of them.
        affected = (name, "mailboxes") if name == "users" else (name,)
        assert [one for one in application.compare().differences if not one.startswith(affected)] == []


@pytest.mark.parametrize("name", ["mailboxes", "channels"])
def test_a_missing_permission_is_named_by_the_validation_of_credentials(application: Application, name: str) -> None:
    validate = f"{JOBS}/{application.job()['id']}/validateCredentials"
    assert application.client.post(validate).status_code == 204
    fault(application, path=REFUSALS[name], status=403)
    error = application.client.post(validate).json()["error"]
    assert [detail["target"] for detail in error["details"]] == [name]
    assert CATALOGUE[PartName(name)].permission in error["message"]
