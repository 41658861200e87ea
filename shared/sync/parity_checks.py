"""Compares an organization's cache with Graph's counts, and has read again what differs.

Nothing else would notice that the cache and Graph have come apart: the delta feed never tells an object again that did
not change. A first look, each night, finds a difference and starts an incremental run of the part. When a second look
finds it still, the part is read in full, at most once a night. Sites are not compared: Graph does not count them. Group
members are compared by a sample of groups, the same ones in both looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from shared.cache import organizations, pages, parity, part_states
from shared.cache.parity import PartToCheck
from shared.graph.client import GraphClient
from shared.models.errors import GraphNotFound, GraphThrottled, NotFound, SynchronizationFailure
from shared.models.organizations import Organization
from shared.models.parity import Parity, ParityMessage
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import RunType
from shared.models.slices import SliceMessage
from shared.services import Services
from shared.sync import waits
from shared.sync.parity import Verdict, judge, sample
from shared.sync.planning import start_run
from shared.telemetry.labels import part_labels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Cached:
    """What the cache has of a part: the number of its objects, or those of the sampled groups' members."""

    part: PartToCheck
    objects: int
    members: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Look:
    """One comparison: when it began, which parts it is about, and until when they were due."""

    message: ParityMessage
    began: datetime
    due_until: datetime


def plan_checks(services: Services) -> list[ParityMessage]:
    """The messages with which every organization is compared whose job is going; it reads nothing from Graph."""
    with services.database.read() as connection:
        keys = parity.list_to_check(connection)
    return [ParityMessage(organization_key=key, second_look=False) for key in keys]


async def check_parity(services: Services, message: ParityMessage) -> list[SliceMessage]:
    """Compares one organization's parts and returns the messages to send.

    A part that Graph does not count at the moment, or that a run changes meanwhile, is left as it is.
    """
    now = services.now()
    # The planner has put off by so much what it sent this message for.
    look = _Look(message, now, now + services.settings.requeue_after)
    organization, cached = await asyncio.to_thread(_read, services, look)
    if organization is None:
        return []
    found: dict[PartName, Parity | None] = {}
    for numbers in cached:
        found[numbers.part.name] = await _compare(services, organization, numbers, look)
    return await asyncio.to_thread(_act, services, look, [numbers.part for numbers in cached], found)


def _read(services: Services, look: _Look) -> tuple[Organization | None, Sequence[_Cached]]:
    with services.database.read() as connection:
        try:
            organization = organizations.find_by_key(connection, look.message.organization_key)
        except NotFound:
            return None, []
        found = _find_parts(connection, organization, look)
        return organization, [_count_cached(connection, services, organization.key, part, look) for part in found]


def _find_parts(connection: Connection, organization: Organization, look: _Look) -> Sequence[PartToCheck]:
    if not parity.is_going(connection, organization.key):
        return []
    counted = [name for name in organization.entity.parts if CATALOGUE[name].is_counted]
    return parity.find_parts(
        connection, organization.key, counted, second_look=look.message.second_look, due_until=look.due_until
    )


def _count_cached(connection: Connection, services: Services, key: int, part: PartToCheck, look: _Look) -> _Cached:
    if CATALOGUE[part.name].keeps_objects:
        return _Cached(part, parity.count_objects(connection, key, part.name), {})
    began = part.first_look.checked if part.first_look else look.began
    seed = f"{key} {began.astimezone(UTC).isoformat()}"
    groups = sample(parity.list_live_groups(connection, key), services.settings.parity_sample, seed)
    return _Cached(part, 0, parity.count_members(connection, key, groups))


async def _compare(services: Services, organization: Organization, numbers: _Cached, look: _Look) -> Parity | None:
    part, key = CATALOGUE[numbers.part.name], organization.key
    if await waits.until(services, key, part.family) is not None:
        return None
    try:
        client = services.graph.get(organization)
        if part.keeps_objects:
            return Parity(look.began, await client.count_entries(part), numbers.objects)
        return await _compare_members(services, client, numbers, look)
    except SynchronizationFailure as failure:
        about = part_labels(organization, part.name)
        logger.warning("%s of organization %d were not compared: %s", part.name, key, failure.message, extra=about)
        if isinstance(failure, GraphThrottled):
            await waits.share(services, key, part.family, failure)
        return None


async def _compare_members(services: Services, client: GraphClient, numbers: _Cached, look: _Look) -> Parity | None:
    """Adds up what is counted within a slice's time; a group that Graph does not have any more is left out."""
    deadline = look.began + timedelta(seconds=services.settings.slice_seconds)
    expected = cached = compared = 0
    for group, members in numbers.members.items():
        if services.now() >= deadline:
            break
        try:
            expected += await client.count_members(CATALOGUE[numbers.part.name], group)
        except GraphNotFound:
            continue
        cached += members
        compared += 1
    return Parity(look.began, expected, cached) if compared else None


def _act(
    services: Services, look: _Look, parts: Sequence[PartToCheck], found: Mapping[PartName, Parity | None]
) -> list[SliceMessage]:
    """Keeps what was found and starts what it takes, for the parts that nothing has changed since."""
    key = look.message.organization_key
    with services.database.write() as connection:
        try:
            organization = organizations.lock(connection, key)
        except NotFound:
            return []
        unchanged = _find_parts(connection, organization, look)
        to_read: list[PartName] = []
        for part in parts:
            if part not in unchanged:
                continue
            parity_of_part = found[part.name]
            if parity_of_part is None:
                parity.forget_second_look(connection, key, [part.name])
            elif _settle(connection, services, organization, part, parity_of_part) is not Verdict.LEAVE:
                to_read.append(part.name)
        if look.message.second_look:
            switched_off = [name for name in CATALOGUE if name not in organization.entity.parts]
            parity.forget_second_look(connection, key, switched_off)
        if not to_read:
            return []
        # A part that is to be healed has no cursor any more, so that this run reads it in full.
        _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, to_read)
        return messages


def _settle(
    connection: Connection, services: Services, organization: Organization, part: PartToCheck, found: Parity
) -> Verdict:
    key, about = organization.key, part_labels(organization, part.name)
    verdict = judge(found, part.first_look, explained=part.explained)
    told = "%s of organization %d: Graph counts %d, the cache has %d (drift %+d, %s)"
    level = logging.WARNING if found.drift else logging.INFO
    logger.log(level, told, part.name, key, found.expected, found.cached, found.drift, verdict, extra=about)
    again = services.now() + timedelta(minutes=services.settings.parity_recheck_minutes)
    parity.save(connection, key, part.name, found, again if verdict is Verdict.LOOK_AGAIN else None)
    if verdict is Verdict.HEAL:
        part_states.require_full_run(connection, key, [part.name])
    miscounted = CATALOGUE[part.name].keeps_objects and part.entry_count != found.cached
    if miscounted or verdict is Verdict.HEAL:
        # A run adds what it brings to the number that people see, which has to be right before.
        pages.recount_entries(connection, key, part.name)
    return verdict
