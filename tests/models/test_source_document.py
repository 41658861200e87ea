"""The example of "Get synchronizationJob" is read: an automatically generated one, with its placeholders and traits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kiota_serialization_json.json_parse_node import JsonParseNode
from kiota_serialization_json.json_serialization_writer import JsonSerializationWriter
from msgraph.generated.models.synchronization_job import SynchronizationJob as SdkJob
from pydantic import BaseModel, ValidationError

from shared.models.synchronization import (
    QuarantineReason,
    StatusCode,
    SynchronizationJob,
    SynchronizationQuarantine,
    SynchronizationSchedule,
    SynchronizationStatus,
    iso_duration,
    parse_duration,
)

# Composed for this test, with the traits of such documents (graph.md §1.13): the job inside "value", "String" for every
# text and enum, a negative interval, times with an offset and seven digits, a quarantine without its error.
ERROR = {
    "@odata.type": "microsoft.graph.synchronizationError",
    "code": "String",
    "message": "String",
    "tenantActionable": True,
}
EXECUTION = {
    "@odata.type": "microsoft.graph.synchronizationTaskExecution",
    "activityIdentifier": "String",
    "countEntitled": 31,
    "countEntitledForProvisioning": 30,
    "countEscrowed": 1,
    "countEscrowedRaw": 2,
    "countExported": 27,
    "countExports": 28,
    "countImported": 32,
    "countImportedDeltas": 40,
    "countImportedReferenceDeltas": 8,
    "error": ERROR,
    "state": "String",
    "timeBegan": "2026-02-03T04:05:06.7654321+03:00",
    "timeEnded": "2026-02-03T04:07:08.1000009+03:00",
}
EXAMPLE: dict[str, Any] = {
    "value": {
        "@odata.type": "#microsoft.graph.synchronizationJob",
        "id": "6b1d8c24-8c24-6b1d-248c-1d6b248c1d6b",
        "templateId": "String",
        "schedule": {
            "@odata.type": "microsoft.graph.synchronizationSchedule",
            "expiration": "2026-02-04T00:00:31.4158926+03:00",
            "interval": "-PT29.468746S",
            "state": "String",
        },
        "status": {
            "@odata.type": "microsoft.graph.synchronizationStatus",
            "code": "String",
            "countSuccessiveCompleteFailures": 4,
            "escrowsPruned": True,
            "lastExecution": EXECUTION,
            "lastSuccessfulExecution": EXECUTION,
            "lastSuccessfulExecutionWithExports": EXECUTION,
            "progress": [
                {
                    "@odata.type": "microsoft.graph.synchronizationProgress",
                    "completedUnits": 14,
                    "totalUnits": 16,
                    "units": "String",
                    "progressObservationDateTime": "2026-02-03T04:06:00.5+03:00",
                }
            ],
            "quarantine": {
                "@odata.type": "microsoft.graph.synchronizationQuarantine",
                "currentBegan": "2026-02-03T01:02:03.2718281+03:00",
                "nextAttempt": "2026-02-03T07:02:03.2718281+03:00",
                "reason": "String",
                "seriesBegan": "2026-02-02T01:02:03+03:00",
                "seriesCount": 11,
            },
            "steadyStateFirstAchievedTime": "2026-01-01T03:00:00.0000001+03:00",
            "steadyStateLastAchievedTime": "2026-01-31T23:59:59.9999999+03:00",
            "synchronizedEntryCountByType": [
                {"@odata.type": "microsoft.graph.stringKeyLongValuePair", "key": "String", "value": 1024}
            ],
            "troubleshootingUrl": "https://example.com/troubleshootingUrl/",
        },
        "synchronizationJobSettings": [
            {"@odata.type": "microsoft.graph.keyValuePair", "name": "String", "value": "String"}
        ],
    }
}


def members(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The wire names of a model's members, each with the model that it holds one or more of."""
    return {
        field.alias or name: next(
            (kind for kind in flat(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None
        )
        for name, field in model.model_fields.items()
    }


def flat(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from flat(argument)


def differences(model: type[BaseModel], document: dict[str, Any], path: str = "") -> Iterator[str]:
    """The members that only the model or only the document has, at every depth."""
    known = members(model)
    told = {name for name in document if not name.startswith("@")}
    yield from (f"{path}{name}" for name in known.keys() ^ told)
    for name in known.keys() & told:
        for item in document[name] if isinstance(document[name], list) else [document[name]]:
            kind = known[name]
            if kind is not None:
                yield from differences(kind, item, f"{path}{name}.")


def test_the_example_and_the_models_have_the_same_members_at_every_depth() -> None:
    # The example's quarantine has no error; every other member of every type is in it.
    assert list(differences(SynchronizationJob, EXAMPLE["value"])) == ["status.quarantine.error"]


def check_read_alike(ours: Any, sdks: Any, path: str = "") -> None:
    """Our model says what msgraph-sdk's says of the same document."""
    if isinstance(ours, BaseModel):
        for name in type(ours).model_fields:
            if f"{path}.{name}" != ".schedule.interval":
                check_read_alike(getattr(ours, name), getattr(sdks, name), f"{path}.{name}")
    elif isinstance(ours, list):
        for our, sdk in zip(ours, sdks, strict=True):
            check_read_alike(our, sdk, path)
    else:
        assert (ours.value if isinstance(ours, Enum) else ours) == (sdks.value if isinstance(sdks, Enum) else sdks), (
            path
        )


def test_once_unwrapped_the_example_is_read_as_msgraph_sdk_reads_it() -> None:
    job = SynchronizationJob.model_validate(EXAMPLE["value"])
    check_read_alike(job, JsonParseNode(EXAMPLE["value"]).get_object_value(SdkJob))

    assert job.schedule.interval == -timedelta(seconds=29, microseconds=468746)
    assert job.status.last_execution
    assert job.status.last_execution.count_imported_reference_deltas == 8
    assert job.status.last_execution.time_began == datetime(2026, 2, 3, 1, 5, 6, 765432, UTC)


def test_the_words_that_stand_for_nothing_are_read_as_nothing() -> None:
    job = SynchronizationJob.model_validate(EXAMPLE["value"])
    assert job.status.quarantine
    assert job.status.last_execution
    words = (job.schedule.state, job.status.code, job.status.quarantine.reason, job.status.last_execution.state)
    assert words == (None, None, None, None)
    assert job.status.quarantine.error is None


def test_what_was_read_travels_on_as_every_client_reads_it() -> None:
    told = SynchronizationJob.model_validate(EXAMPLE["value"]).wire()
    assert "@odata.type" not in str(told)
    assert told["status"]["code"] is None
    assert told["schedule"] == {"expiration": "2026-02-03T21:00:31.415892Z", "interval": "PT0S", "state": None}
    assert SynchronizationJob.model_validate(told).wire() == told


def test_the_example_as_it_is_printed_is_no_job() -> None:
    with pytest.raises(ValidationError, match="schedule"):
        SynchronizationJob.model_validate(EXAMPLE)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("Quarantine", StatusCode.QUARANTINE), ("active", StatusCode.ACTIVE)]
    + [(word, None) for word in ("String", "ACTIVE", "", 2, None)],
)
def test_an_enums_word_is_read_as_msgraph_sdk_reads_it(word: Any, expected: StatusCode | None) -> None:
    document = {"id": "1", "schedule": {"interval": "PT40M", "state": "Active"}, "status": {"code": word}}
    sdks = JsonParseNode(document).get_object_value(SdkJob)
    assert sdks.status
    assert (sdks.status.code and sdks.status.code.value) == expected
    assert SynchronizationJob.model_validate(document).status.code is expected


def test_the_word_for_a_quarantine_on_demand_is_spelled_as_graph_spells_it() -> None:
    for word, expected in (
        ("QuarantinedOnDemand", QuarantineReason.QUARANTINED_ON_DEMAND),
        ("QuarantineOnDemand", None),
    ):
        assert SynchronizationQuarantine.model_validate({"reason": word}).reason is expected


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05.1234567Z", datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
        ("2026-01-02T03:04:05.9999999+03:00", datetime(2026, 1, 2, 3, 4, 5, 999999, timezone(timedelta(hours=3)))),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ],
)
def test_a_time_with_seven_digits_is_cut_to_microseconds(text: str, moment: datetime) -> None:
    status = SynchronizationStatus.model_validate({"code": "Active", "steadyStateFirstAchievedTime": text})
    assert status.steady_state_first_achieved_time == moment


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT40M", timedelta(minutes=40)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT0S", timedelta()),
        ("PT0.5S", timedelta(seconds=0.5)),
        ("+PT1M", timedelta(minutes=1)),
        ("-PT29.468746S", -timedelta(seconds=29, microseconds=468746)),
        # .NET's longest time span, which a job shows that never ran (graph.md §1.3).
        ("P10675199DT2H48M5.4775807S", timedelta(10675199, 2 * 3600 + 48 * 60 + 5, 477580)),
        ("0:40:00", timedelta(minutes=40)),
        ("1 day, 2:00:00", timedelta(days=1, hours=2)),
        ("-1 day, 23:59:30", -timedelta(seconds=30)),
        ("0:01:30.000005", timedelta(seconds=90, microseconds=5)),
    ],
)
def test_time_spans_are_read_in_both_notations(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span
    schedule = SynchronizationSchedule.model_validate({"interval": text, "state": "Active"})
    assert schedule.interval == span


@given(st.timedeltas())
def test_any_time_span_that_msgraph_sdk_sends_is_read(span: timedelta) -> None:
    writer = JsonSerializationWriter()
    writer.write_timedelta_value("interval", span)
    assert parse_duration(writer.writer["interval"]) == span


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=10675200)))
def test_any_time_span_that_we_send_is_read_back(span: timedelta) -> None:
    assert abs(parse_duration(iso_duration(span)) - span) <= timedelta(seconds=0.5)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [(value, "PT1H30M or as 1:30:00") for value in ("", "P", "PT", "P1DT", "40M", "1:60:00", "PT1H\n", "P1M", 40, None)]
    + [
        (value, "too long") for value in ("P1000000000D", "-P999999999DT24H", f"P{'9' * 5000}D", "99999999999999:00:00")
    ],
)
def test_what_is_no_time_span_is_refused_with_the_reason(value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_duration(value)
    with pytest.raises(ValidationError, match=re.escape(complaint)):
        SynchronizationSchedule.model_validate({"interval": value, "state": "Active"})
