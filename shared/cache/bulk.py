"""Writes many rows at once, by the fastest way each database has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from operator import eq
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Dialect,
    LargeBinary,
    Select,
    Table,
    Text,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy import insert as into
from sqlalchemy.exc import DBAPIError

from shared.cache.faults import failure_of
from shared.cache.types import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

Row = tuple[Any, ...]
"""A row's values in the order of the table's columns."""


_ROWS_AT_ONCE = 999
"""Rows that one statement inserts into SQLite: those of a full page of Graph."""


class RowsRefused(Exception):
    """The database does not take a row as it is; the transaction, or savepoint, must be rolled back."""


def by_keys(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    columns: Sequence[ColumnElement[str]],
    wanted: Sequence[tuple[str, ...]],
) -> Select[*tuple[Any, ...]]:
    """The query, restricted to the rows in which these columns have one of the wanted combinations of values.

    Every combination is looked up by itself: PostgreSQL has no statistics of tables that fill within one run, and left
    to itself compares each row with each key (12,000 links: 10 s instead of 0.1). OFFSET 0 keeps it from joining.
    """
    given = keys(connection, wanted, len(columns))
    if connection.dialect.name != "postgresql":
        return query.where(tuple_(*columns).in_(given))
    listed = given.subquery("wanted")
    found = query.where(*map(eq, columns, listed.c)).offset(0).lateral("found")
    return select(found).select_from(listed.join(found, true()))


def keys(connection: Connection, wanted: Sequence[tuple[str, ...]], width: int) -> Select[*tuple[Any, ...]]:
    """A query that yields these keys, each of ``width`` words.

    They travel as one JSON parameter, so the statement's text does not depend on their number: SQLite keeps the last
    128 statements of a connection prepared, and lists of thousands of marks would fill a hundred megabytes.
    """
    parameter = orjson.dumps(wanted).decode()
    if connection.dialect.name == "postgresql":
        row = func.json_array_elements(cast(literal(parameter, Text), JSON)).column_valued("row")
        return select(*(row.op("->>")(literal_column(str(place))).label(f"key_{place}") for place in range(width)))
    row = func.json_each(parameter).table_valued("value").c.value
    return select(*(func.json_extract(row, literal_column(f"'$[{place}]'")) for place in range(width)))


def hexadecimal(connection: Connection, column: ColumnElement[bytes]) -> ColumnElement[str]:
    """The bytes of a column as ``bytes.hex`` writes them."""
    if connection.dialect.name == "postgresql":
        return func.encode(column, "hex")
    return func.lower(func.hex(column))


def fetch_words(connection: Connection, query: Select[tuple[str]]) -> Sequence[str]:
    """The rows of a query of one word, fetched as one JSON value: Python's driver hands rows over one by one, and lets
    other threads run after each."""
    (word,) = query.subquery("words").c
    aggregate = func.json_agg(word) if connection.dialect.name == "postgresql" else func.json_group_array(word)
    return orjson.loads(connection.execute(select(cast(aggregate, Text))).scalar_one() or "[]")


def insert_keys(connection: Connection, table: Table, constants: Mapping[str, Any], words: Sequence[str]) -> None:
    """Inserts a row for each of these words, the last column of the table's primary key; none of them may be there.

    Args:
        constants: What the other columns hold in all of these rows.
    """
    if not words:
        return
    last = next(reversed(table.primary_key.columns))
    given = keys(connection, [(word,) for word in words], 1).subquery("given")
    values = [literal(value, table.c[name].type).label(name) for name, value in constants.items()]
    connection.execute(into(table).from_select([*constants, last.name], select(*values, *given.c)))


def merging(connection: Connection, table: Table) -> PostgresqlInsert | SqliteInsert:
    """The INSERT of the connection's dialect, which takes an ON CONFLICT clause."""
    # Two dialects, of which a process uses one: to import both takes as long as to answer a dozen requests.
    from sqlalchemy.dialects import postgresql, sqlite

    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Inserts rows whose primary keys are not there: what is new need not be merged.

    Raises:
        RowsRefused: One of the rows cannot be kept: its key is there, or a value is out of range, too large, or breaks
            a constraint.
    """
    _write(connection, table, rows, "")


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Inserts the rows, or overwrites those whose primary key is there; no key may occur twice among them.

    Raises:
        RowsRefused: As ``insert``.
    """
    key = ", ".join(column.name for column in table.primary_key)
    values = [column.name for column in table.columns if not column.primary_key]
    assignments = ", ".join(f"{name} = excluded.{name}" for name in values)
    conflict = f"ON CONFLICT ({key}) DO " + (f"UPDATE SET {assignments}" if values else "NOTHING")
    _write(connection, table, rows, conflict)


def _write(connection: Connection, table: Table, rows: Sequence[Row], conflict: str) -> None:
    if not rows:
        return
    columns = ", ".join(column.name for column in table.columns)
    write = _write_to_postgresql if connection.dialect.name == "postgresql" else _write_to_sqlite
    try:
        write(connection, table, columns, list(_bound(rows, table, connection.dialect)), conflict)
    except DBAPIError as error:
        if _is_refusal(error.orig):
            raise RowsRefused(f"{table.name}: {type(error.orig).__name__}") from None
        raise


def _write_to_postgresql(
    connection: Connection, table: Table, columns: str, rows: Sequence[Row], conflict: str
) -> None:
    """By COPY, which merges nothing: rows that may be there are copied to a table beside it first."""
    if not conflict:
        _copy(connection, f"COPY {table.name} ({columns}) FROM STDIN", table, rows)
        return
    incoming = f"incoming_{table.name}"
    connection.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} (LIKE {table.name}) ON COMMIT DELETE ROWS")
    _copy(connection, f"COPY {incoming} ({columns}) FROM STDIN", table, rows)
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {incoming} {conflict}")
    connection.exec_driver_sql(f"TRUNCATE {incoming}")


def _write_to_sqlite(connection: Connection, table: Table, columns: str, rows: Sequence[Row], conflict: str) -> None:
    """By statements of many rows: Python's driver lets other threads run after each execution, and waits its turn."""
    marks = f"({', '.join('?' * len(table.columns))})"
    whole = len(rows) - len(rows) % _ROWS_AT_ONCE
    for count, some in ((_ROWS_AT_ONCE, rows[:whole]), (1, rows[whole:])):
        statement = f"INSERT INTO {table.name} ({columns}) VALUES {', '.join([marks] * count)} {conflict}"
        parameters = [tuple(chain.from_iterable(some[start : start + count])) for start in range(0, len(some), count)]
        if parameters:
            connection.exec_driver_sql(statement, parameters)


def _copy(connection: Connection, statement: str, table: Table, rows: Sequence[Row]) -> None:
    driver_connection: Any = connection.connection.driver_connection
    error_class: type[Exception] = connection.dialect.loaded_dbapi.Error
    try:
        with driver_connection.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except error_class as error:
        if _is_refusal(error):
            raise RowsRefused(f"{table.name}: {type(error).__name__}") from None
        raise failure_of(error) from None


def _is_refusal(error: BaseException | None) -> bool:
    """By the names that DB-API and PostgreSQL's driver give errors; the driver itself is not imported for them."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return not names.isdisjoint({"DataError", "IntegrityError", "ProgramLimitExceeded"})


def _bound(rows: Sequence[Row], table: Table, dialect: Dialect) -> Iterator[Row]:
    """The rows as the driver takes them.

    Converted column by column, and a page's few moments once each, to the text that they are sent as: with PostgreSQL's
    driver 2.7 µs less for a row of ``objects`` than moments and wrapped bytes take.
    """
    columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
    for position, column in enumerate(table.columns):
        if isinstance(column.type, LargeBinary):
            # Both drivers take bytes as they are.
            continue
        processor = column.type.dialect_impl(dialect).bind_processor(dialect)
        if processor is not None:
            processor = _once_to_text(processor) if isinstance(column.type, UtcDateTime) else processor
            columns[position] = map(processor, columns[position])
    return zip(*columns, strict=True)


def _once_to_text(processor: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    @cache
    def text(moment: datetime | None) -> str | None:
        return None if moment is None else str(processor(moment))

    return text
