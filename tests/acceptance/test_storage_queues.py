"""The product on queues of a storage account: what is sent, tried again and given up is what Azurite says it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from local.tenant import TenantServer
from shared.models.slices import Slice
from shared.triggers.messages import POISON, SLICES
from tests.api.support import small_tenant
from tests.application import Application, running_application
from tests.azurite.account import Azurite
from tests.databases import Databases


@pytest.fixture
def account(azurite: Azurite) -> Iterator[str]:
    with azurite.account() as connection:
        yield connection


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, databases: Databases, account: str) -> Iterator[Application]:
    """The product with a registered organization; which database it has, no queue can tell."""
    with databases.fresh("sqlite") as url, small_tenant() as tenant, _running(monkeypatch, url, tenant, account) as app:
        app.register()
        yield app


def _running(monkeypatch: pytest.MonkeyPatch, url: str, tenant: TenantServer, account: str) -> Any:
    return running_application(monkeypatch, url, tenant, AzureWebJobsStorage=account)


def test_an_organization_is_synchronized_and_no_message_is_left(application: Application, account: str) -> None:
    run = application.synchronize()

    assert run["status"] == "Succeeded"
    assert application.compare().differences == []
    with QueueClient.from_connection_string(account, SLICES) as queue:
        assert queue.get_queue_properties().approximate_message_count == 0


def test_a_message_that_always_fails_is_taken_out_five_times_and_ends_as_an_error_of_its_part(
    monkeypatch: pytest.MonkeyPatch, application: Application, account: str
) -> None:
    tried: list[int] = []

    async def defective(*_: object) -> Slice | None:
        with QueueClient.from_connection_string(account, SLICES) as queue:
            # What is being worked on is hidden.
            tried.append(len(queue.peek_messages(32)))
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("shared.sync.slices.work_on", defective)
    run = application.synchronize(parts=["sites"])

    assert tried == [0, 0, 0, 0, 0]
    assert run["status"] == "Failed"
    assert {part["error"]["code"] for part in run["parts"]} == {"MessageDeadLettered"}
    with QueueClient.from_connection_string(account, POISON) as queue:
        # It has been there: a queue that nobody sent to does not exist.
        assert queue.get_queue_properties().approximate_message_count == 0
