"""The state of all organizations is asked for only where somebody gets to see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.models.errors import DatabaseFailure
from shared.services import Services, utc_now
from shared.settings import Settings
from shared.sync.measuring import measure
from shared.telemetry import metrics


def test_where_nobody_exports_metrics_the_database_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Settings(database_url=f"sqlite:///{tmp_path}/no/such/folder/cache.db", auth_mode="none")
    services = Services.create(nowhere, utc_now)

    measure(services)

    monkeypatch.setattr(metrics, "are_exported", lambda: True)
    with pytest.raises(DatabaseFailure):
        measure(services)
