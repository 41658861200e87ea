"""Tells whoever watches over the service what state all organizations are in."""

from __future__ import annotations

from shared.cache import measures
from shared.services import Services
from shared.telemetry import metrics


def measure(services: Services) -> None:
    """Records the state of every organization; where nobody exports metrics, the database is not asked for it."""
    if not metrics.are_exported():
        return
    with services.database.read() as connection:
        measured = measures.read(connection, services.now())
    metrics.record_measures(measured)
