"""Compares an organization's cache with the simulated tenant's own truth, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from sqlalchemy import Connection, Select, func, select

from shared.cache.database import Database
from shared.cache.tables import links, objects, organizations, parts
from shared.graph.records import record_key
from shared.models.parts import CATALOGUE, Part, PartName

_COLUMNS = {
    "display_name": "displayName",
    "mail": "mail",
    "user_principal_name": "userPrincipalName",
    "enabled": "accountEnabled",
}
_TOLD = 20


@dataclass
class Comparison:
    """What was compared and what differs.

    Attributes:
        compared: How many objects or links were equal, by what the tenant calls them.
        differences: What differs, in words; at most the first ones of each kind.
    """

    compared: dict[str, int] = field(default_factory=dict[str, int])
    differences: list[str] = field(default_factory=list[str])

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def is_cached(database: Database, object_id: str) -> bool:
    """Whether any organization's cache has an object of this id."""
    with database.read() as connection:
        query = select(objects.c.object_id).where(objects.c.object_id == object_id, objects.c.deleted_at.is_(None))
        return connection.execute(query).first() is not None


def compare(database: Database, tenant_url: str, organization: str) -> Comparison:
    """Compares the parts that the organization with this name synchronizes with the tenant at ``tenant_url``."""
    comparison = Comparison()
    with database.read() as connection, httpx.Client(base_url=tenant_url, timeout=120) as tenant:
        key = connection.execute(
            select(organizations.c.organization_id).where(
                organizations.c.name == organization, organizations.c.removed_at.is_(None)
            )
        ).scalar_one()
        counts = {
            PartName(row.part): row.entry_count
            for row in connection.execute(select(parts).where(parts.c.organization_id == key))
        }
        for part in CATALOGUE.values():
            if part.keeps_objects and part.name in counts:
                entries = _compare_objects(connection, key, part, _truth(tenant, part.name), comparison)
                if entries != counts[part.name]:
                    comparison.differences.append(f"{part.name}: entry count {counts[part.name]}, cache has {entries}")
        for relation in ("members", "owners") if PartName.GROUPS in counts else ():
            _compare_links(connection, key, relation, _truth(tenant, relation), comparison)
        live = connection.execute(
            select(func.count()).where(
                links.c.organization_id == key, links.c.relation == "members", links.c.deleted_at.is_(None)
            )
        ).scalar_one()
        if counts.get(PartName.GROUP_MEMBERS, live) != live:
            comparison.differences.append(
                f"groupMembers: entry count {counts[PartName.GROUP_MEMBERS]}, cache has {live}"
            )
    return comparison


def _truth(tenant: httpx.Client, kind: str) -> Iterator[Any]:
    with tenant.stream("GET", f"/control/truth/{kind}") as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            yield orjson.loads(line)


def _compare_objects(connection: Connection, key: int, part: Part, truth: Iterator[Any], comparison: Comparison) -> int:
    query = select(objects).where(
        objects.c.organization_id == key, objects.c.part == part.name, objects.c.deleted_at.is_(None)
    )
    cached = {row.object_id: row for row in _rows(connection, query)}
    entries = sum(row.soft_deleted_at is None for row in cached.values())
    differences: list[str] = []
    equal = 0
    for true in truth:
        object_id = record_key(part, true)
        row = cached.pop(object_id, None)
        told = [] if row is None else list(_object_differences(row, part, true))
        if row is None and true.get("@softDeleted") and not part.in_scope({}):
            # Of what came and was soft-deleted between two runs Graph tells the id, not whether it belongs to the part.
            continue
        if row is None:
            differences.append(f"{part.name} {object_id}: missing")
        elif told:
            differences.append(f"{part.name} {object_id}: {', '.join(told)}")
        else:
            equal += 1
    differences += [f"{part.name} {object_id}: not in the tenant" for object_id in cached]
    comparison.differences += differences[:_TOLD]
    comparison.compared[part.name] = equal
    return entries


def _object_differences(row: Any, part: Part, true: dict[str, Any]) -> Iterator[str]:
    soft_deleted = true.get("@softDeleted", False)
    if (row.soft_deleted_at is not None) != soft_deleted:
        yield "soft-deleted mark"
    if soft_deleted:
        # Graph tells no more than the id when an object is soft-deleted, so its last changes may be unknown.
        return
    expected = {name: true.get(name) for name in part.properties}
    for name in expected.keys() | row.payload.keys():
        if name not in expected or row.payload.get(name) != expected[name]:
            yield name
    for column, name in _COLUMNS.items():
        if row._mapping[column] != expected.get(name):
            yield f"column {column}"
    if row.kind != part.kind(expected):
        yield "column kind"


def _compare_links(
    connection: Connection, key: int, relation: str, truth: Iterator[Any], comparison: Comparison
) -> None:
    live_groups = set(
        connection.execute(
            select(objects.c.object_id).where(
                objects.c.organization_id == key,
                objects.c.part == PartName.GROUPS,
                objects.c.deleted_at.is_(None),
                objects.c.soft_deleted_at.is_(None),
            )
        ).scalars()
    )
    query = select(links).where(
        links.c.organization_id == key, links.c.relation == relation, links.c.deleted_at.is_(None)
    )
    cached = {
        (row.source_id, row.target_id, row.target_type)
        for row in _rows(connection, query)
        if row.source_id in live_groups
    }
    true = {tuple(link) for link in truth}
    comparison.compared[relation] = len(cached & true)
    missing = [f"{relation} {source} -> {target}: missing" for source, target, _ in true - cached]
    extra = [f"{relation} {source} -> {target}: not in the tenant" for source, target, _ in cached - true]
    comparison.differences += missing[:_TOLD] + extra[:_TOLD]


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    return iter(connection.execution_options(yield_per=5_000).execute(query))
