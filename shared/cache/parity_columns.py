"""The columns of a part that keep what its last comparison with Graph's counts found."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from shared.cache.tables import parts
from shared.models.parity import Parity

FOUND = (parts.c.parity_checked_at, parts.c.parity_expected, parts.c.parity_cached)
"""The columns that ``read_parity`` takes."""


def read_parity(row: Row[Any]) -> Parity | None:
    """What a row of ``parts`` keeps of the last comparison."""
    if row.parity_checked_at is None:
        return None
    return Parity(row.parity_checked_at, row.parity_expected, row.parity_cached)
