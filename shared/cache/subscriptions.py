"""The organizations' subscriptions to Graph's change notifications: which are wanted, which are there, what is due."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    case,
    delete,
    insert,
    literal,
    or_,
    select,
    update,
)

from shared.cache import bulk, runs
from shared.cache.tables import organizations, subscriptions
from shared.cache.types import UtcDateTime
from shared.models.parts import GraphCollection, PartName
from shared.models.subscriptions import Granted, Subscription, SubscriptionEntity
from shared.models.synchronization import SynchronizationError


@dataclass(frozen=True, slots=True)
class Known:
    """Whom a notification may come from: a subscription of a registered organization.

    Attributes:
        granted_at: When Graph last granted it.
        client_state_hash: Of the secret that Graph repeats in each of its notifications.
        enabled: The parts that the organization synchronizes.
    """

    organization_key: int
    tenant_id: str
    collection: GraphCollection
    granted_at: datetime
    client_state_hash: bytes
    enabled: Collection[PartName]


def want(
    connection: Connection, key: int, collections: Collection[GraphCollection], url: str | None, now: datetime
) -> None:
    """Has these subscribed to at this address and no others; what differs from that becomes due.

    The organization's row is locked already.
    """
    mine = select(subscriptions.c.collection).where(subscriptions.c.organization_id == key)
    known = connection.execute(mine).scalars().all()
    if added := [name for name in collections if name not in known]:
        rows = [{"organization_id": key, "collection": name, "wanted": True, "due_at": now} for name in added]
        connection.execute(insert(subscriptions), rows)
    is_wanted = subscriptions.c.collection.in_(list(collections))
    elsewhere = and_(is_wanted, subscriptions.c.url != url)
    connection.execute(
        update(subscriptions)
        .where(
            subscriptions.c.organization_id == key,
            or_(subscriptions.c.wanted != is_wanted, and_(elsewhere, subscriptions.c.failures == 0)),
        )
        .values(wanted=is_wanted, due_at=now)
    )


def due(now: ColumnElement[datetime]) -> Select[Any, Any]:
    """The numbers of the organizations, removed ones among them, with a subscription that is due, and since when."""
    return select(subscriptions.c.organization_id, subscriptions.c.due_at.label("since")).where(
        subscriptions.c.due_at <= now
    )


def take_due(connection: Connection, key: int, now: datetime, given_up_at: datetime) -> Sequence[Subscription]:
    """What is due of the organization, which is then nobody else's until ``given_up_at``."""
    rows = connection.execute(
        update(subscriptions)
        .where(subscriptions.c.organization_id == key, subscriptions.c.due_at <= now)
        .values(due_at=given_up_at, attempt=subscriptions.c.attempt + 1)
        .returning(*subscriptions.c)
    ).all()
    return sorted(map(_read, rows), key=lambda one: one.collection)


def keep_granted(
    connection: Connection,
    key: int,
    taken: Subscription,
    granted: Granted,
    due_at: datetime,
    now: datetime,
    *,
    client_state_hash: bytes | None = None,
    url: str | None = None,
) -> bool:
    """Keeps what Graph has granted; False when the attempt is outdated.

    Args:
        due_at: When it is to be renewed, unless it has become due again since it was taken.
        client_state_hash, url: Of a subscription that was created; None of one that was renewed.
    """
    created = {} if client_state_hash is None else {"client_state_hash": client_state_hash, "url": url}
    values = {
        "subscription_id": granted.subscription_id.lower(),
        "expires_at": granted.expires,
        "granted_at": now,
        "due_at": _due_next(taken, due_at),
        "failures": 0,
        **runs.error_columns(None),
        **created,
    }
    return connection.execute(_of_attempt(key, taken).values(**values)).rowcount == 1


def keep_failure(
    connection: Connection, key: int, taken: Subscription, error: SynchronizationError, due_at: datetime
) -> None:
    """Keeps, for people to see, that the attempt failed, and when the next one is made unless it has become due again
    since it was taken; nothing of an outdated one."""
    values = {"failures": taken.failures + 1, "due_at": _due_next(taken, due_at), **runs.error_columns(error)}
    connection.execute(_of_attempt(key, taken).values(**values))


def forget(connection: Connection, key: int, taken: Subscription) -> None:
    """Takes out a subscription that Graph does not have any more, unless it is wanted again by now."""
    connection.execute(
        delete(subscriptions).where(
            subscriptions.c.organization_id == key,
            subscriptions.c.collection == taken.collection,
            subscriptions.c.attempt == taken.attempt,
            subscriptions.c.wanted == taken.wanted,
        )
    )


def find_known(connection: Connection, ids: Iterable[str]) -> dict[str, Known]:
    """The subscriptions of registered organizations with these ids, in lower case."""
    query = (
        select(
            subscriptions.c.subscription_id,
            subscriptions.c.organization_id,
            subscriptions.c.collection,
            subscriptions.c.granted_at,
            subscriptions.c.client_state_hash,
            organizations.c.tenant_id,
            organizations.c.parts,
        )
        .join(organizations, organizations.c.organization_id == subscriptions.c.organization_id)
        .where(organizations.c.removed_at.is_(None))
    )
    wanted = [(identifier,) for identifier in set(ids)]
    rows = connection.execute(bulk.by_keys(connection, query, [subscriptions.c.subscription_id], wanted))
    return {
        row.subscription_id: Known(
            organization_key=row.organization_id,
            tenant_id=row.tenant_id,
            collection=row.collection,
            granted_at=row.granted_at,
            client_state_hash=row.client_state_hash,
            enabled=[PartName(name) for name in row.parts.split()],
        )
        for row in rows
    }


def hurry(connection: Connection, known: Known, due_at: datetime) -> bool:
    """Makes a subscription due at this time; False where it is due by then already, or waits because it failed: Graph
    may have asked for that wait."""
    return (
        connection.execute(
            update(subscriptions)
            .where(
                subscriptions.c.organization_id == known.organization_key,
                subscriptions.c.collection == known.collection,
                subscriptions.c.due_at > due_at,
                subscriptions.c.failures == 0,
            )
            .values(due_at=due_at)
        ).rowcount
        == 1
    )


def list_all(connection: Connection, key: int, now: datetime) -> Sequence[SubscriptionEntity]:
    """The organization's subscriptions as people see them."""
    rows = connection.execute(
        select(subscriptions).where(subscriptions.c.organization_id == key).order_by(subscriptions.c.collection)
    )
    return [
        SubscriptionEntity(
            resource=row.collection,
            active=row.expires_at is not None and row.expires_at > now,
            subscription_id=row.subscription_id,
            expiration_date_time=row.expires_at,
            next_attempt=row.due_at,
            error=runs.read_error(row),
        )
        for row in rows
    ]


def _due_next(taken: Subscription, due_at: datetime) -> ColumnElement[datetime]:
    """This time, unless somebody has set another one since the attempt began: what they want is still to be done."""
    untouched = subscriptions.c.due_at == taken.due
    return case((untouched, literal(due_at, UtcDateTime)), else_=subscriptions.c.due_at)


def _of_attempt(key: int, taken: Subscription) -> Update:
    return update(subscriptions).where(
        subscriptions.c.organization_id == key,
        subscriptions.c.collection == taken.collection,
        subscriptions.c.attempt == taken.attempt,
    )


def _read(row: Row[Any]) -> Subscription:
    granted = None if row.subscription_id is None else Granted(row.subscription_id, row.expires_at)
    return Subscription(
        collection=cast(GraphCollection, row.collection),
        wanted=row.wanted,
        granted=granted,
        url=row.url,
        due=row.due_at,
        attempt=row.attempt,
        failures=row.failures,
        error=runs.read_error(row),
    )
