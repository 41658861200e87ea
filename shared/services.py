"""What the product works with: settings, database, Graph, gate and clock, made once per process or once per test."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from shared.access.gate import Gate
from shared.cache.database import Database
from shared.cache.identity_login import IdentityLogin
from shared.graph.clients import GraphClients
from shared.settings import Settings, settings


def utc_now() -> datetime:
    """The moment, by the machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """The composition root's product."""

    settings: Settings
    database: Database
    graph: GraphClients
    gate: Gate
    now: Callable[[], datetime]

    @classmethod
    def create(cls, settings: Settings, now: Callable[[], datetime]) -> Services:
        """Services for these settings; nothing is connected before it is used.

        Raises:
            Unprotected: The settings leave open who may call.
        """
        gate = Gate(settings, now, os.environ)
        return cls(settings, _database(settings, now), GraphClients(settings, now), gate, now)


def _database(settings: Settings, now: Callable[[], datetime]) -> Database:
    if settings.database_tokens_for is None:
        return Database(settings.database_url)
    login = IdentityLogin(settings.database_tokens_for, settings.azure_client_id, os.environ, now)
    return Database(settings.database_url, login.password)


@cache
def services() -> Services:
    """This process's services."""
    return Services.create(settings(), utc_now)
