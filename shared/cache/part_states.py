"""What is kept of a part between its runs: the need of a full run, the generation, the number of live entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Update, select, update

from shared.cache.tables import parts
from shared.models.parts import PartName
from shared.models.slices import Slice


def require_full_run(connection: Connection, key: int, names: Iterable[PartName], *, rebuild: bool = False) -> None:
    """Has these parts of the organization read in full the next time; a generation that has begun does not count.

    Args:
        rebuild: Whether that run writes every row again, and counts the entries anew.
    """
    values: dict[str, Any] = {"full_run_required": True, "full_run_required_after": parts.c.generation}
    if rebuild:
        values["rebuild"] = True
    connection.execute(
        update(parts).where(parts.c.organization_id == key, parts.c.part.in_(list(names))).values(**values)
    )


def parts_without_cursor(connection: Connection, key: int) -> Sequence[PartName]:
    """The organization's parts that can only be read in full."""
    rows = connection.execute(select(parts.c.part).where(parts.c.organization_id == key, parts.c.full_run_required))
    return [PartName(name) for name in rows.scalars()]


def add_entries(connection: Connection, key: int, added: Iterable[tuple[PartName, int]]) -> None:
    """Keeps the numbers of live entries in step."""
    for name, number in added:
        if number:
            change(connection, key, name, entry_count=parts.c.entry_count + number)


def count_entries(connection: Connection, work: Slice) -> int:
    """The part's number of live entries."""
    query = select(parts.c.entry_count).where(
        parts.c.organization_id == work.organization.key, parts.c.part == work.part.name
    )
    return connection.execute(query).scalar_one()


def set_entries(connection: Connection, key: int, name: PartName, number: int) -> None:
    """Replaces a part's number of live entries."""
    change(connection, key, name, entry_count=number)


def next_generation(connection: Connection, key: int, name: str) -> int:
    """Begins a generation of the part, and returns its number."""
    return connection.execute(
        _update(key, name).values(generation=parts.c.generation + 1).returning(parts.c.generation)
    ).scalar_one()


def change(connection: Connection, key: int, name: str, **values: Any) -> None:
    """Keeps these columns of the part."""
    connection.execute(_update(key, name).values(**values))


def _update(key: int, name: str) -> Update:
    return update(parts).where(parts.c.organization_id == key, parts.c.part == name)
