"""The metrics: what counts up while the service works, and the state of organizations, told by a timer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation

from shared.models.measures import OrganizationMeasures
from shared.models.parts import Family
from shared.telemetry import SCOPE

_GAUGES = {
    "sync.lag": ("s", "Time since the start of the part's last successful run"),
    "sync.quarantined": ("1", "1 while the organization's job is in quarantine, else 0"),
    "sync.escrows": ("{object}", "Objects put aside because they could not be read or kept, where there are any"),
    "sync.held_deletions": ("{object}", "Deletions that wait for approval, where there are any"),
    "sync.drift": ("{object}", "Objects that the cache had more than Graph counted, where it differed"),
}
"""The unit and meaning of each part of an organization's state."""

_measured: dict[str, list[Observation]] = {}
"""What has been measured and not told yet."""


def _tell(name: str, options: CallbackOptions) -> Iterable[Observation]:
    """Once: a gauge that is set repeats its value for as long as its process lives, though another one knows better."""
    return _measured.pop(name, [])


_meter = metrics.get_meter(SCOPE)
_objects = _meter.create_counter("sync.objects", "{object}", "Objects received from Graph")
_throttled = _meter.create_counter("sync.throttled", "{answer}", "Answers by which Graph asked to wait")
_dead_messages = _meter.create_counter("sync.dead_messages", "{message}", "Messages that the queue gave up")
for _name, (_unit, _meaning) in _GAUGES.items():
    _meter.create_observable_gauge(_name, [partial(_tell, _name)], _unit, _meaning)


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
    """Tells the state of organizations as it is now, with the next export."""
    found: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in measured:
        organization = {"organization": one.organization}
        found["sync.quarantined"].append(Observation(int(one.quarantined), organization))
        for part in one.parts:
            labels = {**organization, "part": part.part}
            if part.lag is not None:
                found["sync.lag"].append(Observation(part.lag.total_seconds(), labels))
            waiting = {
                "sync.escrows": part.escrows,
                "sync.held_deletions": part.held_deletions,
                "sync.drift": part.drift,
            }
            for name, number in waiting.items():
                if number:
                    found[name].append(Observation(number, labels))
    _measured.update({name: found[name] for name in _GAUGES})
