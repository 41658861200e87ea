"""What the cache has lost, or has too much, is found at night by Graph's counts, confirmed, and healed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from local.tenant import Directory, Options, TenantServer
from shared.cache import tables as t
from tests.application import APPLICATION, NAME, Application, running_application

PARTS = ("users", "groups", "groupMembers", "sites", "teams")
COUNTED = ("users", "groups", "groupMembers", "teams")
Start = Callable[..., AbstractContextManager[Application]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Start:
    """Starts the product with these app settings, and synchronizes the organization for the first time."""

    @contextmanager
    def started(**settings: str) -> Iterator[Application]:
        calm = Options(page_size=20, replay_probability=0, empty_page_probability=0)
        with (
            TenantServer(Directory(users=40, groups=12, sites=4, seed=5), calm) as tenant,
            running_application(monkeypatch, database_url, tenant, **settings) as application,
        ):
            application.register(parts=PARTS)
            assert application.synchronize()["status"] == "Succeeded"
            assert application.compare().differences == []
            yield application

    return started


@pytest.fixture
def application(start: Start) -> Iterator[Application]:
    with start() as running:
        yield running


def night(application: Application) -> None:
    """The nightly timer fires."""
    application.host.fire_timer("check_parity")
    application.host.drain()


def an_hour_later(application: Application, *, runs_first: bool = True) -> None:
    """The planner finds that it is time for the second look; unless told otherwise, after the hour's usual runs."""
    if runs_first:
        application.clock.forward(minutes=59)
        application.plan()
        application.clock.forward(minutes=1)
    else:
        application.clock.forward(minutes=60)
    application.plan()


def parity(application: Application, part: str) -> tuple[int, int, int] | None:
    """Expected, cached and drift, as they are published."""
    found = application.sync_state()["parts"][part]["parity"]
    if found is None:
        return None
    assert list(found) == ["checkedDateTime", "expected", "cached", "drift"]
    return found["expected"], found["cached"], found["drift"]


def drifts(application: Application) -> dict[str, int | None]:
    return {part: found and found[2] for part in PARTS for found in [parity(application, part)]}


def last_types(application: Application) -> dict[str, str]:
    return {
        name: part["lastState"]["type"] for name, part in application.sync_state()["parts"].items() if part is not None
    }


def change(application: Application, *statements: Any) -> None:
    """Does to the cache what no run does."""
    with application.services.database.write() as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount


def lose_object(application: Application, part: str) -> None:
    table = t.objects
    with application.services.database.read() as connection:
        mine = select(func.min(table.c.object_id)).where(table.c.part == part, table.c.soft_deleted_at.is_(None))
        lost = connection.execute(mine).scalar_one()
    change(application, delete(table).where(table.c.part == part, table.c.object_id == lost))


def invent_object(application: Application, part: str) -> None:
    with application.services.database.read() as connection:
        like = connection.execute(select(t.objects).where(t.objects.c.part == part).limit(1)).one()
    ghost = {**like._mapping, "object_id": "ghost", "payload": b'{"id":"ghost"}', "generation": 0}
    change(application, insert(t.objects).values(**ghost))


def lose_link(application: Application, group: str | None = None) -> None:
    links = t.links
    members = select(links).where(links.c.relation == "members", links.c.deleted_at.is_(None))
    with application.services.database.read() as connection:
        of_group = members if group is None else members.where(links.c.source_id == group)
        lost = connection.execute(of_group.limit(1)).one()
    change(
        application,
        delete(links).where(
            links.c.relation == "members", links.c.source_id == lost.source_id, links.c.target_id == lost.target_id
        ),
    )


def lose_links_of_half_the_groups(application: Application) -> None:
    with application.services.database.read() as connection:
        sources = select(t.links.c.source_id).where(t.links.c.relation == "members", t.links.c.deleted_at.is_(None))
        groups = sorted(connection.execute(sources.distinct()).scalars())
    for group in groups[::2]:
        lose_link(application, group)


def act(application: Application, action: str) -> None:
    jobs = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
    application.client.post(f"{jobs}/{application.job()['id']}/{action}").raise_for_status()
    application.host.drain()


def delta_requests(application: Application) -> int:
    paths = application.control("GET", "/requests")["paths"]
    application.control("DELETE", "/requests")
    return sum(number for path, number in paths.items() if path.endswith("/delta"))


# --- Nothing differs ------------------------------------------------------------------------------------------------


def test_a_night_on_which_nothing_differs_publishes_the_numbers_and_reads_nothing(application: Application) -> None:
    # Links to a soft-deleted member stay, while Graph's counts leave it out.
    member = application.control("POST", "/users", {"displayName": "Zoë"})["id"]
    application.control("POST", "/groups", {"displayName": "Hers", "members": [member]})
    application.control("DELETE", f"/users/{member}")
    application.synchronize()
    assert drifts(application) == dict.fromkeys(PARTS)
    delta_requests(application)
    night(application)
    assert delta_requests(application) == 0
    assert drifts(application) == {**dict.fromkeys(COUNTED, 0), "sites": None}
    assert parity(application, "users") == (40, 40, 0)
    assert parity(application, "groups") == (13, 13, 0)


def test_before_the_first_cycle_has_ended_nothing_is_compared(application: Application) -> None:
    application.client.delete(f"/organizations/{NAME}").raise_for_status()
    application.register(parts=PARTS)
    night(application)
    assert drifts(application) == dict.fromkeys(PARTS)


# --- What differs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["users", "groups", "teams"])
@pytest.mark.parametrize(("harm", "drift"), [(lose_object, -1), (invent_object, 1)])
def test_an_object_that_is_missing_or_too_many_is_found_confirmed_and_healed_by_a_full_run_of_its_part_alone(
    application: Application, part: str, harm: Callable[[Application, str], None], drift: int
) -> None:
    application.synchronize()
    harm(application, part)
    night(application)
    assert drifts(application)[part] == drift
    assert set(last_types(application).values()) == {"Incremental"}

    an_hour_later(application)
    types = last_types(application)
    assert types.pop(part) == "Full"
    assert set(types.values()) == {"Incremental"}
    assert application.compare().differences == []
    night(application)
    assert drifts(application)[part] == 0


def test_a_lost_membership_is_found_by_the_sample_and_healed(application: Application) -> None:
    application.synchronize()
    lose_link(application)
    night(application)
    assert drifts(application)["groupMembers"] == -1
    an_hour_later(application)
    types = last_types(application)
    assert types.pop("groupMembers") == "Full"
    assert set(types.values()) == {"Incremental"}
    assert application.compare().differences == []
    night(application)
    assert drifts(application)["groupMembers"] == 0


def test_the_second_look_counts_the_same_groups_as_the_first(start: Start) -> None:
    with start(PARITY_SAMPLE="1") as application:
        for _ in range(3):
            application.synchronize()
            lose_links_of_half_the_groups(application)
            night(application)
            while not drifts(application)["groupMembers"]:
                night(application)
            an_hour_later(application)
            assert last_types(application)["groupMembers"] == "Full"
            assert application.compare().differences == []


def test_changes_that_were_not_read_yet_cause_no_full_run(application: Application) -> None:
    application.synchronize()
    group = application.control("POST", "/groups", {"displayName": "New"})["id"]
    user = application.control("POST", "/users", {"displayName": "New"})["id"]
    application.control("POST", f"/groups/{group}/members", {"add": [user]})
    night(application)
    assert (drifts(application)["users"], drifts(application)["groups"]) == (-1, -1)
    an_hour_later(application)
    assert set(last_types(application).values()) == {"Incremental"}
    assert (drifts(application)["users"], drifts(application)["groups"]) == (0, 0)
    assert application.compare().differences == []


def test_a_wrong_number_of_entries_is_set_right_without_reading_anything(application: Application) -> None:
    change(application, update(t.parts).where(t.parts.c.part == "users").values(entry_count=7))
    delta_requests(application)
    night(application)
    assert delta_requests(application) == 0
    counts = {pair["key"]: pair["value"] for pair in application.job()["status"]["synchronizedEntryCountByType"]}
    assert counts["User to User"] == 40


def test_a_drift_that_no_full_run_heals_causes_one_a_night(application: Application) -> None:
    rule = {"path": r"/users/\$count", "kind": "rewrite", "find": "40", "replace": "39"}
    application.control("POST", "/faults", [rule])
    for _ in range(2):
        night(application)
        runs = set[str]()
        for _ in range(6):
            an_hour_later(application)
            if last_types(application)["users"] == "Full":
                with application.services.database.read() as connection:
                    runs.add(
                        connection.execute(select(t.parts.c.last_run).where(t.parts.c.part == "users")).scalar_one()
                    )
        assert len(runs) == 1
        assert drifts(application)["users"] == 1


def test_a_drift_is_told_in_the_log_without_personal_data(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    lose_object(application, "users")
    with caplog.at_level(logging.WARNING, "shared.sync.parity_checks"):
        night(application)
    (told,) = caplog.messages
    assert "users" in told
    assert "drift -1" in told


# --- What is left alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 500}, {"status": 429, "retryAfter": 300}])
def test_what_graph_does_not_count_is_left_as_it_is(application: Application, fault: dict[str, Any]) -> None:
    lose_object(application, "users")
    application.control("POST", "/faults", [{"path": r"/(users|members)/\$count", **fault}])
    delta_requests(application)
    night(application)
    an_hour_later(application, runs_first=False)
    # A wait that Graph asks for holds for all that the same services count.
    counted = None if fault["status"] == 429 else 0
    expected = {"users": None, "groups": counted, "groupMembers": None, "sites": None, "teams": counted}
    assert drifts(application) == expected
    application.control("DELETE", "/faults")
    night(application)
    assert drifts(application)["users"] == -1


def test_a_second_look_that_graph_refuses_heals_nothing_and_is_not_repeated(application: Application) -> None:
    application.synchronize()
    lose_object(application, "users")
    night(application)
    application.control("POST", "/faults", [{"path": r"/users/\$count", "status": 403}])
    an_hour_later(application)
    assert last_types(application)["users"] == "Incremental"
    application.control("DELETE", "/requests")
    application.clock.forward(minutes=30)
    application.plan()
    assert r"/v1.0/users/$count" not in application.control("GET", "/requests")["paths"]
    application.control("DELETE", "/faults")


def test_a_group_that_graph_does_not_have_any_more_is_left_out_of_the_sample(application: Application) -> None:
    gone = application.control("POST", "/groups", {"displayName": "Gone soon"})["id"]
    application.synchronize()
    application.control("DELETE", f"/groups/{gone}?permanent=true")
    night(application)
    assert drifts(application)["groupMembers"] == 0
    assert drifts(application)["groups"] == 1


def test_a_paused_job_is_not_compared_and_its_second_look_waits(application: Application) -> None:
    application.synchronize()
    lose_object(application, "users")
    night(application)
    act(application, "pause")
    checked = application.sync_state()["parts"]["users"]["parity"]
    an_hour_later(application)
    night(application)
    assert application.sync_state()["parts"]["users"]["parity"] == checked
    assert last_types(application)["users"] == "Incremental"
    act(application, "start")
    application.plan()
    assert last_types(application)["users"] == "Full"
    assert application.compare().differences == []


def test_an_object_that_waits_as_an_escrow_is_published_as_drift_and_not_healed(application: Application) -> None:
    new = application.control("POST", "/users", {"displayName": "New"})["id"]
    rule = {
        "path": "/users/delta",
        "kind": "rewrite",
        "find": rf'\{{"id":"{new}"',
        "replace": f'{{"@removed":5,"id":"{new}"',
    }
    application.control("POST", "/faults", [rule, {"path": f"/users/{new}$", "status": 500}])
    assert application.synchronize()["status"] == "EntryLevelErrors"
    night(application)
    assert drifts(application)["users"] == -1
    an_hour_later(application)
    assert last_types(application)["users"] == "Incremental"


def test_members_of_users_that_are_not_synchronized_are_published_and_not_healed(application: Application) -> None:
    application.client.delete(f"/organizations/{NAME}").raise_for_status()
    application.register(parts=["groups", "groupMembers"])
    member = application.control("POST", "/users", {"displayName": "Zoë"})["id"]
    application.control("POST", "/groups", {"displayName": "Hers", "members": [member]})
    application.synchronize()
    application.control("DELETE", f"/users/{member}")
    application.synchronize()
    night(application)
    found = application.sync_state()["parts"]["groupMembers"]["parity"]
    assert found["drift"] == 1
    an_hour_later(application)
    assert application.sync_state()["parts"]["groupMembers"]["lastState"]["type"] == "Incremental"
