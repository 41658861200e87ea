"""What all wire models have in common: camelCase names, nulls kept, UTC times with Z."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""Graph's sentinel for "has not happened" in members that cannot be null (graph.md §1.4)."""


def wire_time(value: datetime) -> str:
    """ISO 8601 in UTC with Z and at most microseconds; msgraph-sdk fails the whole call on any other notation."""
    if value.tzinfo is not UTC:
        # The sentinel of another time zone is before the first moment of UTC.
        value = NEVER if value < NEVER else value.astimezone(UTC)
    return value.isoformat().replace("+00:00", "Z")


UtcTime = Annotated[
    datetime,
    PlainSerializer(wire_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class WireModel(BaseModel):
    """A JSON object on the wire: camelCase member names, unknown members refused on input."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        # What is told of answers, whose members are all there: see ``wire``.
        json_schema_serialization_defaults_required=True,
        # What a model takes is built when it is first used: no process uses all, and all together delay every start.
        defer_build=True,
    )

    def wire(self) -> dict[str, Any]:
        """The JSON-ready dict: every member present, absent ones null."""
        return self.model_dump(mode="json", by_alias=True)
