"""The labels by which spans and logs of the same work are found; in logs, attributes of the record."""

from __future__ import annotations

from shared.models.organizations import Organization
from shared.models.slices import Slice, SliceMessage


def labels(work: Slice) -> dict[str, str]:
    """Of a slice: the organization by its domain name, the part, and the run that it belongs to."""
    return {"organization": work.organization.name, "part": work.part.name, "activityIdentifier": work.run_id}


def part_labels(organization: Organization, part: str) -> dict[str, str]:
    """Of a part outside of its runs."""
    return {"organization": organization.name, "part": part}


def message_labels(message: SliceMessage) -> dict[str, str]:
    """Of a message that asks for a slice, whose organization is known by its number alone."""
    return {
        "organizationKey": str(message.organization_key),
        "part": message.part,
        "activityIdentifier": message.activity_identifier,
    }
