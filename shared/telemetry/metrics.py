"""The metrics: what counts up while the service works, and the state of organizations, told by a timer."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry import metrics, trace

from shared.models.measures import OrganizationMeasures
from shared.models.parts import Family
from shared.telemetry import SCOPE

_meter = metrics.get_meter(SCOPE)

_objects = _meter.create_counter("sync.objects", "{object}", "Objects received from Graph")
_throttled = _meter.create_counter("sync.throttled", "{answer}", "Answers by which Graph asked to wait")
_dead_messages = _meter.create_counter("sync.dead_messages", "{message}", "Messages that the queue gave up")
_lag = _meter.create_gauge("sync.lag", "s", "Time since the start of the part's last successful run")
_quarantined = _meter.create_gauge("sync.quarantined", "1", "1 while the organization's job is in quarantine, else 0")
_escrows = _meter.create_gauge("sync.escrows", "{object}", "Objects put aside because they could not be read or kept")
_held_deletions = _meter.create_gauge("sync.held_deletions", "{object}", "Deletions that wait for approval")
_drift = _meter.create_gauge("sync.drift", "{object}", "Objects that the cache has more than Graph counted")


def count_objects(organization: str, part: str, number: int) -> None:
    """Objects that were received and are committed."""
    _objects.add(number, {"organization": organization, "part": part})


def count_throttled(organization: str, family: Family, number: int = 1) -> None:
    """Answers that asked to wait, for however long."""
    _throttled.add(number, {"organization": organization, "family": family})


def count_dead_message(queue: str) -> None:
    """A message that failed at each of its deliveries."""
    _dead_messages.add(1, {"queue": queue})


def are_exported() -> bool:
    """Whether anybody gets to see the metrics; the worker sets up spans and metrics together."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def record_measures(measured: Iterable[OrganizationMeasures]) -> None:
    """Tells the state of organizations as it is now."""
    for one in measured:
        organization = {"organization": one.organization}
        _quarantined.set(int(one.quarantined), organization)
        for part in one.parts:
            labels = {**organization, "part": part.part}
            _escrows.set(part.escrows, labels)
            _held_deletions.set(part.held_deletions, labels)
            if part.lag is not None:
                _lag.set(part.lag.total_seconds(), labels)
            if part.drift is not None:
                _drift.set(part.drift, labels)
