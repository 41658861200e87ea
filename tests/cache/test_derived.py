"""The rows that a derived part is about: found by key, in readings of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from shared.cache import derived, organizations, slices
from shared.models.derivation import Place
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, PartName
from shared.models.records import BrokenRecord, ObjectRecord, Removal
from shared.models.runs import RunType
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LEASE, NOW, Cache, hard_deleted, live, soft_deleted

USERS, TEAMS, CHANNELS = PartName.USERS, PartName.TEAMS, PartName.CHANNELS
TEAM = {"resourceProvisioningOptions": ["Team"]}
FULL, INCREMENTAL = RunType.FULL, RunType.INCREMENTAL


def walk(cache: Cache, key: int, place: Place, limit: int, *, changed_only: bool) -> list[tuple[str, bool]]:
    """Every object that a listing comes by, and whether people see it."""
    found: list[tuple[str, bool]] = []
    while True:
        read: tuple[Sequence[derived.SourceObject], str | None] = cache.read(
            lambda c, place=place: derived.next_objects(c, key, USERS, place, limit, changed_only=changed_only)
        )
        found += [(one.object_id, one.live) for one in read[0]]
        if read[1] is None:
            return found
        place = replace(place, after=read[1])


def last_change(cache: Cache, organization: Organization) -> int:
    return cache.read(lambda c: organizations.last_change_number(c, organization.key))


def channel(team: str, name: str) -> ObjectRecord:
    return ObjectRecord(f"{team}/{name}", {**dict.fromkeys(CATALOGUE[CHANNELS].properties), "id": name, "teamId": team})


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_walk_comes_by_every_object_once_whatever_a_reading_holds(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, limit: int, rows: int
) -> None:
    monkeypatch.setattr(derived, "ROWS_PER_READING", rows)
    contoso = cache.register()
    cache.run(contoso, USERS, *(live(name) for name in "abcdef"))
    before = last_change(cache, contoso)
    cache.run(contoso, USERS, live("b", displayName="New"), soft_deleted("d"), hard_deleted("e"), run_type=INCREMENTAL)
    now = last_change(cache, contoso)
    cache.run(contoso, USERS, live("f", displayName="Later"), run_type=INCREMENTAL)

    everything = walk(cache, contoso.key, Place(0, now), limit, changed_only=False)
    assert everything == [(name, True) for name in "abcf"]
    changed = walk(cache, contoso.key, Place(before, now), limit, changed_only=True)
    assert changed == [("b", True), ("d", False), ("e", False)]


def test_what_was_derived_is_found_by_its_source_and_nothing_beside_it(cache: Cache) -> None:
    contoso, other = cache.register(1), cache.register(2)
    for organization in (contoso, other):
        records = [channel("a", "1"), channel("a", "2"), channel("a0", "3"), channel("a-", "4"), channel("b", "5")]
        cache.run(organization, CHANNELS, *records)
    cache.run(contoso, CHANNELS, hard_deleted("a/2"), run_type=INCREMENTAL)
    part = CATALOGUE[CHANNELS]
    assert cache.read(lambda c: derived.find_derived(c, contoso.key, part, ["a", "b"])) == ["a/1", "b/5"]
    assert cache.read(lambda c: derived.find_some(c, contoso.key, part, ["a", "a0", "a-"], 9)) == ["b/5"]
    assert cache.read(lambda c: derived.find_some(c, contoso.key, part, ["a", "a0", "a-", "b"], 9)) == []


def test_only_what_goes_with_its_source_goes_without_approval(cache: Cache) -> None:
    contoso = cache.register()
    cache.run(contoso, TEAMS, live("a", **TEAM), live("b", **TEAM))
    cache.run(contoso, CHANNELS, channel("a", "1"), channel("b", "2"))
    cache.run(contoso, TEAMS, hard_deleted("a"), run_type=INCREMENTAL)
    work = cache.begin(contoso, CHANNELS, INCREMENTAL)
    cache.apply_page(work, *(ObjectRecord(key, removal=Removal.HARD_DELETED) for key in ("a/1", "b/2")))
    cache.carry_out_deletions(work, threshold=0)
    assert cache.live_objects(contoso, CHANNELS) == {"b/2"}


def test_the_channels_of_a_team_that_failed_outlive_a_full_run(cache: Cache) -> None:
    contoso = cache.register()
    cache.run(contoso, CHANNELS, channel("a", "1"), channel("b", "2"))
    work = cache.begin(contoso, CHANNELS, FULL)
    failed = BrokenRecord("a", SynchronizationError(code="x", message="y"), b'{"id":"a"}')
    assert cache.apply_page(work, broken=[failed]).imported == 1
    cache.sweep(cache.listed(work))
    assert cache.live_objects(contoso, CHANNELS) == {"a/1"}


def test_channels_are_read_in_full_when_their_last_complete_listing_is_too_old(cache: Cache) -> None:
    contoso = cache.register()
    cache.run(contoso, CHANNELS, now=NOW)
    types: list[RunType] = []
    for minutes in (59, 60, 61):
        moment = NOW.replace(hour=NOW.hour + minutes // 60, minute=minutes % 60)
        (message,) = cache.queue(contoso, CHANNELS, run_type=INCREMENTAL, now=moment)
        work = cache.write(partial(slices.take, message=message, now=moment, lease=LEASE, relist_after=LEASE * 30))
        assert work is not None
        types.append(work.type)
        cache.finish(work, now=moment)
    assert types == [INCREMENTAL, FULL, INCREMENTAL]
