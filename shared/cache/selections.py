"""What is synchronized of an organization: which parts, and which properties of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, insert, select, update

from shared.cache.tables import organizations, parts
from shared.models.parts import CATALOGUE, Part, PartName


def selected(name: PartName, wanted: str | None) -> Part:
    """The catalogue's part with the selection that the database keeps for it; None for the catalogue's own."""
    part = CATALOGUE[name]
    return part if wanted is None else replace(part, select=tuple(wanted.split(",")))


def selection_text(select: Sequence[str]) -> str:
    """A selection as the database keeps it."""
    return ",".join(select)


def read(connection: Connection, key: int) -> dict[PartName, Part]:
    """All parts of the catalogue with the organization's selections."""
    query = select(parts.c.part, parts.c.wanted_selection).where(parts.c.organization_id == key)
    wanted = {PartName(row.part): row.wanted_selection for row in connection.execute(query)}
    return {name: selected(name, wanted.get(name)) for name in CATALOGUE}


def save(connection: Connection, key: int, selections: Mapping[PartName, Sequence[str]]) -> None:
    """Makes these the parts that are synchronized, with these selections; the others are switched off.

    What the cache holds of a part that is switched off stays as it is.
    """
    known = set(connection.execute(select(parts.c.part).where(parts.c.organization_id == key)).scalars())
    for name, chosen in selections.items():
        wanted = None if tuple(chosen) == CATALOGUE[name].select else selection_text(chosen)
        if name in known:
            statement = update(parts).where(parts.c.organization_id == key, parts.c.part == name)
            connection.execute(statement.values(wanted_selection=wanted))
        else:
            add_part(connection, key, name, wanted)
    connection.execute(
        update(organizations)
        .where(organizations.c.organization_id == key)
        .values(parts=" ".join(name for name in CATALOGUE if name in selections))
    )


def add_part(connection: Connection, key: int, name: PartName, wanted: str | None = None) -> None:
    """Adds a part that was never read."""
    connection.execute(
        insert(parts).values(
            organization_id=key, part=name, wanted_selection=wanted, full_run_required=True, rebuild=False
        )
    )
