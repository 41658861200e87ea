"""Finds out whether organizations can be synchronized: a token, and one row of every part, as a run would read it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.cache import selections
from shared.graph.client import GraphClient
from shared.graph.failures import in_time
from shared.models.errors import GraphUnavailable, SynchronizationFailure
from shared.models.organizations import Organization
from shared.models.parts import Part, PartName
from shared.services import Services
from shared.sync.control import verified

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A client secret to be tried, which is kept nowhere.

    Attributes:
        client_id: The application's client id; None for the one that the organization was registered with.
    """

    client_id: str | None
    client_secret: str


Failures = Mapping[PartName, SynchronizationFailure]


async def validate(
    services: Services, organizations: Sequence[Organization], given: GivenSecret | None
) -> Mapping[str, Failures]:
    """What fails by organization's name and part; nothing failing with its own credential, a job counts as verified.

    Args:
        services: What to work with.
        organizations: Those to be tried, some at a time.
        given: A secret to be tried instead of the organizations' own credentials.
    """
    some = asyncio.Semaphore(_AT_ONCE)

    async def one(organization: Organization) -> Failures:
        async with some:
            failures = await _validate(services, organization, given)
        if not failures and given is None:
            await asyncio.to_thread(verified, services, organization.key)
        return failures

    found = await asyncio.gather(*(one(organization) for organization in organizations))
    return {
        organization.name: failures for organization, failures in zip(organizations, found, strict=True) if failures
    }


async def _validate(services: Services, organization: Organization, given: GivenSecret | None) -> Failures:
    names = organization.entity.parts
    try:
        client = _client(services, organization, given)
    except SynchronizationFailure as failure:
        return dict.fromkeys(names, failure)
    try:
        return await in_time(
            _probe(client, await asyncio.to_thread(_parts, services, organization)),
            services.settings.graph_answer_seconds,
        )
    except GraphUnavailable as failure:
        return dict.fromkeys(names, failure)
    finally:
        await client.close()


def _client(services: Services, organization: Organization, given: GivenSecret | None) -> GraphClient:
    # A token that was issued earlier says nothing about the credential now.
    if given is None:
        return services.graph.fresh(organization)
    return services.graph.with_secret(organization, given.client_id, given.client_secret)


def _parts(services: Services, organization: Organization) -> Sequence[Part]:
    with services.database.read() as connection:
        selected = selections.read(connection, organization.key)
    return [selected[name] for name in organization.entity.parts]


async def _probe(client: GraphClient, parts: Sequence[Part]) -> Failures:
    failures = await asyncio.gather(*(_failure(client, part) for part in parts))
    return {part.name: failure for part, failure in zip(parts, failures, strict=True) if failure is not None}


async def _failure(client: GraphClient, part: Part) -> SynchronizationFailure | None:
    try:
        await client.probe(part)
    except SynchronizationFailure as failure:
        return failure
    return None
