"""Schedules and timer triggers of the local host, by an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import azure.functions as func
import httpx
import pytest

from local.host import FunctionsHost, HostStartupError
from local.host.timers import Schedule

START = datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


class Clock:
    """A clock that sleeping puts forward; after `until` it sleeps for ever."""

    def __init__(self, until: datetime, now: datetime = START) -> None:
        self.now = now
        self.until = until
        self.reached = asyncio.Event()

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        target = self.now + timedelta(seconds=seconds)
        if target > self.until:
            self.reached.set()
            await asyncio.Event().wait()
        self.now = target


def timer_app(
    work: Callable[[func.TimerRequest], None], schedule: str = "%WHEN%", run_on_startup: bool = False
) -> func.FunctionApp:
    app = func.FunctionApp()

    @app.timer_trigger(arg_name="timer", schedule=schedule, run_on_startup=run_on_startup)
    async def tick(timer: func.TimerRequest) -> None:
        work(timer)

    return app


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */5 * * * *", ["2026-01-01T00:05:00", "2026-01-01T00:10:00"]),
        ("*/10 * * * * *", ["2026-01-01T00:00:10", "2026-01-01T00:00:20"]),
        ("5/15 * * * * *", ["2026-01-01T00:00:05", "2026-01-01T00:00:20"]),
        ("0 30 9 * * 1-5", ["2026-01-01T09:30:00", "2026-01-02T09:30:00", "2026-01-05T09:30:00"]),
        ("0 0 8 * Jan Mon,Wed", ["2026-01-05T08:00:00", "2026-01-07T08:00:00"]),
        ("*/5 * * * *", ["2026-01-01T00:05:00", "2026-01-01T00:10:00"]),
        ("00:00:30", ["2026-01-01T00:00:30.500000", "2026-01-01T00:01:00.500000"]),
    ],
)
def test_occurrences_are_those_of_ncrontab_with_seconds_first(expression: str, expected: list[str]) -> None:
    schedule, moment = Schedule(expression, "f"), START
    for text in expected:
        moment = schedule.next_after(moment)
        assert moment == datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    assert Schedule("0 0 0 1 * MON", "f").next_after(START) == datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["every day", "61 * * * * *", "0 0 0 31 2 *", "", "00:00:00"])
def test_an_invalid_schedule_stops_the_start_with_the_function_named(expression: str) -> None:
    with pytest.raises(HostStartupError, match="function 'tick'"):
        FunctionsHost(timer_app(lambda _: None), settings={"WHEN": expression})


def test_a_missing_schedule_setting_stops_the_start_with_function_and_setting_named() -> None:
    with pytest.raises(HostStartupError, match=r"function 'tick': '%WHEN%' does not resolve.*'WHEN'"):
        FunctionsHost(timer_app(lambda _: None), settings={})


def run_timer(
    until: datetime, schedule: str, run_on_startup: bool = False, state: Path | None = None, now: datetime = START
) -> list[tuple[datetime, bool, dict[str, str]]]:
    """The occurrences up to a moment: when, past due, schedule status."""
    calls: list[tuple[datetime, bool, dict[str, str]]] = []

    async def run() -> None:
        clock = Clock(until, now)

        def work(timer: func.TimerRequest) -> None:
            status = getattr(timer, "schedule_status", {})
            calls.append((clock(), timer.past_due, status))

        app = timer_app(work, run_on_startup=run_on_startup)
        options = {"clock": clock, "sleep": clock.sleep, "timer_state": state, "port": None}
        async with FunctionsHost(app, settings={"WHEN": schedule}, **options):  # type: ignore[arg-type]
            await clock.reached.wait()

    asyncio.run(asyncio.wait_for(run(), 20))
    return calls


def test_a_timer_fires_at_its_occurrences_with_the_schedule_from_the_setting() -> None:
    calls = run_timer(START + timedelta(minutes=11), "0 */5 * * * *")
    assert [moment.minute for moment, _, _ in calls] == [5, 10]
    assert [past_due for _, past_due, _ in calls] == [False, False]
    assert calls[1][2]["Last"] == "2026-01-01T00:05:00+00:00"
    assert calls[1][2]["Next"] == "2026-01-01T00:10:00+00:00"


def test_a_schedule_of_less_than_a_minute_is_not_monitored() -> None:
    calls = run_timer(START + timedelta(seconds=11), "*/5 * * * * *")
    assert [(moment.second, status) for moment, _, status in calls] == [(5, {}), (10, {})]


def test_run_on_startup_fires_at_once() -> None:
    calls = run_timer(START + timedelta(minutes=1), "0 0 * * * *", run_on_startup=True)
    assert [moment for moment, _, _ in calls] == [START]


def test_a_missed_occurrence_is_past_due_at_the_next_start(tmp_path: Path) -> None:
    state = tmp_path / "timers.json"
    assert run_timer(START + timedelta(minutes=6), "0 */5 * * * *", state=state)[0][1] is False
    later = START + timedelta(hours=3)
    calls = run_timer(later + timedelta(minutes=1), "0 */5 * * * *", state=state, now=later)
    assert [(moment, past_due) for moment, past_due, _ in calls] == [(later, True)]


def test_a_changed_schedule_is_not_past_due(tmp_path: Path) -> None:
    state = tmp_path / "timers.json"
    run_timer(START + timedelta(minutes=6), "0 */5 * * * *", state=state)
    later = START + timedelta(hours=3)
    assert run_timer(later + timedelta(minutes=1), "0 */7 * * * *", state=state, now=later) == []


def test_two_invocations_of_one_timer_never_overlap() -> None:
    async def run() -> int:
        running = most = 0
        app = func.FunctionApp()

        @app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
        async def slow(timer: func.TimerRequest) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(5):
                await asyncio.sleep(0)
            running -= 1

        async with FunctionsHost(app, settings={}, timers=False, port=None, instances=3) as host:
            await asyncio.gather(*(host.fire_timer("slow") for _ in range(3)))
        return most

    assert asyncio.run(run()) == 1


def test_the_admin_endpoint_fires_a_timer_and_answers_202() -> None:
    calls: list[bool] = []

    async def run() -> None:
        app = timer_app(lambda timer: calls.append(timer.past_due), schedule="0 0 0 1 1 *")
        async with FunctionsHost(app, settings={}, timers=False) as host, httpx.AsyncClient() as client:
            response = await client.post(f"{host.url}/admin/functions/tick", json={"input": ""})
            assert response.status_code == 202
            await host.drain()

    asyncio.run(run())
    assert calls == [False]


def test_fire_timer_can_pretend_to_be_past_due() -> None:
    calls: list[bool] = []

    async def run() -> None:
        app = timer_app(lambda timer: calls.append(timer.past_due), schedule="0 0 0 1 1 *")
        async with FunctionsHost(app, settings={}, timers=False, port=None) as host:
            await host.fire_timer("tick", past_due=True)
            with pytest.raises(KeyError):
                await host.fire_timer("other")

    asyncio.run(run())
    assert calls == [True]
