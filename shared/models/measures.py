"""The state of an organization in numbers, for those who watch over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.models.parts import PartName


@dataclass(frozen=True, slots=True)
class PartMeasures:
    """A part that is switched on.

    Attributes:
        lag: Since when the cache may lack changes: the start of the part's last successful run, without one the
            organization's registration; None while nothing runs on the job's schedule.
        escrows: Its objects that wait for a retry.
        held_deletions: Its deletions that wait for approval.
        drift: How many objects the cache had too many when it was last compared with Graph's counts, negative for
            those it lacked; None if it never was.
    """

    part: PartName
    lag: timedelta | None
    escrows: int
    held_deletions: int
    drift: int | None


@dataclass(frozen=True, slots=True)
class OrganizationMeasures:
    """A registered organization.

    Attributes:
        organization: Its domain name.
        quarantined: Whether its job is in quarantine.
    """

    organization: str
    quarantined: bool
    parts: Sequence[PartMeasures]
