"""The issuer's public keys: fetched when they are needed, kept for a while, looked up again when one is unknown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

_RENEWED_AFTER = timedelta(hours=1)
"""A key that its issuer has withdrawn is trusted no longer than this, as long as the issuer can be asked."""
_TRUSTED_FOR = timedelta(hours=24)
"""How long keys are good for while the issuer cannot be asked; Microsoft has keys looked up once a day."""
_ASKED_AGAIN_AFTER = timedelta(seconds=60)
"""However many unknown keys are named."""
_TRIED_AGAIN_AFTER = timedelta(seconds=10)
"""When the issuer did not answer, however many requests wait for it."""
_PATIENCE_SECONDS = 5
_FETCHED_BY_ANOTHER_SECONDS = 0.5
"""How long a request waits for keys that another one fetches, while there are some: made-up keys must not hold up all
threads when the issuer does not answer."""


class KeysUnavailable(Exception):
    """Nobody can tell whether the key is the issuer's: it cannot be asked at the moment."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the issuer's.

    Attributes:
        issuer: Whose tokens it signs, where the issuer restricts that: an ``iss``, or one with ``{tenantid}`` in it.
    """

    key: PyJWK
    issuer: str | None


@dataclass(frozen=True, slots=True)
class _Fetched:
    keys: Mapping[str, SigningKey]
    at: datetime


class IssuerKeys:
    """The keys at one address. Threads share one instance; of those that need them fetched, one fetches."""

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        self._url = url
        self._now = now
        self._fetching = threading.Lock()
        self._fetched: _Fetched | None = None
        self._asked_at: datetime | None = None
        self._answered = True

    def find(self, key_id: str) -> SigningKey | None:
        """The key of this id; None where the issuer has none.

        Raises:
            KeysUnavailable: The issuer would have to be asked, and cannot be.
        """
        key = self._usable().get(key_id)
        if key is not None and not self._is_stale():
            return key
        # Where the key is known, a request does not wait for another one that is renewing it.
        patience = 0 if key is not None else _FETCHED_BY_ANOTHER_SECONDS if self._usable() else _PATIENCE_SECONDS
        fetches = self._fetching.acquire(timeout=patience)
        if fetches:
            try:
                if (key_id not in self._usable() or self._is_stale()) and self._may_ask():
                    self._ask()
            finally:
                self._fetching.release()
        key = self._usable().get(key_id)
        if key is None and not (fetches and self._answered):
            raise KeysUnavailable
        return key

    def _usable(self) -> Mapping[str, SigningKey]:
        fetched = self._fetched
        return {} if fetched is None or self._now() - fetched.at > _TRUSTED_FOR else fetched.keys

    def _is_stale(self) -> bool:
        fetched = self._fetched
        return fetched is None or self._now() - fetched.at > _RENEWED_AFTER

    def _may_ask(self) -> bool:
        pause = _ASKED_AGAIN_AFTER if self._answered else _TRIED_AGAIN_AFTER
        return self._asked_at is None or self._now() - self._asked_at >= pause

    def _ask(self) -> None:
        from jwt import PyJWKClient

        self._asked_at, self._answered = self._now(), False
        try:
            # Only http and https, no redirects: the library's own rules.
            document = PyJWKClient(self._url, cache_jwk_set=False, timeout=_PATIENCE_SECONDS).fetch_data()
            self._fetched = _Fetched(_read(document), self._asked_at)
            self._answered = True
        except Exception as error:
            # A document may be anything.
            logger.warning("the keys of tokens cannot be fetched (%s)", type(error).__name__)


def _read(document: Any) -> Mapping[str, SigningKey]:
    """The RSA keys for signatures in a JWK Set; one that cannot be used does not spoil the others.

    Raises:
        ValueError: There is none.
    """
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    keys: dict[str, SigningKey] = {}
    for entry in cast("list[Any]", document.get("keys") or []):
        if not isinstance(entry, dict):
            continue
        jwk = cast("dict[str, Any]", entry)
        key_id, issuer = jwk.get("kid"), jwk.get("issuer")
        if jwk.get("kty") != "RSA" or jwk.get("use", "sig") != "sig" or not isinstance(key_id, str):
            continue
        try:
            keys[key_id] = SigningKey(PyJWK(jwk, "RS256"), issuer if isinstance(issuer, str) else None)
        except PyJWTError:
            continue
    if not keys:
        raise ValueError("The JWK Set has no key for signatures.")
    return keys
