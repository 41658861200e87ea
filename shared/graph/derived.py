"""Makes pages of a derived part of what Graph answered about objects of its source. Pure: no I/O.

A page has the form of a delta query's, so that it is parsed, put aside and applied like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import orjson

from shared.graph.records import failure_record
from shared.models.errors import SynchronizationFailure
from shared.models.parts import Part, Properties
from shared.models.records import Removal


def records(part: Part, object_id: str, source: Properties, answer: list[Any] | SynchronizationFailure) -> list[Any]:
    """The records in the answer about one object.

    Args:
        part: The derived part.
        object_id: The key of the object asked about.
        source: Its properties.
        answer: What Graph answered, or why it did not.
    """
    if isinstance(answer, SynchronizationFailure):
        return [failure_record(object_id, answer)]
    return [_record(part, object_id, source, value) for value in answer]


def removal(part: Part, key: str) -> dict[str, Any]:
    """The record that says that an object of the derived part is gone."""
    question = part.question
    assert question is not None
    source_id, _, own_id = key.rpartition("/")
    names = {"id": own_id} if question.parent is None else {"id": own_id, question.parent: source_id}
    return {**names, "@removed": {"reason": Removal.HARD_DELETED.value}}


def source_id(key: str) -> str:
    """The key of the object that one of a derived part was derived from."""
    return key.partition("/")[0]


def page_body(values: Iterable[Any], next_link: str | None, delta_link: str | None) -> bytes:
    """The body of a page; one of the links is None."""
    links = {"@odata.nextLink": next_link, "@odata.deltaLink": delta_link}
    return orjson.dumps({name: link for name, link in links.items() if link is not None} | {"value": list(values)})


def _record(part: Part, object_id: str, source: Properties, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    question = part.question
    assert question is not None
    copied = {name: source.get(name) for name in question.copied}
    known = copied | cast(dict[str, Any], value) | {question.parent or "id": object_id}
    # Graph leaves out what is null; the record tells all the same that it is.
    return {name: known.get(name) for name in part.properties if name in known or name != "id"}
