"""What a restart throws away: Graph's synchronizationJobRestartCriteria (graph.md §1.12, §2.2)."""

from __future__ import annotations

from enum import Flag
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema

from shared.models.base import WireModel


class RestartScope(Flag):
    """synchronizationJobRestartScope; the words combine, separated by commas.

    What each does here:
        NONE: nothing is thrown away; the job is started, out of quarantine too.
        CONNECTOR_DATA_STORE: what the cache takes itself to hold; a full run writes every row again.
        ESCROWS: the objects put aside, and their retries.
        WATERMARK: the cursors are forgotten; every object is read again.
        QUARANTINE_STATE: the quarantine is lifted; it may come back.
        FULL: these four together.
        FORCE_DELETES: the deletions that are held back are carried out.
    """

    NONE = 0
    CONNECTOR_DATA_STORE = 1
    ESCROWS = 2
    WATERMARK = 4
    QUARANTINE_STATE = 8
    FULL = 15
    FORCE_DELETES = 32


DEFAULT_SCOPE = RestartScope.QUARANTINE_STATE | RestartScope.WATERMARK | RestartScope.ESCROWS
"""What a restart without criteria means: what the portal's Restart button does."""

_NAMES = {
    "None": RestartScope.NONE,
    "ConnectorDataStore": RestartScope.CONNECTOR_DATA_STORE,
    "Escrows": RestartScope.ESCROWS,
    "Watermark": RestartScope.WATERMARK,
    "QuarantineState": RestartScope.QUARANTINE_STATE,
    "Full": RestartScope.FULL,
    "ForceDeletes": RestartScope.FORCE_DELETES,
}
_WORDS = {name.lower(): scope for name, scope in _NAMES.items()}
_LISTED = "|".join(_NAMES)
_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": f"^(({_LISTED})(, *({_LISTED}))*)?$"},
        {"type": "integer", "minimum": 0, "maximum": 15},
        {"type": "integer", "minimum": 32, "maximum": 47},
        {"type": "null"},
    ]
}
"""What is told of it; in any letter case it is taken as well."""


def parse_scope(value: Any) -> RestartScope:
    """The scope that a word, a comma-separated list of words or a number stands for.

    Raises:
        ValueError: It stands for none; the message lists the words.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        scope = RestartScope.NONE
        words = [word.strip().lower() for word in value.split(",")]
        known = [_WORDS.get(word) or _number(word) for word in words]
        if all(word in _WORDS or found is not None for word, found in zip(words, known, strict=True)):
            for found in known:
                scope |= found or RestartScope.NONE
            return scope
    raise ValueError(
        "resetScope takes None, ConnectorDataStore, Escrows, Watermark, QuarantineState, Full and ForceDeletes, "
        "separated by commas"
    )


def _scope_or_none(value: Any) -> RestartScope | None:
    empty = value is None or (isinstance(value, str) and not value.strip())
    return None if empty else parse_scope(value)


def _number(word: str) -> RestartScope | None:
    if not (word.isascii() and word.isdecimal() and len(word) < 10):
        return None
    try:
        return RestartScope(int(word))
    except ValueError:
        return None


class RestartCriteria(WireModel):
    """synchronizationJobRestartCriteria; the SDK sends members of its own along, such as ``@odata.type``."""

    model_config = ConfigDict(extra="ignore")

    reset_scope: Annotated[RestartScope | None, BeforeValidator(_scope_or_none), WithJsonSchema(_SCHEMA)] = None


class RestartRequest(WireModel):
    """Body of the action restart; empty, absent and null criteria all mean the default (graph.md §2.2)."""

    model_config = ConfigDict(extra="ignore")

    criteria: RestartCriteria | None = None

    @property
    def scope(self) -> RestartScope:
        """What is to be thrown away."""
        given = self.criteria.reset_scope if self.criteria else None
        return DEFAULT_SCOPE if given is None else given
