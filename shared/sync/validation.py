"""Finds out whether an organization can be synchronized: a token, and one row of every part, as a run would read it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from shared.cache import selections
from shared.graph.client import GraphClient
from shared.graph.failures import in_time
from shared.models.errors import GraphRefused, SynchronizationFailure
from shared.models.organizations import Organization
from shared.models.parts import Part, PartName
from shared.models.synchronization import SynchronizationError
from shared.services import Services
from shared.sync.control import verified


async def validate_saved(services: Services, organization: Organization) -> Mapping[PartName, SynchronizationError]:
    """What fails by part with the credential that the organization has; nothing failing, the job counts as verified."""
    failures = await _probe(services, organization, services.graph.get(organization))
    if not failures:
        await asyncio.to_thread(verified, services, organization.key)
    return failures


async def validate_secret(
    services: Services, organization: Organization, client_id: str | None, client_secret: str
) -> Mapping[PartName, SynchronizationError]:
    """What would fail by part with this client secret, which is kept nowhere.

    Args:
        client_id: The application's client id; None for the one that the organization was registered with.
    """
    try:
        client = services.graph.with_secret(organization, client_id, client_secret)
    except GraphRefused as failure:
        return dict.fromkeys(organization.entity.parts, failure.told())
    try:
        return await _probe(services, organization, client)
    finally:
        await client.close()


async def _probe(
    services: Services, organization: Organization, client: GraphClient
) -> Mapping[PartName, SynchronizationError]:
    def read() -> Mapping[PartName, Part]:
        with services.database.read() as connection:
            return selections.read(connection, organization.key)

    parts = await asyncio.to_thread(read)
    names, seconds = organization.entity.parts, services.settings.graph_answer_seconds
    failures = await asyncio.gather(*(_failure(client, parts[name], seconds) for name in names))
    return {name: failure for name, failure in zip(names, failures, strict=True) if failure is not None}


async def _failure(client: GraphClient, part: Part, seconds: float) -> SynchronizationError | None:
    try:
        await in_time(client.probe(part), seconds)
    except SynchronizationFailure as failure:
        return failure.told()
    return None
