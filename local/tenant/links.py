"""The links of groups: generated members and owners, with only the differences kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from local.tenant.groups import GeneratedLinks

_WALK_STEP = 500


@dataclass(slots=True)
class _Difference:
    removed: set[int] = field(default_factory=set)
    # Added references with a number that never falls, so that a walk's position stays true
    # while others are added and removed.
    added: dict[int, int] = field(default_factory=dict)
    last: int = -1
    # What was ever removed and not added again, for telling it once more.
    ended: dict[int, None] = field(default_factory=dict)


class Links:
    """Who is linked to which group. Links to an object that is gone are gone with it."""

    def __init__(self, generated: GeneratedLinks, is_gone: Callable[[int], bool]) -> None:
        self._generated = generated
        self._is_gone = is_gone
        self._differences: dict[tuple[str, int], _Difference] = {}

    def has(self, relation: str, group: int, ref: int) -> bool:
        return self.holds(relation, group, ref) and not self._is_gone(ref)

    def holds(self, relation: str, group: int, ref: int) -> bool:
        """Whether there is a link, be it to an object that is gone."""
        difference = self._differences.get((relation, group))
        if difference is not None:
            if ref in difference.added:
                return True
            if ref in difference.removed:
                return False
        return self._generated.contains(relation, group, ref)

    def add(self, relation: str, group: int, ref: int) -> bool:
        if self.holds(relation, group, ref):
            return False
        difference = self._differences.setdefault((relation, group), _Difference())
        difference.ended.pop(ref, None)
        if ref in difference.removed:
            difference.removed.discard(ref)
        else:
            difference.last += 1
            difference.added[ref] = difference.last
        return True

    def remove(self, relation: str, group: int, ref: int) -> bool:
        if not self.holds(relation, group, ref):
            return False
        difference = self._differences.setdefault((relation, group), _Difference())
        if difference.added.pop(ref, None) is None:
            difference.removed.add(ref)
        difference.ended[ref] = None
        return True

    def ended(self, relation: str, group: int) -> list[int]:
        difference = self._differences.get((relation, group))
        return [] if difference is None else list(difference.ended)

    def slice(self, relation: str, group: int, position: int, count: int) -> tuple[list[int], int | None]:
        """Up to `count` references from a position on, and the next position, or None at the end."""
        difference = self._differences.get((relation, group))
        generated = self._generated.count(relation, group)
        found: list[int] = []
        if position < generated:
            stop = min(position + count, generated)
            found = self._generated.slice(relation, group, position, stop)
            if difference is not None and difference.removed:
                found = [ref for ref in found if ref not in difference.removed]
            position = stop
        if position >= generated and difference is not None and len(found) < count:
            serial = position - generated
            for ref, number in islice(((r, n) for r, n in difference.added.items() if n >= serial), count - len(found)):
                found.append(ref)
                position = generated + number + 1
        more = position < generated or (difference is not None and position <= generated + self._last_added(difference))
        return [ref for ref in found if not self._is_gone(ref)], position if more else None

    @staticmethod
    def _last_added(difference: _Difference) -> int:
        return next(reversed(difference.added.values()), -1)

    def all(self, relation: str, group: int) -> Iterator[int]:
        position: int | None = 0
        while position is not None:
            found, position = self.slice(relation, group, position, _WALK_STEP)
            yield from found
