"""A run as the organizations' routes return it."""

from __future__ import annotations

from shared.models.run_entity import PartRunEntity, RunCounts, RunEntity
from shared.models.runs import Run


def run_entity(run: Run) -> RunEntity:
    """The run with its progress per part."""
    return RunEntity(
        activity_identifier=run.activity_identifier,
        organization=run.organization,
        type=run.type,
        status=run.status,
        queued_time=run.queued_time,
        start_time=run.start_time,
        end_time=run.end_time,
        error=run.error,
        counts=RunCounts.of(run.counts),
        resource_units=sum(part.resource_units for part in run.parts),
        parts=[
            PartRunEntity(
                part=part.part,
                type=part.type,
                status=part.status,
                completed=part.completed,
                total=part.total,
                resource_units=part.resource_units,
                next_attempt=part.next_attempt,
                error=part.error,
            )
            for part in run.parts
        ],
    )
