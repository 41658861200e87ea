"""The job's life: the table is complete, what the docstring draws, and nothing leads to an impossible state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.synchronization import ScheduleState, StatusCode
from shared.sync import lifecycle
from shared.sync.lifecycle import TRANSITIONS, Condition, Event, after

POSSIBLE = {
    (ScheduleState.DISABLED, StatusCode.NOT_CONFIGURED),
    (ScheduleState.DISABLED, StatusCode.NOT_RUN),
    (ScheduleState.DISABLED, StatusCode.PAUSED),
    (ScheduleState.DISABLED, StatusCode.QUARANTINE),
    (ScheduleState.ACTIVE, StatusCode.NOT_RUN),
    (ScheduleState.ACTIVE, StatusCode.ACTIVE),
    (ScheduleState.ACTIVE, StatusCode.QUARANTINE),
}


def test_the_docstring_draws_the_table() -> None:
    assert lifecycle.__doc__
    lines = lifecycle.__doc__.splitlines()
    head = next(line for line in lines if line.strip().startswith("Event "))
    columns = [Condition[name] for name in head.split()[1:]]
    assert columns == list(Condition)
    for event in Event:
        row = next(line for line in lines if line.strip().startswith(f"{event.value}  "))
        told = re.split(r"\s{2,}", row.strip())[1:]
        drawn = {at: Condition[name] for at, name in zip(columns, told, strict=True) if name != "-"}
        assert drawn == TRANSITIONS[event], event


def test_the_docs_draw_the_table() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "job-lifecycle.md").read_text()
    assert f"```mermaid\n{lifecycle.diagram()}\n```" in page
    assert all(f"| {condition.name} | {condition.schedule_state} |" in page for condition in Condition)


@given(st.lists(st.sampled_from(Event)), st.booleans())
def test_no_sequence_of_events_leads_to_an_impossible_state(events: list[Event], has_run: bool) -> None:
    condition = Condition.NEW
    for event in events:
        condition = after(condition, event)
        code = condition.status_code(has_run=has_run)
        assert (condition.schedule_state, code) in POSSIBLE
        assert Condition.of(condition.schedule_state, code) is condition


@pytest.mark.parametrize("event", [Event.START, Event.RESTART, Event.PAUSE])
@pytest.mark.parametrize("condition", Condition)
def test_a_request_that_is_sent_twice_does_its_work_once(condition: Condition, event: Event) -> None:
    assert after(after(condition, event), event) is after(condition, event)


@pytest.mark.parametrize("condition", Condition)
def test_a_start_always_leads_to_a_started_job(condition: Condition) -> None:
    assert after(condition, Event.START) is Condition.STARTED
