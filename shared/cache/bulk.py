"""Writes many rows at once, by the fastest way each database has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Table

Row = tuple[Any, ...]
"""A row's values in the order of the table's columns."""

KEYS_PER_QUERY = 5_000
"""How many keys one IN list holds: SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535."""

T = TypeVar("T")


def chunks(items: Sequence[T], size: int = KEYS_PER_QUERY) -> Iterator[Sequence[T]]:
    """The items in runs of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Inserts the rows, or overwrites those whose primary key is there; no key may occur twice among them."""
    if not rows:
        return
    columns = ", ".join(column.name for column in table.columns)
    key = ", ".join(column.name for column in table.primary_key)
    values = [column.name for column in table.columns if not column.primary_key]
    assignments = ", ".join(f"{name} = excluded.{name}" for name in values)
    conflict = f"ON CONFLICT ({key}) DO " + (f"UPDATE SET {assignments}" if values else "NOTHING")
    if connection.dialect.name == "postgresql":
        incoming = f"incoming_{table.name}"
        connection.exec_driver_sql(
            f"CREATE TEMP TABLE IF NOT EXISTS {incoming} (LIKE {table.name}) ON COMMIT DELETE ROWS"
        )
        _copy(connection, f"COPY {incoming} ({columns}) FROM STDIN", table, rows)
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {incoming} {conflict}")
        connection.exec_driver_sql(f"TRUNCATE {incoming}")
    else:
        marks = ", ".join("?" * len(table.columns))
        connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({columns}) VALUES ({marks}) {conflict}",
            list(_bound(rows, table, connection.dialect)),
        )


def _copy(connection: Connection, statement: str, table: Table, rows: Sequence[Row]) -> None:
    driver_connection: Any = connection.connection.driver_connection
    with driver_connection.cursor().copy(statement) as copy:
        for row in _bound(rows, table, connection.dialect):
            copy.write_row(row)


def _bound(rows: Sequence[Row], table: Table, dialect: Dialect) -> Iterator[Row]:
    """The rows as the driver takes them; columns whose type needs no conversion cost nothing."""
    processors: list[tuple[int, Callable[[Any], Any]]] = [
        (position, processor)
        for position, column in enumerate(table.columns)
        if (processor := column.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    ]
    for row in rows:
        bound = list(row)
        for position, processor in processors:
            bound[position] = processor(bound[position])
        yield tuple(bound)
