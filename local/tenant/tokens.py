"""Opaque tokens: the state of a delta round or of a list's paging, signed and put into a URL."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

_SIGNATURE = 12


class MalformedToken(ValueError):
    """Text that this tenant never gave out as a token."""


@dataclass(slots=True)
class Cursor:
    """Where a delta reader stands, and all that its first request asked for.

    `since` -1 is an initial round; `until` None is a round not begun (a delta link). `position` is
    the next index (initial) or the next changed object (incremental). `pending` are groups whose
    links are not all told, as [position, relation, link position]; `replays` are positions to be
    told a second time.
    """

    resource: str
    generation: int
    names: list[str] | None
    size: int | None
    minimal: bool
    since: int
    until: int | None
    fingerprint: int
    position: int = 0
    limit: int = 0
    empties: int = 0
    pending: list[list[Any]] = field(default_factory=list)
    replays: list[int] = field(default_factory=list)


_FIELDS = tuple(f.name for f in fields(Cursor))


class Signer:
    """Makes tokens and reads them back. The key comes from the seed, so that a tenant's bytes are repeatable."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"token key {seed}".encode()).digest()

    def _sign(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_SIGNATURE).digest()

    def write(self, value: Any) -> str:
        data = orjson.dumps(value)
        return base64.urlsafe_b64encode(self._sign(data) + data).decode().rstrip("=")

    def read(self, token: str) -> Any:
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError) as error:
            raise MalformedToken(token) from error
        signature, data = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if self._sign(data) != signature:
            raise MalformedToken(token)
        return orjson.loads(data)

    def write_cursor(self, cursor: Cursor) -> str:
        return self.write([getattr(cursor, name) for name in _FIELDS])

    def read_cursor(self, token: str) -> Cursor:
        values = self.read(token)
        if not isinstance(values, list) or len(values) != len(_FIELDS):
            raise MalformedToken(token)
        return Cursor(*values)
