"""Takes the cached rows of removed organizations out, for a slice's time at once."""

from __future__ import annotations

from datetime import timedelta

from shared.cache import purge
from shared.services import Services


def purge_for(services: Services, organization_key: int) -> None:
    """Deletes rows until none is left or the time of a slice is over."""
    deadline = services.now() + timedelta(seconds=services.settings.slice_seconds)
    while services.now() < deadline:
        with services.database.write() as connection:
            if not purge.purge(connection, organization_key):
                return
