"""The state of all organizations in numbers, as those who watch over them see it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from shared.cache import measures, organizations, parity
from shared.cache import tables as t
from shared.models.measures import OrganizationMeasures, PartMeasures
from shared.models.organizations import Organization
from shared.models.parity import Parity
from shared.models.parts import PartName
from shared.models.records import BrokenRecord
from shared.models.runs import RunType
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LATER, NOW, Cache, hard_deleted, live

USERS, GROUPS = PartName.USERS, PartName.GROUPS
NOTHING_WAITS = {"escrows": 0, "held_deletions": 0, "drift": None}


@pytest.fixture
def contoso(cache: Cache) -> Organization:
    return cache.register(parts=["users", "groups"])


def measured(cache: Cache) -> list[OrganizationMeasures]:
    return list(cache.read(lambda c: measures.read(c, LATER)))


def state(cache: Cache, organization: Organization, **columns: object) -> None:
    """The job's condition."""
    mine = t.jobs.c.organization_id == organization.key
    cache.write(lambda c: c.execute(update(t.jobs).where(mine).values(**columns)))


def part(cache: Cache, name: PartName = USERS) -> PartMeasures:
    (organization,) = measured(cache)
    return next(one for one in organization.parts if one.part == name)


def test_a_parts_lag_counts_from_its_last_successful_run_or_from_the_registration(
    cache: Cache, contoso: Organization
) -> None:
    state(cache, contoso, schedule_state="Active", status_code="Active")
    cache.run(contoso, USERS, live("u1"), now=NOW + timedelta(minutes=20))

    assert measured(cache) == [
        OrganizationMeasures(
            "contoso1.com",
            quarantined=False,
            parts=[
                PartMeasures(GROUPS, lag=timedelta(minutes=60), **NOTHING_WAITS),
                PartMeasures(USERS, lag=timedelta(minutes=40), **NOTHING_WAITS),
            ],
        )
    ]


def test_a_job_at_rest_has_no_lag(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("u1"))
    assert part(cache).lag is None


def test_a_quarantine_is_told_and_the_lag_goes_on(cache: Cache, contoso: Organization) -> None:
    began = {f"quarantine_{name}": NOW for name in ("current_began_at", "series_began_at", "next_attempt_at")}
    told = {"quarantine_reason": "Unknown", "quarantine_series_count": 0, **began}
    state(cache, contoso, schedule_state="Active", status_code="Quarantine", **told)

    (organization,) = measured(cache)

    assert organization.quarantined
    assert [one.lag for one in organization.parts] == [timedelta(hours=1)] * 2


def test_objects_put_aside_and_drift_are_told_of_their_part(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    error = SynchronizationError(code="MalformedRecord", message="It has no id.")
    cache.apply_page(work, live("u1"), broken=[BrokenRecord(name, error, b"{}") for name in ("u2", "u3")])
    cache.write(lambda c: parity.save(c, contoso.key, USERS, Parity(NOW, expected=3, cached=1), None))

    assert (part(cache).escrows, part(cache).drift) == (2, -2)
    assert (part(cache, GROUPS).escrows, part(cache, GROUPS).drift) == (0, None)


def test_deletions_are_told_once_they_wait_for_approval_and_not_while_a_run_collects_them(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("u1"), live("u2"))
    work = cache.begin(contoso, run_type=RunType.INCREMENTAL)
    cache.apply_page(work, hard_deleted("u1"), hard_deleted("u2"))
    cache.carry_out_deletions(work, threshold=1)
    assert part(cache).held_deletions == 0

    cache.finish(work)
    assert part(cache).held_deletions == 2


def test_organizations_that_were_removed_are_not_told_of(cache: Cache, contoso: Organization) -> None:
    cache.register(2)
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    assert [one.organization for one in measured(cache)] == ["contoso2.com"]
