"""Spans: one for each slice, and one for each request to Graph.

A request's span has the template of its path, never its address, and no words of its answer: addresses hold cursors and
ids, and Graph's errors name people. The libraries beneath tell both, so that they are silenced.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import Span, SpanKind, StatusCode

from shared.models.errors import SynchronizationFailure
from shared.models.parts import Part
from shared.models.slices import Slice
from shared.telemetry import SCOPE
from shared.telemetry.labels import labels
from shared.telemetry.metrics import count_objects, count_throttled

_tracer = trace.get_tracer(SCOPE)


class Outcome(StrEnum):
    """What ended a slice."""

    FINISHED = "finished"
    """The part is done."""
    CONTINUES = "continues"
    """Its time was over; another message goes on."""
    THROTTLED = "throttled"
    """Graph asked to wait."""
    WAITS = "waits"
    """Graph had asked another slice of the same family to wait."""
    CURSOR_EXPIRED = "cursorExpired"
    """Graph no longer knew the cursor; the part begins anew."""
    DATABASE_BLOCKED = "databaseBlocked"
    """Nobody could write to the database."""
    UNAVAILABLE = "unavailable"
    """Graph or the database had a fault that may pass."""
    FAILED = "failed"
    """The part failed."""
    LEASE_LOST = "leaseLost"
    """Another worker has the part."""
    ERROR = "error"
    """Something that nobody foresaw."""


_TROUBLE = frozenset({Outcome.FAILED, Outcome.ERROR})


@dataclass(slots=True)
class SliceReport:
    """What is told of a slice at its end.

    Attributes:
        error_code: The code of the error that ended it, if one did.
        pages: Pages received and committed.
        objects: Objects received and committed.
    """

    outcome: Outcome = Outcome.ERROR
    error_code: str | None = None
    pages: int = 0
    objects: int = 0

    def ended(self, outcome: Outcome, error_code: str | None = None) -> None:
        """Notes what ended the slice."""
        self.outcome, self.error_code = outcome, error_code


@dataclass(slots=True)
class _RequestReport:
    """What is told of a request to Graph at its end.

    Attributes:
        attempts: How often it was sent.
        status: The status of the last answer; None while there is none.
        resource_units: What Graph took for it; 0 where it did not tell.
    """

    organization: str
    part: Part
    attempts: int = 0
    status: int | None = None
    resource_units: int = 0


_slice: ContextVar[SliceReport | None] = ContextVar("slice", default=None)
_request: ContextVar[_RequestReport | None] = ContextVar("request", default=None)


@contextmanager
def slice_span(work: Slice) -> Generator[SliceReport]:
    """The span of a slice, which ends with the ``with`` block and tells what its report then holds."""
    report = SliceReport()
    about = {**labels(work), "stage": work.stage, "type": work.type}
    with _span(f"slice {work.part.name}", SpanKind.INTERNAL, about) as span:
        token = _slice.set(report)
        try:
            yield report
        finally:
            _slice.reset(token)
            span.set_attributes({"outcome": report.outcome, "pages": report.pages, "objects": report.objects})
            _tell_error(span, report.error_code, failed=report.outcome in _TROUBLE)


def note_received(work: Slice, *, pages: int, objects: int) -> None:
    """What the slice received is committed."""
    count_objects(work.organization.name, work.part.name, objects)
    if (report := _slice.get()) is not None:
        report.pages += pages
        report.objects += objects


@contextmanager
def request_span(organization: str, part: Part, method: str, path: str) -> Generator[None]:
    """The span of one request with all its attempts; ``path`` has ``{id}`` in place of ids and no query."""
    report = _RequestReport(organization, part)
    about = {
        "http.request.method": method,
        "url.template": path,
        # Azure Monitor names a request by its address and by nothing else.
        "url.full": path,
        "peer.service": "Microsoft Graph",
        "organization": organization,
        "part": part.name,
    }
    with _span(f"{method} {path}", SpanKind.CLIENT, about) as span:
        token = _request.set(report)
        try:
            yield
        except Exception as error:
            code = error.code if isinstance(error, SynchronizationFailure) else type(error).__name__
            _tell_error(span, code, failed=True)
            raise
        finally:
            _request.reset(token)
            span.set_attributes({"attempts": report.attempts, "resource_units": report.resource_units})
            if report.status is not None:
                span.set_attribute("http.response.status_code", report.status)


def note_attempt() -> None:
    """The request under way is sent."""
    if (report := _request.get()) is not None:
        report.attempts += 1


def note_answer(status: int, *, asks_to_wait: bool) -> None:
    """An attempt of the request under way was answered."""
    if (report := _request.get()) is not None:
        report.status = status
        if asks_to_wait:
            count_throttled(report.organization, report.part.family)


def note_resource_units(units: int) -> None:
    """Graph took so many for the request under way."""
    if (report := _request.get()) is not None:
        report.resource_units += units


def silence_libraries() -> None:
    """Has no spans recorded from now on but the product's own, whatever else is instrumented and however is sampled.

    Nothing that is public does: samplers are not told whose span it is, nor, by most libraries, under which one.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return
    from opentelemetry.sdk.trace import TracerProvider, _TracerConfig  # pyright: ignore[reportPrivateUsage]

    assert isinstance(provider, TracerProvider)
    provider._set_tracer_configurator(  # pyright: ignore[reportPrivateUsage]
        tracer_configurator=lambda scope: _TracerConfig(is_enabled=scope.name == SCOPE)
    )


@contextmanager
def _span(name: str, kind: SpanKind, about: dict[str, str]) -> Generator[Span]:
    with _tracer.start_as_current_span(
        name,
        # As it is by default; but then Azure Monitor's sampler would not see it, and decide anew for each request.
        context=get_current(),
        kind=kind,
        attributes=about,
        # An exception's own words are for nobody else to read.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def _tell_error(span: Span, code: str | None, *, failed: bool) -> None:
    if code is not None:
        span.set_attribute("error.type", code)
    if failed:
        span.set_status(StatusCode.ERROR)
