"""A job's settings: Graph's synchronizationJobSettings and what they stand for, and the bodies that change a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.models.jobs import Job
from shared.models.parts import CATALOGUE, PartName, lacks_source
from shared.models.synchronization import (
    KeyValuePair,
    iso_duration,
    parse_duration,
)

DELETION_THRESHOLD = "QuarantineTooManyDeletesThreshold"
INTERVAL = "SynchronizationInterval"
PARTS = "Parts"

_NO_THRESHOLD = "None"
_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(days=365)
_LARGEST_THRESHOLD = 2**31 - 1


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Settings that are given; what is not given stays as it is.

    Attributes:
        interval: The time between the starts of runs.
        deletion_threshold: How many deletions a part's run carries out unasked.
        without_deletion_threshold: Whether it carries out any number.
        parts: What is synchronized, in the catalogue's order.
    """

    interval: timedelta | None = None
    deletion_threshold: int | None = None
    without_deletion_threshold: bool = False
    parts: tuple[PartName, ...] | None = None


def settings_of(job: Job, parts: Sequence[PartName]) -> list[KeyValuePair]:
    """The settings in force, as the job shows them."""
    threshold = job.deletion_threshold
    return [
        KeyValuePair(name=DELETION_THRESHOLD, value=_NO_THRESHOLD if threshold is None else str(threshold)),
        KeyValuePair(name=INTERVAL, value=iso_duration(job.interval)),
        KeyValuePair(name=PARTS, value=",".join(parts)),
    ]


def read_settings(pairs: Iterable[KeyValuePair]) -> JobSettings:
    """What pairs of name and value stand for.

    Raises:
        ValueError: A name is unknown or comes twice, or a value cannot be used; the message says which.
    """
    settings, given = JobSettings(), set[str]()
    for pair in pairs:
        read = _READERS.get(pair.name.lower())
        if read is None or pair.name.lower() in given:
            raise ValueError(f"takes each of {DELETION_THRESHOLD}, {INTERVAL} and {PARTS} once")
        given.add(pair.name.lower())
        settings = read(settings, pair.value)
    return settings


def valid_interval(interval: timedelta) -> timedelta:
    """The interval in whole seconds.

    Raises:
        ValueError: It is shorter than a minute or longer than a year.
    """
    if not _SHORTEST <= interval <= _LONGEST:
        raise ValueError(f"{INTERVAL} takes from {iso_duration(_SHORTEST)} to {iso_duration(_LONGEST)}")
    return timedelta(seconds=round(interval.total_seconds()))


def _read_threshold(settings: JobSettings, value: str | None) -> JobSettings:
    # Clients leave a null out, and what is left out must not take the guard away.
    text = (value or "").strip()
    if text.lower() == _NO_THRESHOLD.lower():
        return replace(settings, without_deletion_threshold=True)
    # Of thousands of digits Python makes no number.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST_THRESHOLD):
        raise ValueError(f"{DELETION_THRESHOLD} takes a number that is not negative, or {_NO_THRESHOLD}")
    return replace(settings, deletion_threshold=int(text))


def _read_interval(settings: JobSettings, value: str | None) -> JobSettings:
    if value is None:
        raise ValueError(f"{INTERVAL} takes a duration such as PT40M")
    return replace(settings, interval=valid_interval(parse_duration(value)))


def _read_parts(settings: JobSettings, value: str | None) -> JobSettings:
    by_name = {name.lower(): name for name in CATALOGUE}
    words = [word.strip().lower() for word in (value or "").split(",") if word.strip()]
    if not words or not by_name.keys() >= set(words):
        raise ValueError(f"{PARTS} takes at least one of {', '.join(CATALOGUE)}, separated by commas")
    parts = tuple(name for word, name in by_name.items() if word in words)
    if missing := lacks_source(parts):
        raise ValueError(f"{PARTS}: {missing}")
    return replace(settings, parts=parts)


_READERS: Mapping[str, Callable[[JobSettings, str | None], JobSettings]] = {
    DELETION_THRESHOLD.lower(): _read_threshold,
    INTERVAL.lower(): _read_interval,
    PARTS.lower(): _read_parts,
}
