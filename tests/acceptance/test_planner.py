"""The planner in the host: each organization that something is due of gets a message of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from local.tenant import TenantServer
from local.tenant.directory import Directory
from shared.cache.tables import organizations
from tests.api.support import another_organization, serve_every_organization_by_one_tenant
from tests.application import Application, running_application


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Application]:
    serve_every_organization_by_one_tenant(monkeypatch)
    with (
        TenantServer(Directory(users=5, groups=2, sites=4)) as tenant,
        running_application(monkeypatch, database_url, tenant) as running,
    ):
        yield running


def synchronized(application: Application, number: int) -> str:
    """The name of a new organization whose first run has just ended."""
    body = another_organization(number, parts=["sites"])
    application.client.post("/organizations", json=body).raise_for_status()
    application.client.post(f"/organizations/{body['name']}/sync").raise_for_status()
    application.host.drain()
    return body["name"]


def last_time(application: Application, name: str) -> str:
    """When the organization was last synchronized."""
    return application.client.get(f"/organizations/{name}/syncState").raise_for_status().json()["lastSyncTime"]


def change_parts(application: Application, name: str, parts: str) -> None:
    with application.services.database.write() as connection:
        connection.execute(update(organizations).where(organizations.c.name == name).values(parts=parts))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the functions of the queues have logged as errors."""
    return [record.getMessage() for record in caplog.records if record.name == "shared.triggers.queues"]


def test_every_organization_that_is_due_starts_in_one_turn_of_the_planner(application: Application) -> None:
    names = [synchronized(application, number) for number in range(3)]
    before = {name: last_time(application, name) for name in names}
    application.clock.forward(minutes=41)
    application.plan()
    assert all(last_time(application, name) > before[name] for name in names)


def test_an_organization_that_cannot_be_planned_is_told_and_holds_up_no_other(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = (synchronized(application, number) for number in range(2))
    before = {name: last_time(application, name) for name in (broken, sound)}
    change_parts(application, broken, "of another version")
    application.clock.forward(minutes=41)
    with caplog.at_level(logging.ERROR, "shared.triggers.queues"):
        application.plan()
    assert last_time(application, sound) > before[sound]
    assert ["could not be planned" in message for message in told(caplog)] == [True]

    # Its message is gone, and what was due still is: the next turn does it once that can be done.
    change_parts(application, broken, "sites")
    application.plan()
    assert last_time(application, broken) > before[broken]


def test_a_message_that_names_no_organization_is_told_and_dropped(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "shared.triggers.queues"):
        application.host.send("organization-plans", "nobody")
        application.host.drain()
    assert ["names no organization" in message for message in told(caplog)] == [True]
    assert len(application.host.host.memory_queue("organization-plans-poison")) == 0
