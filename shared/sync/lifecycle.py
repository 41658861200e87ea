"""The life of a job as a table. Pure.

What a job shows as ``schedule.state`` and ``status.code`` follows from its condition; the code of a started job is
NotRun until its first run has ended (graph.md appendix B.3).

    Condition     schedule.state   status.code
    NEW           Disabled         NotConfigured
    VERIFIED      Disabled         NotRun
    STARTED       Active           NotRun, then Active
    PAUSED        Disabled         Paused
    QUARANTINED   Active           Quarantine
    EXPIRED       Disabled         Quarantine

    Event                      NEW        VERIFIED   STARTED      PAUSED     QUARANTINED  EXPIRED
    credentials verified       VERIFIED   -          -            -          -            -
    start                      STARTED    STARTED    -            STARTED    STARTED      STARTED
    restart                    STARTED    STARTED    -            STARTED    STARTED      STARTED
    restart, quarantine kept   STARTED    STARTED    -            STARTED    -            QUARANTINED
    pause                      PAUSED     PAUSED     PAUSED       -          PAUSED       PAUSED
    run ended                  -          -          -            -          STARTED      -
    quarantine imposed         -          -          QUARANTINED  -          -            -
    quarantine expired         -          -          -            -          EXPIRED      -
    escrows pruned             -          -          PAUSED       -          PAUSED       -

A dash leaves the condition as it is: every event may come at any time, and twice (the SDK sends a POST again).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum

from shared.models.synchronization import ScheduleState, StatusCode


class Condition(Enum):
    """Where a job is in its life: its schedule's state, and its code once it has run."""

    NEW = (ScheduleState.DISABLED, StatusCode.NOT_CONFIGURED)
    VERIFIED = (ScheduleState.DISABLED, StatusCode.NOT_RUN)
    STARTED = (ScheduleState.ACTIVE, StatusCode.ACTIVE)
    PAUSED = (ScheduleState.DISABLED, StatusCode.PAUSED)
    QUARANTINED = (ScheduleState.ACTIVE, StatusCode.QUARANTINE)
    EXPIRED = (ScheduleState.DISABLED, StatusCode.QUARANTINE)

    @property
    def schedule_state(self) -> ScheduleState:
        """What the job shows as ``schedule.state``."""
        return self.value[0]

    def status_code(self, *, has_run: bool) -> StatusCode:
        """What the job shows as ``status.code``."""
        return StatusCode.NOT_RUN if self is Condition.STARTED and not has_run else self.value[1]

    @classmethod
    def of(cls, schedule_state: ScheduleState, status_code: StatusCode) -> Condition:
        """The condition of a job that shows these.

        Raises:
            ValueError: No job may show these together.
        """
        if (schedule_state, status_code) == (ScheduleState.ACTIVE, StatusCode.NOT_RUN):
            return cls.STARTED
        return cls((schedule_state, status_code))


class Event(StrEnum):
    """What happens to a job."""

    VERIFIED = "credentials verified"
    START = "start"
    RESTART = "restart"
    RESTART_IN_QUARANTINE = "restart, quarantine kept"
    PAUSE = "pause"
    RUN_ENDED = "run ended"
    QUARANTINE = "quarantine imposed"
    EXPIRE = "quarantine expired"
    ESCROWS_PRUNED = "escrows pruned"


_C, _E = Condition, Event

TRANSITIONS: Mapping[Event, Mapping[Condition, Condition]] = {
    _E.VERIFIED: {_C.NEW: _C.VERIFIED},
    _E.START: {
        _C.NEW: _C.STARTED, _C.VERIFIED: _C.STARTED, _C.PAUSED: _C.STARTED, _C.QUARANTINED: _C.STARTED,
        _C.EXPIRED: _C.STARTED,
    },
    _E.RESTART: {
        _C.NEW: _C.STARTED, _C.VERIFIED: _C.STARTED, _C.PAUSED: _C.STARTED, _C.QUARANTINED: _C.STARTED,
        _C.EXPIRED: _C.STARTED,
    },
    _E.RESTART_IN_QUARANTINE: {
        _C.NEW: _C.STARTED, _C.VERIFIED: _C.STARTED, _C.PAUSED: _C.STARTED, _C.EXPIRED: _C.QUARANTINED,
    },
    _E.PAUSE: {
        _C.NEW: _C.PAUSED, _C.VERIFIED: _C.PAUSED, _C.STARTED: _C.PAUSED, _C.QUARANTINED: _C.PAUSED,
        _C.EXPIRED: _C.PAUSED,
    },
    _E.RUN_ENDED: {_C.QUARANTINED: _C.STARTED},
    _E.QUARANTINE: {_C.STARTED: _C.QUARANTINED},
    _E.EXPIRE: {_C.QUARANTINED: _C.EXPIRED},
    _E.ESCROWS_PRUNED: {_C.STARTED: _C.PAUSED, _C.QUARANTINED: _C.PAUSED},
}  # fmt: skip
"""The table: events, conditions that they change, and what those become."""


def after(condition: Condition, event: Event) -> Condition:
    """The condition after an event."""
    return TRANSITIONS[event].get(condition, condition)


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/job-lifecycle.md."""
    lines = ["stateDiagram-v2", "    [*] --> NEW: registered"]
    for event, changes in TRANSITIONS.items():
        lines += [f"    {before.name} --> {following.name}: {event}" for before, following in changes.items()]
    return "\n".join(lines)
