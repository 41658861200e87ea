"""Timer triggers: schedules, their status, and one loop per timer that never overlaps itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.functions.meta import Datum
from cronsim import CronSim, CronSimError

from .invocation import InvocationFailed, Invoker, decode_trigger
from .metadata import FunctionInfo, HostStartupError, parse_timespan

log = logging.getLogger("local.host")

NEVER = datetime(1, 1, 1, tzinfo=UTC)
# asyncio refuses delays beyond what the selector takes; the real listener splits long waits as well.
MAX_SLEEP = 24 * 86400.0


def utc_now() -> datetime:
    """The clock of a running host."""
    return datetime.now(UTC)


class Schedule:
    """An NCRONTAB expression (6 fields, or 5 without seconds) or a TimeSpan, in UTC."""

    def __init__(self, expression: str, function: str) -> None:
        self.expression = expression.strip()
        self._interval = parse_timespan(self.expression)
        if self._interval is not None:
            if self._interval <= timedelta(0):
                raise HostStartupError(f"function '{function}': the schedule '{expression}' must be longer than zero")
            return
        try:
            self.next_after(utc_now())
        except (CronSimError, StopIteration) as error:
            raise HostStartupError(
                f"function '{function}': the schedule '{expression}' is not a valid NCRONTAB expression "
                f"or time span ({error})"
            ) from None

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence that is later than the moment."""
        if self._interval is not None:
            return moment + self._interval
        cron = CronSim(self.expression, moment)
        # NCRONTAB wants day of month and day of week both to match; cron, which cronsim follows, wants either.
        cron.day_and = True
        return next(cron)

    @property
    def is_monitored(self) -> bool:
        """Whether occurrences are recorded: not for schedules that come more than once a minute."""
        if self._interval is not None:
            return self._interval >= timedelta(minutes=1)
        fields = self.expression.split()
        if len(fields) == 5 or any(field != "*" for field in fields[1:]):
            return True
        first = self.next_after(NEVER)
        return self.next_after(first) - first >= timedelta(minutes=1)


@dataclass
class ScheduleStatus:
    """What is recorded of a timer between occurrences."""

    last: datetime
    next: datetime
    last_updated: datetime

    def as_json(self) -> dict[str, str]:
        """The names and the form in which the real host stores it and hands it to the worker."""
        return {
            "Last": self.last.isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": self.last_updated.isoformat(),
        }


class ScheduleMonitor:
    """Keeps the status of each timer, in memory and, where a file is given, across restarts."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._status: dict[str, ScheduleStatus] = {}
        if path is not None and path.exists():
            for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
                last, following, updated = (datetime.fromisoformat(entry[k]) for k in ("Last", "Next", "LastUpdated"))
                self._status[name] = ScheduleStatus(last, following, updated)

    def get(self, name: str) -> ScheduleStatus | None:
        """The recorded status, or None for a timer that was never seen."""
        return self._status.get(name)

    def update(self, name: str, status: ScheduleStatus) -> None:
        """Record a status."""
        self._status[name] = status
        if self._path is not None:
            entries = {key: value.as_json() for key, value in self._status.items()}
            self._path.write_text(json.dumps(entries, indent=2), encoding="utf-8")

    def check_past_due(self, name: str, now: datetime, schedule: Schedule) -> bool:
        """Whether an occurrence was missed; a status of another schedule is replaced and counts as none."""
        status = self.get(name)
        if status is None:
            self.update(name, ScheduleStatus(NEVER, schedule.next_after(now), now))
            return False
        base = status.last if status.last != NEVER else status.last_updated
        expected = schedule.next_after(base)
        if status.next != expected:
            if now > expected:
                expected, base = schedule.next_after(now), now
            status = ScheduleStatus(NEVER, expected, base)
            self.update(name, status)
        return now > status.next


class Timer:
    """One timer function: waits for its occurrences and invokes it, one invocation at a time."""

    def __init__(
        self,
        function: FunctionInfo,
        invoker: Invoker,
        monitor: ScheduleMonitor,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self.function = function
        self.schedule = Schedule(str(function.trigger.properties["schedule"]), function.name)
        properties = function.trigger.properties
        self._run_on_startup = bool(properties.get("runOnStartup"))
        self._monitored = properties.get("useMonitor") is not False and self.schedule.is_monitored
        self._invoker = invoker
        self._monitor = monitor
        self._clock = clock
        self._sleep = sleep
        self._status: ScheduleStatus | None = None
        self._lock = asyncio.Lock()
        self._waiting: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to wait; a missed occurrence or run_on_startup is invoked at once, in the background."""
        self._waiting = asyncio.create_task(self._run(), name=f"timer {self.function.name}")

    async def stop(self) -> None:
        """Wait for no further occurrence; an invocation that runs is finished first."""
        self._stopping = True
        async with self._lock:
            if self._waiting is not None:
                self._waiting.cancel()
        if self._waiting is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._waiting

    def abandon(self) -> None:
        """Cancel an invocation that still runs after the grace period."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def fire(self, past_due: bool = False, reason: str = "This function was programmatically called") -> None:
        """Invoke once and wait for the end, after an invocation that may be running; a failure is raised."""
        async with self._lock:
            if self._stopping:
                return
            await self._invoker.invoke(self.function, self._request(past_due), reason)

    async def _run(self) -> None:
        now = self._clock()
        past_due = self._monitored and self._monitor.check_past_due(self.function.name, now, self.schedule)
        self._status = self._monitor.get(self.function.name) if self._monitored else None
        if self._status is None:
            self._status = ScheduleStatus(NEVER, self.schedule.next_after(now), NEVER)
        if past_due:
            await self._occur(past_due=True)
        elif self._run_on_startup:
            await self._occur(on_startup=True)
        while not self._stopping:
            remaining = (self._status.next - self._clock()).total_seconds()
            if remaining > 0:
                await self._sleep(min(remaining, MAX_SLEEP))
            if self._clock() >= self._status.next:
                await self._occur()

    async def _occur(self, past_due: bool = False, on_startup: bool = False) -> None:
        invoked_at = self._clock()
        reason = "Timer fired, past due" if past_due else "Timer fired on startup" if on_startup else "Timer fired"
        with contextlib.suppress(InvocationFailed):
            await self.fire(past_due, f"{reason} at {invoked_at.isoformat(timespec='seconds')}")
        # From the time of the invocation, not of its end: an occurrence that fell into it follows at once.
        self._status = ScheduleStatus(invoked_at, self.schedule.next_after(invoked_at), invoked_at)
        if self._monitored:
            self._monitor.update(self.function.name, self._status)

    def _request(self, past_due: bool) -> Any:
        status = self._status if self._monitored else None
        if status is None and self._monitored:
            status = self._monitor.get(self.function.name)
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status.as_json() if status is not None else None,
            "IsPastDue": past_due,
        }
        return decode_trigger(self.function, Datum(json.dumps(info), "json"))
