"""Whether the service works, as ``/health`` tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from shared.models.base import WireModel


class Health(WireModel):
    """What works; ``settings`` names the settings that cannot be used, if the database could not be asked for them."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    status: Literal["Healthy", "Unhealthy"]
    database: Literal["Available", "Unavailable"] | None = None
    settings: str | None = None
