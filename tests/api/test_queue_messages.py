"""What stands in messages, which whoever may look at the storage account can read: numbers and names of parts."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import orjson
import pytest

from local.tenant import TenantServer
from shared.models.parts import PartName
from tests.api.support import HELD, deliver, held_application
from tests.application import Application


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer) -> Iterator[Application]:
    """The product whose slices and plans wait on their queues."""
    plans = {"AzureWebJobs.plan_organization.Disabled": "true"}
    with held_application(monkeypatch, sqlite_url, tenant, **HELD, **plans, SLICE_SECONDS="0.000001") as application:
        application.register()
        yield application


def bodies(application: Application, queue: str) -> list[str | bytes]:
    return [item.body for item in application.host.host.memory_queue(queue).peek()]


def test_a_message_on_the_queue_tells_nothing_but_which_part_is_next(waiting: Application) -> None:
    run = waiting.start(parts=["users"])
    deliver(waiting)
    waiting.start(parts=["users"])

    messages = [orjson.loads(body) for body in bodies(waiting, "sync-slices")]

    assert messages
    for message in messages:
        assert message.keys() == {"organizationKey", "activityIdentifier", "part", "fence"}
        assert type(message["organizationKey"]) is type(message["fence"]) is int
        assert UUID(message["activityIdentifier"])
        assert PartName(message["part"])
    assert run["activityIdentifier"] not in {message["activityIdentifier"] for message in messages}


def test_the_planner_hands_on_numbers_of_organizations_and_nothing_else(waiting: Application) -> None:
    waiting.start(parts=["users"])
    deliver(waiting)
    waiting.clock.forward(days=1)
    waiting.host.fire_timer("plan_synchronizations")

    found = bodies(waiting, "organization-plans")

    assert found
    assert all(str(body).isdecimal() for body in found)
