"""The objects of one resource: generated ones, with only the touched ones kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeVar

import orjson

from local.tenant.changes import ChangeLog
from local.tenant.columns import Population, Projection

State = Literal["live", "softDeleted", "gone", "unknown"]

P = TypeVar("P", bound=Population)


class ObjectSet(Generic[P]):
    """Current state by index. Indexes at and above the population's count are objects created later."""

    def __init__(self, population: P) -> None:
        self.population = population
        self.size = population.count
        self.touched: dict[int, dict[str, Any]] = {}
        self.soft_deleted: dict[int, None] = {}
        self.gone: set[int] = set()
        self.log = ChangeLog()
        self._whole = Projection(population, population.columns)
        self._projections: dict[tuple[str, ...], Projection] = {}

    @property
    def live_count(self) -> int:
        return self.size - len(self.gone) - len(self.soft_deleted)

    def find(self, object_id: str) -> int | None:
        """The index of an object that exists, live or soft-deleted."""
        index = self.population.index(object_id)
        return index if index is not None and self.state(index) in ("live", "softDeleted") else None

    def state(self, index: int) -> State:
        if index >= self.size:
            return "unknown"
        if index in self.gone:
            return "gone"
        return "softDeleted" if index in self.soft_deleted else "live"

    def properties(self, index: int) -> dict[str, Any]:
        """A copy of all properties."""
        kept = self.touched.get(index)
        return dict(kept) if kept is not None else orjson.loads(self._whole.generated(index))

    def render(self, projection: Projection, index: int) -> str:
        kept = self.touched.get(index)
        return projection.generated(index) if kept is None else projection.of(kept)

    def render_whole(self, index: int) -> str:
        return self.render(self._whole, index)

    def projection(self, names: tuple[str, ...]) -> Projection:
        """A compiled projection; clients use few of them, so each is kept."""
        found = self._projections.get(names)
        if found is None:
            if len(self._projections) > 200:
                self._projections.clear()
            found = self._projections[names] = Projection(self.population, names)
        return found

    def existing(self, start: int = 0) -> Iterator[int]:
        """Indexes of live and soft-deleted objects."""
        index = start
        while index < self.size:
            if index not in self.gone:
                yield index
            index += 1
