"""Subscriptions to Graph's change notifications: what is subscribed to, for how long, and how people see it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.models.base import UtcTime, WireModel
from shared.models.parts import CATALOGUE, GraphCollection, PartName
from shared.models.synchronization import SynchronizationError

PERMISSIONS: Mapping[GraphCollection, str] = {"users": "User.Read.All", "groups": "Group.Read.All"}
"""The collections whose changes Graph tells, and the least permission for it; of sites it tells nothing (graph.md
§7.1)."""

LIFE = timedelta(days=28)
"""For how long a subscription is asked for: Graph grants less than 29 days for directory objects (graph.md §7.1)."""


def collections_of(enabled: Collection[PartName]) -> Sequence[GraphCollection]:
    """What is subscribed to for an organization that synchronizes these parts."""
    return [name for name in PERMISSIONS if parts_of(name, enabled)]


def parts_of(collection: GraphCollection, enabled: Collection[PartName]) -> Sequence[PartName]:
    """The parts, among those that are switched on, whose delta query tells what a notification hints at."""
    return [
        part.name
        for part in CATALOGUE.values()
        if part.collection == collection and part.source is None and part.name in enabled
    ]


def with_derived(names: Iterable[PartName], enabled: Collection[PartName]) -> Sequence[PartName]:
    """These parts and those that are derived from them, as far as they are switched on."""
    changed = set(names)
    return [
        part.name
        for part in CATALOGUE.values()
        if part.name in enabled and (part.name in changed or part.source in changed)
    ]


@dataclass(frozen=True, slots=True)
class Granted:
    """What Graph grants: the subscription's id, and when it ends."""

    subscription_id: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription of an organization, as it is kept.

    Attributes:
        collection: What it tells of.
        wanted: Whether Graph is to have it; else it is to be removed there.
        granted: What Graph has granted; None while it has not.
        url: The address that Graph was given; None while it was given none.
        due: When it is to be created, renewed or removed.
        attempt: Grows with every attempt at that: who comes back from an earlier one keeps nothing.
        failures: Attempts in a row that failed.
        error: What the last one failed with.
    """

    collection: GraphCollection
    wanted: bool
    granted: Granted | None
    url: str | None
    due: datetime
    attempt: int
    failures: int
    error: SynchronizationError | None


class SubscriptionEntity(WireModel):
    """A subscription as ``/organizations/{id}/subscriptions`` lists it.

    Attributes:
        active: Whether Graph has it and it has not ended.
        next_attempt: When it is renewed; created or removed, if that has not worked yet.
        error: Why the last attempt did not work; null when it did.
    """

    resource: str
    active: bool
    subscription_id: str | None
    expiration_date_time: UtcTime | None
    next_attempt: UtcTime
    error: SynchronizationError | None
