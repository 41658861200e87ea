"""A full listing that leaves out most memberships is not believed: they wait for approval like other deletions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import links
from tests.application import APPLICATION, NAME, Application, running_application

WITHOUT_MEMBERS = {
    "path": "/groups/delta",
    "kind": "rewrite",
    "find": r'"members@delta":\[[^\]]*\]',
    "replace": '"members@delta":[]',
}
LIVE_MEMBERS = (links.c.relation == "members", links.c.deleted_at.is_(None))


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Application]:
    options = Options(page_size=3, member_slice=10, replay_probability=0)
    with (
        TenantServer(Directory(users=60, groups=12, sites=4, seed=5), options) as tenant,
        running_application(monkeypatch, database_url, tenant, DELETION_THRESHOLD="20", GRAPH_PAGE_SIZE="3") as running,
    ):
        running.register()
        running.synchronize()
        yield running


def held(application: Application) -> list[dict[str, Any]]:
    answer = application.client.get(f"/organizations/{NAME}/heldDeletions", params={"$top": "999"})
    return answer.raise_for_status().json()["value"]


def restart(application: Application, scope: str) -> None:
    job = application.job()["id"]
    path = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs/{job}/restart"
    application.client.post(path, json={"criteria": {"resetScope": scope}}).raise_for_status()
    application.host.drain()


def test_too_many_absent_memberships_are_held_back_and_a_later_listing_that_names_them_releases_them(
    application: Application,
) -> None:
    application.control("POST", "/faults", [WITHOUT_MEMBERS])
    run = application.synchronize(type="Full", parts=["groupMembers"])

    assert run["error"]["code"] == "TooManyDeletes"
    assert application.job()["status"]["quarantine"]["reason"] == "TooManyDeletes"
    assert application.compare().differences == []
    assert {deletion["reason"] for deletion in held(application)} == {"absentLink"}

    application.control("DELETE", "/faults")
    restart(application, "Watermark, Escrows, QuarantineState")

    assert application.job()["status"]["quarantine"] is None
    assert held(application) == []
    assert application.compare().differences == []


def test_force_deletes_ends_exactly_the_memberships_that_wait(application: Application) -> None:
    application.control("POST", "/faults", [WITHOUT_MEMBERS])
    application.synchronize(type="Full", parts=["groupMembers"])
    application.control("DELETE", "/faults")
    waiting = {deletion["objectId"] for deletion in held(application)}
    # One of them is named again before anybody approves.
    group, member = next(iter(waiting)).split("/")[1:]
    application.control("POST", f"/groups/{group}/members", {"remove": [member]})
    application.control("POST", f"/groups/{group}/members", {"add": [member]})

    restart(application, "ForceDeletes")

    with application.services.database.read() as connection:
        live = {
            tuple(row) for row in connection.execute(select(links.c.source_id, links.c.target_id).where(*LIVE_MEMBERS))
        }
    ended = {name for name in waiting if tuple(name.split("/")[1:]) not in live}
    assert ended == waiting - {f"members/{group}/{member}"}
    assert held(application) == []
    restart(application, "Watermark")
    assert application.compare().differences == []


def test_a_few_absent_memberships_end_without_being_asked_about(application: Application) -> None:
    one_group = {**WITHOUT_MEMBERS, "times": 1}
    application.control("POST", "/faults", [one_group])

    run = application.synchronize(type="Full", parts=["groupMembers"])

    assert run["status"] == "Succeeded"
    assert held(application) == []
