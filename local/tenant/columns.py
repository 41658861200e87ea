"""How untouched objects become JSON quickly: rows of ready JSON literals, and projections that pick from them."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Protocol

import orjson

# Properties that Graph knows and that this tenant leaves unset; selecting them must not be an error.
NULL = "null"

DAYS = tuple(
    f'"{year}-{month:02}-{day:02}T' for year in range(2015, 2025) for month in range(1, 13) for day in range(1, 29)
)
TIMES = tuple(f'{hour:02}:{minute:02}:{minute * 7 % 60:02}Z"' for hour in range(24) for minute in range(60))


def literal(value: Any) -> str:
    """A value as JSON text."""
    return orjson.dumps(value).decode()


def moment(bits: int) -> str:
    """A date in the years before the tenant's clock begins, as a JSON literal."""
    return DAYS[bits % len(DAYS)] + TIMES[(bits >> 16) % len(TIMES)]


class Population(Protocol):
    """The generated objects of one resource: `count` of them exist before anybody changes anything."""

    resource: str
    count: int
    columns: tuple[str, ...]
    default_columns: tuple[str, ...]

    def row(self, index: int) -> tuple[str, ...]:
        """The object's properties as JSON literals, in the order of `columns`."""
        ...

    def id(self, index: int) -> str: ...

    def index(self, object_id: str) -> int | None: ...


class Projection:
    """A selection of properties, compiled once and applied to many objects; `id` always comes first."""

    def __init__(self, population: Population, names: Iterable[str]) -> None:
        chosen = set(names)
        self.names: tuple[str, ...] = ("id", *(n for n in population.columns if n in chosen and n != "id"))
        self._row = population.row
        self._pick = itemgetter(*(population.columns.index(name) for name in self.names))
        self._template = "{" + ",".join(f'"{name}":%s' for name in self.names) + "}"

    def generated(self, index: int) -> str:
        return self._template % self._pick(self._row(index))

    def of(self, properties: dict[str, Any]) -> str:
        return literal({name: properties[name] for name in self.names})
