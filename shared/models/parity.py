"""Parity: whether the cache holds as many objects of a part as Graph counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.models.base import WireModel


@dataclass(frozen=True, slots=True)
class Parity:
    """What the last comparison of a part found.

    Attributes:
        checked: When it was made.
        expected: How many Graph counted.
        cached: How many the cache held.
    """

    checked: datetime
    expected: int
    cached: int

    @property
    def drift(self) -> int:
        """How many the cache had too many; negative when it lacked some."""
        return self.cached - self.expected


class ParityMessage(WireModel):
    """A message on the queue ``parity-checks``.

    Attributes:
        organization_key: The organization's number in the cache database.
        second_look: Whether only those parts are counted whose drift has to be confirmed; else all others.
    """

    organization_key: int
    second_look: bool
