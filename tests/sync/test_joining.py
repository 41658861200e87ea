"""What a start does when runs are under way: it joins, widens or queues, and what is asked is always done."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Counts, PartRun, Run, RunStatus, RunType
from shared.sync.joining import Join, Queue, Widen, decide_start

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
FULL, INCREMENTAL = RunType.FULL, RunType.INCREMENTAL
NOW = datetime(2026, 1, 2, tzinfo=UTC)
Types = dict[PartName, RunType]


def run(name: str, status: RunStatus, types: Types) -> Run:
    parts = tuple(PartRun(part, kind, status, 0, None, Counts(), None, None, None) for part, kind in types.items())
    kind = INCREMENTAL if INCREMENTAL in types.values() else FULL
    return Run(name, "contoso.com", kind, status, NOW, None, None, None, Counts(), parts)


def running(**types: RunType) -> Run:
    return run("running", RunStatus.RUNNING, {PartName(name): kind for name, kind in types.items()})


def queued(**types: RunType) -> Run:
    return run("queued", RunStatus.QUEUED, {PartName(name): kind for name, kind in types.items()})


def result(decision: Join | Widen | Queue, before: Run | None) -> Types:
    """The parts of the run that the start is told, as they then are."""
    match decision:
        case Queue():
            return dict(decision.parts)
        case Join():
            assert before is not None
            return {part.part: part.type for part in before.parts}
        case Widen():
            assert before is not None
            types = {part.part: part.type for part in before.parts}
            return types | dict.fromkeys(decision.in_full, FULL) | dict(decision.added)


@pytest.mark.parametrize(
    ("kind", "wanted", "under_way", "expected"),
    [
        (INCREMENTAL, [USERS], (None, None), Queue(INCREMENTAL, {USERS: INCREMENTAL})),
        (FULL, [GROUPS, USERS], (None, None), Queue(FULL, {USERS: FULL, GROUPS: FULL})),
        # The running run does it.
        (INCREMENTAL, [USERS], (running(users=INCREMENTAL, groups=INCREMENTAL), None), Join("running")),
        (INCREMENTAL, [USERS], (running(users=FULL), None), Join("running")),
        (FULL, [USERS], (running(users=FULL), queued(users=FULL)), Join("running")),
        # The running run does less.
        (FULL, [USERS], (running(users=INCREMENTAL), None), Queue(FULL, {USERS: FULL})),
        (INCREMENTAL, [SITES], (running(users=INCREMENTAL), None), Queue(INCREMENTAL, {SITES: INCREMENTAL})),
        # The queued run does it.
        (INCREMENTAL, [USERS], (None, queued(users=INCREMENTAL)), Join("queued")),
        (FULL, [USERS], (running(users=INCREMENTAL), queued(users=FULL)), Join("queued")),
        # The queued run is made to do it.
        (FULL, [USERS], (None, queued(users=INCREMENTAL)), Widen("queued", FULL, {USERS}, {})),
        (
            FULL,
            [USERS],
            (None, queued(users=INCREMENTAL, groups=INCREMENTAL)),
            Widen("queued", INCREMENTAL, {USERS}, {}),
        ),
        (INCREMENTAL, [SITES], (None, queued(users=FULL)), Widen("queued", INCREMENTAL, set(), {SITES: INCREMENTAL})),
        (FULL, [SITES], (None, queued(users=FULL)), Widen("queued", FULL, set(), {SITES: FULL})),
    ],
)
def test_a_start_beside_other_runs(
    kind: RunType, wanted: list[PartName], under_way: tuple[Run | None, Run | None], expected: Join | Widen | Queue
) -> None:
    assert decide_start(kind, wanted, [], *under_way) == expected


def test_a_part_without_a_cursor_is_read_in_full_either_way() -> None:
    expected = Queue(INCREMENTAL, {USERS: INCREMENTAL, SITES: FULL})
    assert decide_start(INCREMENTAL, [USERS, SITES], [SITES, TEAMS], None, None) == expected
    assert decide_start(INCREMENTAL, [SITES], [SITES, TEAMS], None, None) == Queue(FULL, {SITES: FULL})


SOME_PARTS = st.lists(st.sampled_from(PartName), min_size=1, unique=True)
SOME_TYPES = st.dictionaries(st.sampled_from(PartName), st.sampled_from(RunType), min_size=1)
RUNNING = st.none() | SOME_TYPES.map(lambda types: run("running", RunStatus.RUNNING, types))
QUEUED = st.none() | SOME_TYPES.map(lambda types: run("queued", RunStatus.QUEUED, types))
NO_CURSOR = st.lists(st.sampled_from(PartName), unique=True)
START = (st.sampled_from(RunType), SOME_PARTS, NO_CURSOR, RUNNING, QUEUED)


def told(decision: Join | Widen | Queue, now_running: Run | None, now_queued: Run | None) -> Run | None:
    name = None if isinstance(decision, Queue) else decision.activity_identifier
    return {"running": now_running, "queued": now_queued}.get(name or "")


@given(*START)
def test_there_is_never_a_second_queued_run_and_a_running_one_is_never_changed(
    kind: RunType, wanted: list[PartName], without: list[PartName], now_running: Run | None, now_queued: Run | None
) -> None:
    decision = decide_start(kind, wanted, without, now_running, now_queued)
    if isinstance(decision, Queue):
        assert now_queued is None
    if isinstance(decision, Widen):
        assert now_queued is not None
        assert decision.activity_identifier == "queued"


@given(*START)
def test_what_is_asked_is_always_done_by_the_run_that_is_told(
    kind: RunType, wanted: list[PartName], without: list[PartName], now_running: Run | None, now_queued: Run | None
) -> None:
    decision = decide_start(kind, wanted, without, now_running, now_queued)
    types = result(decision, told(decision, now_running, now_queued))
    for name in wanted:
        assert types.get(name) in (FULL, FULL if name in without else kind)


@given(*START)
def test_nothing_that_was_asked_before_is_done_less(
    kind: RunType, wanted: list[PartName], without: list[PartName], now_running: Run | None, now_queued: Run | None
) -> None:
    assume(now_queued is not None)
    assert now_queued is not None
    decision = decide_start(kind, wanted, without, now_running, now_queued)
    if isinstance(decision, Widen):
        types = result(decision, now_queued)
        for part in now_queued.parts:
            assert types[part.part] in (FULL, part.type)
        assert decision.run_type is (INCREMENTAL if INCREMENTAL in types.values() else FULL)


@given(*START)
def test_the_same_start_again_joins_the_run_of_the_first(
    kind: RunType, wanted: list[PartName], without: list[PartName], now_running: Run | None, now_queued: Run | None
) -> None:
    decision = decide_start(kind, wanted, without, now_running, now_queued)
    if isinstance(decision, Join):
        return
    then_queued = run("queued", RunStatus.QUEUED, result(decision, now_queued))
    assert decide_start(kind, wanted, without, now_running, then_queued) == Join("queued")


@given(SOME_PARTS)
def test_parts_are_queued_in_the_catalogues_order(wanted: list[PartName]) -> None:
    decision = decide_start(FULL, wanted, [], None, None)
    assert isinstance(decision, Queue)
    assert list(decision.parts) == [name for name in CATALOGUE if name in wanted]
