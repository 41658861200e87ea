"""When objects that failed are tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long an object that failed is left alone: the wait doubles with every failure (graph.md §3.2).

    Attributes:
        first: The wait after the first failure.
        longest: The wait that is not exceeded.
    """

    first: timedelta
    longest: timedelta

    def next_attempt(self, failures: int, now: datetime) -> datetime:
        """When an object that has failed this often is tried again."""
        # Beyond some doublings every wait is the longest one, and timedelta would overflow.
        return now + min(self.first * 2 ** min(failures - 1, 30), self.longest)
