"""What differing numbers mean, and which groups are looked at: the pure part of the comparison with Graph's counts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.parity import Parity
from shared.sync.parity import Verdict, judge, sample

NOW = datetime(2026, 1, 2, 2, 30, tzinfo=UTC)
IDS = st.sets(st.uuids().map(str), max_size=60)


def drifted(by: int) -> Parity:
    return Parity(NOW, expected=100, cached=100 + by)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (None, 0, Verdict.LEAVE),
        (None, -1, Verdict.LOOK_AGAIN),
        (None, +1, Verdict.LOOK_AGAIN),
        (-1, 0, Verdict.LEAVE),
        (-1, -1, Verdict.HEAL),
        (-3, -1, Verdict.HEAL),
        (-1, -3, Verdict.HEAL),
        (+2, +2, Verdict.HEAL),
        (-1, +1, Verdict.LEAVE),
        (+1, -1, Verdict.LEAVE),
    ],
)
def test_a_difference_is_healed_when_the_second_look_finds_it_still(
    first: int | None, second: int, expected: Verdict
) -> None:
    before = None if first is None else drifted(first)
    assert judge(drifted(second), before, explained=0) is expected


@pytest.mark.parametrize("before", [None, drifted(-1)])
@pytest.mark.parametrize("drift", [-2, 0, 2])
def test_a_difference_of_a_known_reason_is_left_alone(before: Parity | None, drift: int) -> None:
    assert judge(drifted(drift), before, explained=abs(drift)) is Verdict.LEAVE


def test_drift_says_how_many_the_cache_has_too_many() -> None:
    assert (drifted(-4).drift, drifted(3).drift) == (-4, 3)


@given(ids=IDS, size=st.integers(1, 20), seed=st.text(max_size=5))
def test_a_sample_has_as_many_different_ids_as_are_wanted_and_there(ids: set[str], size: int, seed: str) -> None:
    chosen = sample(ids, size, seed)
    assert len(chosen) == len(set(chosen)) == min(size, len(ids))
    assert set(chosen) <= ids


@given(ids=IDS, gone=st.data(), size=st.integers(1, 20))
def test_the_same_seed_chooses_the_same_though_others_come_and_go(
    ids: set[str], gone: st.DataObject, size: int
) -> None:
    chosen = set(sample(sorted(ids), size, "night"))
    others = sorted(ids - chosen)
    removed = gone.draw(st.sets(st.sampled_from(others))) if others else set()
    assert set(sample(ids - removed, size, "night")) == chosen


def test_every_group_is_chosen_some_night() -> None:
    ids = [f"group {number}" for number in range(50)]
    assert {group for night in range(60) for group in sample(ids, 10, f"night {night}")} == set(ids)
