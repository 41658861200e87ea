"""The bodies that create, change and try out a job; unknown members, such as ``@odata.type``, are ignored."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, field_validator

from shared.models.base import UtcTime, WireModel
from shared.models.job_settings import JobSettings, read_settings
from shared.models.schema import SchemaUpdate
from shared.models.synchronization import (
    Duration,
    KeyValuePair,
    QuarantineReason,
    ScheduleState,
    StatusCode,
    SynchronizationError,
)


def _written(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a time is written as 2026-01-31T08:00:00Z")
    return value


_WrittenTime = Annotated[UtcTime, BeforeValidator(_written)]


class _Body(WireModel):
    model_config = ConfigDict(extra="ignore")


class _WithSettings(_Body):
    synchronization_job_settings: list[KeyValuePair] | None = None

    @field_validator("synchronization_job_settings")
    @classmethod
    def _usable(cls, pairs: list[KeyValuePair] | None) -> list[KeyValuePair] | None:
        read_settings(pairs or ())
        return pairs

    @property
    def settings(self) -> JobSettings:
        """The settings that are given."""
        return read_settings(self.synchronization_job_settings or ())


class JobCreation(_WithSettings):
    """Body of ``POST jobs``; only ``templateId`` is required (graph.md §2.1)."""

    template_id: str


class ScheduleUpdate(_Body):
    """The schedule that a client sends back; of it, only the interval can be changed."""

    expiration: _WrittenTime | None = None
    interval: Duration | None = None
    state: ScheduleState | None = None


class ErrorUpdate(SynchronizationError):
    """The quarantine's error that a client sends back, or asks for."""

    tenant_actionable: StrictBool = False


class QuarantineUpdate(_Body):
    """The quarantine that a client sends back, or asks for."""

    reason: QuarantineReason | None = None
    error: ErrorUpdate | None = None
    current_began: _WrittenTime | None = None


class StatusUpdate(_Body):
    """The status that a client sends back; of it, only a quarantine can be asked for."""

    model_config = ConfigDict(extra="allow")

    code: StatusCode | None = None
    quarantine: QuarantineUpdate | None = None

    @property
    def is_read_back(self) -> bool:
        """Whether it is a status as it was read, and not one that somebody asks for."""
        others = [name for name in self.model_extra or () if not name.startswith("@")]
        return bool(others) or (self.quarantine is not None and self.quarantine.current_began is not None)


class JobUpdate(_WithSettings):
    """Body of ``PATCH jobs/{id}``: what is given of a synchronizationJob."""

    id: str | None = None
    template_id: str | None = None
    schedule: ScheduleUpdate | None = None
    status: StatusUpdate | None = None
    schema_: Annotated[SchemaUpdate | None, Field(alias="schema")] = None


class SecretPair(_Body):
    """synchronizationSecretKeyStringValuePair (graph.md §1.10)."""

    key: Annotated[str, Field(pattern=r"^[A-Za-z][0-9A-Za-z_]{0,63}$")]
    value: str | None = None


class SecretsUpdate(_Body):
    """Body of ``PUT secrets``: the whole set."""

    value: list[SecretPair]


class CredentialsValidation(_Body):
    """Body of ``validateCredentials``; without credentials of its own it is about those the organization has."""

    application_identifier: str | None = None
    template_id: str | None = None
    use_saved_credentials: StrictBool | None = None
    credentials: list[SecretPair] | None = None


class Subject(_Body):
    """synchronizationJobSubject: the object to be provisioned; its links are read from Graph, not given."""

    object_id: Annotated[str, Field(min_length=1, max_length=1_024)]
    object_type_name: str


class ApplicationParameters(_Body):
    """synchronizationJobApplicationParameters."""

    rule_id: str | None = None
    subjects: Annotated[list[Subject], Field(min_length=1, max_length=1)]


class ProvisionOnDemand(_Body):
    """Body of ``provisionOnDemand``: one object at a time."""

    parameters: Annotated[list[ApplicationParameters], Field(min_length=1, max_length=1)]
