"""An object's properties as the cache keeps them: a JSON document, and the columns that people search by. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from shared.models.parts import Part, Properties


class Columns(NamedTuple):
    """What a row holds of the properties beside the whole document."""

    display_name: str | None
    mail: str | None
    user_principal_name: str | None
    kind: str | None
    enabled: bool | None


class Document(Mapping[str, Any]):
    """Properties in JSON, Graph's own where it can be kept, decoded only when somebody looks into them.

    Most objects that a first run receives are written as they came. What is not held decoded while its page waits to be
    written costs neither the garbage collector nor the processor's caches anything: a tenth of a first run.

    Attributes:
        json: The properties, all that are selected and no other.
        columns: Their columns.
    """

    __slots__ = ("_decoded", "columns", "json")

    def __init__(self, json: bytes, columns: Columns) -> None:
        self.json = json
        self.columns = columns
        self._decoded: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return self._properties()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._properties())

    def __len__(self) -> int:
        return len(self._properties())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"Document({self._properties()!r})"

    def _properties(self) -> dict[str, Any]:
        decoded = self._decoded
        if decoded is None:
            decoded = self._decoded = orjson.loads(self.json)
        return decoded


def is_whole(part: Part, properties: Properties) -> bool:
    """Whether all properties that are selected are among these. Of documents they are, undecoded."""
    return isinstance(properties, Document) or properties.keys() >= part.property_names


def document_of(part: Part, properties: Properties) -> Document:
    """The document of the properties; itself, if it is one."""
    if isinstance(properties, Document):
        return properties
    return Document(orjson.dumps(properties), columns_of(part, properties))


def columns_of(part: Part, properties: Properties) -> Columns:
    """The columns of an object of the part; of a tombstone, which has no properties, all are empty."""
    enabled = properties.get("accountEnabled")
    return Columns(
        _text(properties.get("displayName")),
        _text(properties.get("mail")),
        _text(properties.get("userPrincipalName")),
        _text(part.kind(properties)) if properties else None,
        enabled if isinstance(enabled, bool) else None,
    )


def _text(value: Any) -> str | None:
    """A property as a text column, without NUL, which PostgreSQL does not take; None for a value of another type."""
    return value.replace("\x00", "") if isinstance(value, str) else None
