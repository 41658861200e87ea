"""Reads the secrets that a client sets: of Graph's set, what means something to this service. Pure."""

from __future__ import annotations

from typing import Any, cast

import orjson

from shared.models.errors import BadRequest
from shared.models.job_changes import SecretPair, SecretsUpdate
from shared.models.job_settings import JobSettings

_NOTIFICATIONS = "syncnotificationsettings"


def read_secrets(secrets: SecretsUpdate) -> JobSettings:
    """The settings that the secrets stand for.

    Only ``SyncNotificationSettings`` does: it switches the deletion threshold on and off (graph.md §3.4). The others of
    Graph's set are for signing in to targets that need a password, which the cache database is not: they are taken, and
    kept nowhere.

    Raises:
        BadRequest: SyncNotificationSettings cannot be used.
    """
    for pair in secrets.value:
        if pair.key.lower() == _NOTIFICATIONS:
            return _threshold(pair)
    return JobSettings()


def _threshold(pair: SecretPair) -> JobSettings:
    try:
        document: Any = orjson.loads(pair.value or "")
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise BadRequest("SyncNotificationSettings takes a JSON object in a string.")
    settings = cast(dict[str, Any], document)
    enabled, value = settings.get("DeleteThresholdEnabled"), settings.get("DeleteThresholdValue")
    if enabled is None:
        return JobSettings()
    if not isinstance(enabled, bool):
        raise BadRequest("SyncNotificationSettings: DeleteThresholdEnabled takes true or false.")
    if not enabled:
        return JobSettings(without_deletion_threshold=True)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise BadRequest("SyncNotificationSettings: DeleteThresholdValue takes a number that is not negative.")
    return JobSettings(deletion_threshold=value)
