"""Where the reading of a derived part is: which changes of its source it covers, and how far it has come."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.models.errors import CursorExpired

_CURSOR = re.compile(r"changes:(?P<since>\d+)(?::(?P<until>\d+):(?P<after>.*))?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a listing of the source's rows by key.

    Attributes:
        since: Rows whose last change has this number or a lower one were covered by earlier listings.
        until: The organization's last change when the listing began; later ones are the next listing's.
        after: The key of the last row that was read; empty at the beginning.
    """

    since: int
    until: int
    after: str = ""

    @property
    def link(self) -> str:
        """The place as a cursor."""
        return f"changes:{self.since}:{self.until}:{self.after}"

    @property
    def following(self) -> str:
        """The cursor with which the next listing begins when this one is complete."""
        return f"changes:{self.until}"


def place_of(cursor: str | None, last_change: int) -> Place:
    """Where a cursor leads; without one, or with that of a complete listing, a new listing begins.

    Args:
        cursor: What ``link`` or ``following`` gave; None for a listing of everything.
        last_change: The number of the organization's last change.

    Raises:
        CursorExpired: The cursor is none of these.
    """
    if cursor is None:
        return Place(0, last_change)
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise CursorExpired("syncStateNotFound", "The part's cursor is not one of the cache's own.")
    if found["until"] is None:
        return Place(int(found["since"]), last_change)
    return Place(int(found["since"]), int(found["until"]), found["after"])
