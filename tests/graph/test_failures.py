"""What Graph's error answers mean for a part, and what people are told of them."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.graph.failures import failure_of_answer, retry_after
from shared.models.errors import (
    CursorExpired,
    GraphNotFound,
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    SynchronizationFailure,
)
from shared.models.parts import CATALOGUE, PartName

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
SITES = CATALOGUE[PartName.SITES]


def failure(status: int, code: str | None = None, **headers: str) -> SynchronizationFailure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure_of_answer(SITES, "/sites/delta", status, code, named, NOW)


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (400, "syncStateNotFound", CursorExpired, "syncStateNotFound"),
        (400, "SyncStateNotFound", CursorExpired, "SyncStateNotFound"),
        (404, "resyncRequired", CursorExpired, "resyncRequired"),
        (410, "resyncChangesApplyDifferences", CursorExpired, "resyncChangesApplyDifferences"),
        (410, "resyncChangesUploadDifferences", CursorExpired, "resyncChangesUploadDifferences"),
        (410, None, CursorExpired, "syncStateNotFound"),
        (410, "UnknownError", CursorExpired, "UnknownError"),
        (429, None, GraphThrottled, "TooManyRequests"),
        (408, None, GraphUnavailable, "serviceNotAvailable"),
        (500, "InternalServerError", GraphUnavailable, "InternalServerError"),
        (502, None, GraphUnavailable, "serviceNotAvailable"),
        (503, None, GraphUnavailable, "serviceNotAvailable"),
        (504, "GatewayTimeout", GraphUnavailable, "GatewayTimeout"),
        (509, "activityLimitReached", GraphThrottled, "TooManyRequests"),
        (423, "resourceLocked", GraphRefused, "resourceLocked"),
        (400, "BadRequest", GraphRefused, "BadRequest"),
        (400, None, GraphRefused, "BadRequest"),
        (404, "Request_ResourceNotFound", GraphNotFound, "Request_ResourceNotFound"),
        (404, "itemNotFound", GraphNotFound, "itemNotFound"),
        (404, "Directory_ObjectNotFound", GraphRefused, "Directory_ObjectNotFound"),
        (404, None, GraphRefused, "BadRequest"),
        (400, "itemNotFound", GraphRefused, "itemNotFound"),
        (302, None, GraphRefused, "BadRequest"),
        (401, None, GraphRefused, "InvalidAuthenticationToken"),
        (403, "Authorization_RequestDenied", GraphRefused, "Authorization_RequestDenied"),
        (403, None, GraphRefused, "Authorization_RequestDenied"),
    ],
)
def test_every_answer_has_its_meaning(
    status: int, code: str | None, kind: type[SynchronizationFailure], told: str
) -> None:
    found = failure(status, code)
    assert type(found) is kind
    assert found.code == told
    assert str(status) in found.message


def test_a_missing_permission_is_named_and_the_tenant_can_grant_it() -> None:
    found = failure(403, "accessDenied")
    assert "Sites.Read.All" in found.message
    assert found.tenant_actionable


def test_a_refused_credential_can_be_repaired_by_the_tenant_a_bad_request_not() -> None:
    assert failure(401).tenant_actionable
    assert not failure(400, "BadRequest").tenant_actionable
    assert not failure(500).tenant_actionable


@pytest.mark.parametrize("status", [429, 503, 504, 509])
@pytest.mark.parametrize(
    ("advice", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), 120.0),
        ("Fri, 02 Jan 2026 03:02:00 -0000", 120.0),
        ("Friday, 02-Jan-26 03:02:00 GMT", 120.0),
        ("Fri Jan  2 03:02:00 2026", 120.0),
        (format_datetime(NOW - timedelta(minutes=2), usegmt=True), 0.0),
    ],
)
def test_the_wait_that_is_asked_for_is_taken_from_seconds_and_from_dates(
    status: int, advice: str, seconds: float
) -> None:
    found = failure(status, retry_after=advice)
    assert isinstance(found, GraphThrottled)
    assert found.retry_after == seconds


@pytest.mark.parametrize("headers", [{}, {"retry_after": "soon"}, {"retry_after": ""}])
def test_throttling_without_advice_waits_for_a_minute(headers: dict[str, str]) -> None:
    found = failure(429, **headers)
    assert isinstance(found, GraphThrottled)
    assert found.retry_after == 60


def test_an_error_of_graphs_own_without_advice_is_no_throttling() -> None:
    assert type(failure(503, retry_after="soon")) is GraphUnavailable


def test_the_request_can_be_found_again_at_microsoft() -> None:
    found = failure(500, "InternalServerError", request_id="7b0d3c52-6f0a-4a53-9f5e-0d7c6a1b2c3d")
    assert "7b0d3c52-6f0a-4a53-9f5e-0d7c6a1b2c3d" in found.message
    assert "/sites/delta" in found.message


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410, 429, 500, 503])
def test_no_header_that_may_hold_a_secret_is_repeated(status: int) -> None:
    secret = "https://graph.microsoft.com/v1.0/sites/delta?$deltatoken=hunter2"
    found = failure(status, location=secret, www_authenticate="Bearer hunter2", set_cookie="hunter2", server=secret)
    assert "hunter2" not in found.message


@given(st.text() | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(format_datetime))
def test_any_retry_after_is_a_wait_of_finite_length_or_none(value: str) -> None:
    wait = retry_after(value, NOW)
    assert wait is None or (math.isfinite(wait) and wait >= 0)


@pytest.mark.parametrize("value", ["1e300", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_any_wait_leads_to_a_moment(value: str) -> None:
    # The planner wakes the part at that moment; what does not fit into a datetime would end the slice unforeseen.
    wait = retry_after(value, NOW)
    assert wait is None or NOW + timedelta(seconds=wait) >= NOW
