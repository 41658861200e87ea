"""Times, time spans and objects on the wire are what msgraph-sdk's own parser reads back."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kiota_serialization_json.json_parse_node import JsonParseNode
from pydantic import ValidationError

from shared.models.base import NEVER, WireModel, wire_time
from shared.models.run_entity import SynchronizationRequest
from shared.models.runs import RunType
from shared.models.synchronization import (
    ScheduleState,
    StatusCode,
    SynchronizationSchedule,
    SynchronizationStatus,
    iso_duration,
)

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


class Sample(WireModel):
    display_name: str
    entry_count: int | None = None


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 120, tzinfo=UTC), "2026-01-02T03:04:05.000120Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=3))), "2026-01-02T00:04:05Z"),
        (NEVER, "0001-01-01T00:00:00Z"),
    ],
)
def test_times_travel_in_utc_with_z_and_never_is_the_year_one(moment: datetime, text: str) -> None:
    assert wire_time(moment) == text


# The first and last day are left out: moved by a time zone they fall out of what a datetime can hold. Hypothesis takes
# these bounds without a time zone and adds one itself.
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001


@given(st.datetimes(min_value=FIRST, max_value=LAST, timezones=ZONES))
def test_any_time_is_read_back_by_the_sdk_as_the_same_moment(moment: datetime) -> None:
    assert JsonParseNode(wire_time(moment)).get_datetime_value() == moment


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(), "PT0S"),
        (timedelta(minutes=40), "PT40M"),
        (timedelta(hours=1, seconds=5), "PT1H5S"),
        (timedelta(days=2), "P2D"),
        (timedelta(days=1, minutes=2), "P1DT2M"),
        (timedelta(minutes=59, seconds=59.6), "PT1H"),
    ],
)
def test_time_spans_travel_in_iso_notation(span: timedelta, text: str) -> None:
    assert iso_duration(span) == text


@given(st.integers(0, 10**10).map(lambda seconds: timedelta(seconds=seconds)))
def test_any_time_span_of_whole_seconds_is_read_back_by_the_sdk(span: timedelta) -> None:
    assert JsonParseNode(iso_duration(span)).get_timedelta_value() == span


@given(st.timedeltas(max_value=timedelta(seconds=-1)))
def test_a_negative_time_span_never_travels(span: timedelta) -> None:
    # The seed document shows "-PT29.468746S", which msgraph-sdk reads as no interval at all (graph.md §1.13).
    try:
        told = SynchronizationSchedule(interval=span, state=ScheduleState.ACTIVE).wire()["interval"]
    except ValueError:
        return
    assert "-" not in told


def test_what_has_not_happened_is_null_an_empty_list_or_the_year_one() -> None:
    told = SynchronizationStatus(code=StatusCode.NOT_RUN).wire()
    assert told["lastExecution"] is None
    assert told["quarantine"] is None
    assert told["progress"] == []
    assert told["synchronizedEntryCountByType"] == []
    assert told["steadyStateFirstAchievedTime"] == "0001-01-01T00:00:00Z"


def test_members_are_camel_case_and_absent_ones_are_null() -> None:
    assert Sample(display_name="A").wire() == {"displayName": "A", "entryCount": None}


@pytest.mark.parametrize(
    "document",
    [
        {"displayName": "A", "surprise": "confidential"},
        {"displayName": ["confidential"]},
        {"displayName": "A", "entryCount": "confidential"},
        {"entryCount": 1},
    ],
)
def test_unknown_missing_and_wrongly_typed_members_are_refused_without_repeating_them(document: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate(document)
    assert "confidential" not in str(refused.value)


def test_a_start_without_a_body_is_incremental_for_every_part() -> None:
    request = SynchronizationRequest.model_validate({})
    assert request.type is RunType.INCREMENTAL
    assert request.chosen_parts is None


@pytest.mark.parametrize(
    "document", [{"type": "full"}, {"type": "Delta"}, {"parts": ["mailbox"]}, {"parts": "users"}, {"Parts": ["users"]}]
)
def test_a_start_of_an_unknown_type_or_part_is_refused(document: Any) -> None:
    with pytest.raises(ValidationError):
        SynchronizationRequest.model_validate(document)
