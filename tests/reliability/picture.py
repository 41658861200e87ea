"""What is there at a moment, in the tenant or in its cache: the identities of live objects and of their links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import orjson
from sqlalchemy import Connection, select

from shared.cache.tables import links, objects, parts
from shared.graph.records import record_key
from shared.models.parts import CATALOGUE, PartName

Picture = frozenset[tuple[str, ...]]
"""``(part, id)`` of objects and ``(relation, source, target)`` of links whose two ends are live."""

RELATIONS = ("members", "owners")


def of_tenant(tenant: httpx.Client) -> Picture:
    """What the tenant holds, where nobody changes it meanwhile."""
    live = {
        (part.name.value, record_key(part, item))
        for part in CATALOGUE.values()
        if part.keeps_objects
        for item in _truth(tenant, part.name)
        if not item.get("@softDeleted")
    }
    return _whole(live, ((relation, *link[:2]) for relation in RELATIONS for link in _truth(tenant, relation)))


def of_cache(connection: Connection) -> Picture:
    """What the cache's only organization shows in this transaction."""
    live = connection.execute(
        select(objects.c.part, objects.c.object_id).where(
            objects.c.deleted_at.is_(None), objects.c.soft_deleted_at.is_(None)
        )
    )
    joined = connection.execute(
        select(links.c.relation, links.c.source_id, links.c.target_id).where(links.c.deleted_at.is_(None))
    )
    return _whole({(row.part, row.object_id) for row in live}, (tuple(row) for row in joined))


def wrong_entry_counts(connection: Connection) -> list[str]:
    """The parts whose number of entries is not the number of their live rows, in words."""
    live: Counter[str] = Counter()
    for row in connection.execute(
        select(objects.c.part).where(objects.c.deleted_at.is_(None), objects.c.soft_deleted_at.is_(None))
    ):
        live[row.part] += 1
    for row in connection.execute(select(links.c.relation).where(links.c.deleted_at.is_(None))):
        if row.relation == "members":
            live[PartName.GROUP_MEMBERS.value] += 1
    return [
        f"{row.part}: {row.entry_count} entries are counted, {live[row.part]} are there"
        for row in connection.execute(select(parts.c.part, parts.c.entry_count))
        if row.entry_count != live[row.part]
    ]


def ids(tenant: httpx.Client, kind: str, chosen: Callable[[dict[str, Any]], bool]) -> list[str]:
    """The ids of the tenant's objects of a kind that are chosen, in the tenant's own order."""
    return [item["id"] for item in _truth(tenant, kind) if chosen(item)]


def _whole(live: set[tuple[str, str]], joined: Iterable[tuple[str, ...]]) -> Picture:
    people = {identifier for part, identifier in live if part in ("users", "groups")}
    groups = {identifier for part, identifier in live if part == "groups"}
    return frozenset(live) | {link for link in joined if link[1] in groups and link[2] in people}


def _truth(tenant: httpx.Client, kind: str) -> Iterable[Any]:
    for line in tenant.get(f"/control/truth/{kind}").raise_for_status().content.splitlines():
        yield orjson.loads(line)
