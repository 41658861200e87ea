"""Column types that behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.types import TypeEngine, UserDefinedType


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. ``timestamptz`` on PostgreSQL; SQLite has no time zones, so UTC without one is kept there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        # One call for each value where process_result_value takes three.
        return _in_utc if dialect.name == "postgresql" else _read


def _in_utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


def _read(value: str | None) -> datetime | None:
    # ``replace(tzinfo=UTC)`` would take five times as long, and a request about state reads some forty moments.
    return None if value is None else datetime.fromisoformat(value + "Z")


class _Json(UserDefinedType[Any]):
    """PostgreSQL's ``json`` without SQLAlchemy's own serialization, which would take the text for a JSON string."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"


class JsonDocument(TypeDecorator[Any]):
    """A JSON document that is written as the bytes it was serialized to and read as an object.

    ``json`` and not ``jsonb`` on PostgreSQL: it keeps what Graph sent, NUL escapes included, and loads about twice as
    fast; ``payload::jsonb`` gives the operators where they are wanted.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return _Json() if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value.decode() if isinstance(value, bytes) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        # PostgreSQL's driver has read the document already; it may be a string itself.
        return value if value is None or dialect.name == "postgresql" else orjson.loads(value)


class Word(TypeDecorator[str]):
    """A short word, or a member of a StrEnum, which drivers write as the text that it is; ``COLLATE "C"`` where
    PostgreSQL would compare by language."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text(collation="C") if dialect.name == "postgresql" else Text()
