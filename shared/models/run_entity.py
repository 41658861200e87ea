"""Runs on the wire: what asks for one, and what is shown of one."""

from __future__ import annotations

from typing import Self

from shared.models.base import UtcTime, WireModel
from shared.models.parts import PartName
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.synchronization import SynchronizationError


class SynchronizationRequest(WireModel):
    """Body of ``POST /organizations/{id}/sync``; both members are optional."""

    type: RunType = RunType.INCREMENTAL
    parts: list[PartName] | None = None

    @property
    def chosen_parts(self) -> frozenset[PartName] | None:
        """The parts asked for; None means all that the organization has."""
        return None if self.parts is None else frozenset(self.parts)


class RunCounts(WireModel):
    """The counts as they travel, named as in synchronizationTaskExecution."""

    count_imported: int
    count_imported_deltas: int
    count_imported_reference_deltas: int
    count_entitled: int
    count_entitled_for_provisioning: int
    count_exports: int
    count_exported: int
    count_escrowed: int
    count_escrowed_raw: int

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """The wire form of counts."""
        return cls(**counts.as_members())


class PartRunEntity(WireModel):
    """One part's progress in a run's entity."""

    part: PartName
    type: RunType
    status: RunStatus
    completed: int
    total: int | None
    resource_units: int
    next_attempt: UtcTime | None
    error: SynchronizationError | None


class RunEntity(WireModel):
    """A run as ``/organizations/{id}/syncs/{activityIdentifier}`` returns it."""

    activity_identifier: str
    organization: str
    type: RunType
    status: RunStatus
    queued_time: UtcTime
    start_time: UtcTime | None
    end_time: UtcTime | None
    error: SynchronizationError | None
    counts: RunCounts
    resource_units: int
    parts: list[PartRunEntity]
