"""The app's managed identity as a database login: the password is a token that the platform's identity endpoint gives.

It is asked for as azure-identity asks (App Service, api-version 2019-08-01; a test compares the two), but without that
library: a request about state needs the database and nothing else of Azure, and importing the library takes as long as
half of all the rest of a cold start (docs/decisions/0017-infrastructure.md has the figures).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urlsplit

import orjson

from shared.models.errors import DatabaseBlocked

_RENEWED_BEFORE_END = timedelta(minutes=5)
_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    ends_at: datetime


class IdentityLogin:
    """Passwords for new connections. A connection that is open stays open when its token has ended, so a token is
    needed about as often as the pool connects. Threads share one instance; of those that need a token, one asks."""

    def __init__(
        self, resource: str, client_id: str | None, environment: Mapping[str, str], now: Callable[[], datetime]
    ) -> None:
        """
        Args:
            resource: What the tokens are for: Azure Database for PostgreSQL.
            client_id: Client id of the app's user-assigned identity; None for the system-assigned one.
            environment: Where the platform names its identity endpoint.
            now: The clock.
        """
        self._query = {"resource": resource, "api-version": "2019-08-01"}
        if client_id is not None:
            self._query["client_id"] = client_id
        self._environment = environment
        self._now = now
        self._asking = threading.Lock()
        self._token: _Token | None = None

    def password(self) -> str:
        """A token that is good for a login now.

        Raises:
            DatabaseBlocked: The identity endpoint gives none.
        """
        with self._asking:
            if self._token is None or self._token.ends_at - self._now() < _RENEWED_BEFORE_END:
                self._token = self._ask()
            return self._token.value

    def _ask(self) -> _Token:
        endpoint, header = self._environment.get("IDENTITY_ENDPOINT"), self._environment.get("IDENTITY_HEADER")
        if not endpoint or not header:
            raise DatabaseBlocked("the app has no managed identity here")
        address = urlsplit(endpoint)
        # Plain HTTP to the same machine, as the platform has it, and never by way of a proxy.
        connection = HTTPConnection(address.hostname or "", address.port, timeout=_PATIENCE_SECONDS)
        try:
            connection.request("GET", f"{address.path}?{urlencode(self._query)}", headers={"X-IDENTITY-HEADER": header})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise DatabaseBlocked(f"the identity endpoint does not answer, {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise DatabaseBlocked(f"the identity endpoint answers {answer.status}")
        try:
            told = orjson.loads(body)
            return _Token(str(told["access_token"]), datetime.fromtimestamp(int(told["expires_on"]), UTC))
        except (ValueError, KeyError, TypeError):
            raise DatabaseBlocked("the identity endpoint gives no token") from None
