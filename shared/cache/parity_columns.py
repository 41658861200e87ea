"""The columns of a part that keep what its last comparison with Graph's counts found."""

from __future__ import annotations

from datetime import datetime

from shared.cache.tables import parts
from shared.models.parity import Parity

FOUND = (parts.c.parity_checked_at, parts.c.parity_expected, parts.c.parity_cached)
"""The columns that ``read_parity`` takes."""


def read_parity(checked: datetime | None, expected: int, cached: int) -> Parity | None:
    """What these columns tell of the last comparison."""
    return None if checked is None else Parity(checked, expected, cached)
