"""Every setting of the product, read once from the app settings (environment variables)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, field_validator

from shared.models.organizations import Region
from shared.models.retries import RetryPolicy


class Settings(BaseModel):
    """App settings; the field name in upper case is the setting's name."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: Annotated[str, Field(description="SQLAlchemy URL of the organization cache database")] = (
        "sqlite:///organization-cache.db"
    )
    graph_url: Annotated[
        HttpUrl | None, Field(description="Graph root that replaces the region's own, for a simulated tenant")
    ] = None
    azure_client_id: Annotated[
        str | None, Field(description="Client id of the user-assigned managed identity the app runs under")
    ] = None
    key_vault_url: Annotated[
        HttpUrl | None,
        Field(description="Address of the Key Vault that holds the certificates and secrets that registrations name"),
    ] = None
    public_url: Annotated[
        HttpUrl | None,
        Field(
            description="Address at which Graph reaches this service: with it, changes are told and read within seconds"
        ),
    ] = None
    notification_debounce_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=300,
            description="Seconds that further notifications are waited for, before one run reads what changed",
        ),
    ] = 10.0
    auth_mode: Annotated[
        Literal["entra", "none"],
        Field(description="Who may call: holders of Entra's tokens, or everybody, which is refused in Azure"),
    ] = "entra"
    auth_tenant_id: Annotated[
        UUID | None, Field(description="The operator's tenant, whose callers see every organization")
    ] = None
    auth_audience: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(description="Client id or application ID URI of the API's app registration; several by commas"),
    ] = ()
    auth_registration: Annotated[
        Literal["operator", "tenants"],
        Field(description="Who registers organizations: the operator alone, or also callers of any tenant their own"),
    ] = "operator"
    auth_region: Annotated[Region, Field(description="The cloud whose Entra issues the tokens")] = Region.WORLDWIDE
    auth_jwks_url: Annotated[
        HttpUrl | None, Field(description="Where the keys of tokens are, in place of the cloud's own address")
    ] = None
    sync_interval_minutes: Annotated[
        int,
        Field(
            ge=1,
            description="Minutes between the starts of synchronizations, for organizations registered from now on",
        ),
    ] = 40
    slice_seconds: Annotated[
        float, Field(gt=0, description="Time budget of one slice, in seconds; then it goes on in a new message")
    ] = 60.0
    lease_seconds: Annotated[
        float, Field(gt=0, description="Seconds after its last sign of life that a slice's worker is given up for dead")
    ] = 120.0
    requeue_seconds: Annotated[
        float, Field(gt=0, description="Seconds a queue message may go unanswered before the planner sends it again")
    ] = 300.0
    slice_attempts: Annotated[
        int, Field(ge=1, description="Slices of a part that may fail in a row before the part fails")
    ] = 5
    graph_page_size: Annotated[
        int, Field(ge=1, le=999, description="Objects asked of Graph per page (a hint that Graph may disregard)")
    ] = 999
    graph_timeout_seconds: Annotated[
        float, Field(gt=0, description="Seconds that one page may take, Graph's short throttling waits included")
    ] = 100.0
    graph_answer_seconds: Annotated[
        float, Field(gt=0, description="Seconds that a client of the API waits for what has to be asked of Graph")
    ] = 45.0
    graph_max_wait_seconds: Annotated[
        float, Field(ge=0, description="Longest Retry-After that is waited for; a longer one ends the slice")
    ] = 30.0
    relist_hours: Annotated[
        float,
        Field(gt=0, description="Hours after which channels, whose changes nothing tells, are all read again"),
    ] = 24.0
    throttling_minutes: Annotated[
        float, Field(gt=0, description="Minutes that a part may be throttled without getting on; then it fails")
    ] = 60.0
    deletion_threshold: Annotated[
        int,
        Field(
            ge=0,
            description="Deletions that a part's run carries out unasked, more are held back; for new jobs",
        ),
    ] = 500
    deletion_share: Annotated[
        float,
        Field(gt=0, le=1, description="Share of a part's objects of which the same is true, unless it is a handful"),
    ] = 0.5
    escrow_retry_minutes: Annotated[
        float, Field(gt=0, description="Minutes after which an object that failed is tried again; doubled every time")
    ] = 30.0
    escrow_retry_longest_hours: Annotated[
        float, Field(gt=0, description="Hours that the wait for an object's next try does not exceed")
    ] = 24.0
    quarantine_proportion_from: Annotated[
        int, Field(ge=1, description="Objects that must have failed in a run before their proportion is looked at")
    ] = 5_000
    quarantine_proportion: Annotated[
        float, Field(gt=0, le=1, description="Failed objects among those received that put the job in quarantine")
    ] = 0.4
    quarantine_base_escrows: Annotated[
        int, Field(ge=0, description="Escrows beyond which the job is put in quarantine, those of links not counted")
    ] = 40_000
    quarantine_total_escrows: Annotated[
        int, Field(ge=0, description="Escrows beyond which the job is put in quarantine, those of links counted")
    ] = 60_000
    quarantine_retry_hours: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(
            min_length=1,
            description="Hours after a quarantine began at which a run is tried again; the last is repeated",
        ),
    ] = (6, 12, 24)
    quarantine_days: Annotated[float, Field(gt=0, description="Days in quarantine after which a job is disabled")] = (
        28.0
    )
    cursor_refresh_hours: Annotated[
        float,
        Field(
            gt=0,
            le=144,
            description="Hours after which a part's cursor is refreshed though nothing is due; Graph keeps it 7 days",
        ),
    ] = 24.0
    run_retention_days: Annotated[
        float, Field(gt=0, description="Days after which a run is forgotten, unless a state still names it")
    ] = 30.0
    parity_sample: Annotated[
        int, Field(ge=1, description="Groups whose members are counted in a comparison with Graph, chosen at random")
    ] = 20
    parity_recheck_minutes: Annotated[
        float, Field(gt=0, description="Minutes after which a difference to Graph's counts is looked at again")
    ] = 60.0
    request_body_bytes: Annotated[int, Field(ge=1, description="Largest request body that the API reads")] = 1_048_576

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return value

    @field_validator("graph_url", "public_url", "auth_jwks_url")
    @classmethod
    def _reached_in_private(cls, value: HttpUrl | None) -> HttpUrl | None:
        if value is not None:
            _refuse_extras(value)
            if value.scheme != "https" and not _is_loopback(value.host or ""):
                raise ValueError("must start with https:// unless it is this machine's")
        return value

    @field_validator("key_vault_url")
    @classmethod
    def _a_vaults_address(cls, value: HttpUrl | None) -> HttpUrl | None:
        if value is not None:
            _refuse_extras(value)
            if value.scheme != "https" or value.path not in (None, "", "/"):
                raise ValueError("must be https:// and the vault's host")
        return value

    @field_validator("quarantine_retry_hours", "auth_audience", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return [item.strip() for item in value.split(",")] if isinstance(value, str) else value

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """The product's settings among those given, whose names may be in any letter case.

        Raises:
            pydantic.ValidationError: A setting has an unusable value; the message names the setting.
        """
        return cls.model_validate({name.lower(): value for name, value in given.items()})

    @property
    def public_root(self) -> str | None:
        """PUBLIC_URL without a slash at its end."""
        return None if self.public_url is None else str(self.public_url).rstrip("/")

    @property
    def notification_debounce(self) -> timedelta:
        """How long after the first notification of a part a run reads it."""
        return timedelta(seconds=self.notification_debounce_seconds)

    @property
    def escrow_retry(self) -> RetryPolicy:
        """When an object that failed is tried again."""
        return RetryPolicy(
            timedelta(minutes=self.escrow_retry_minutes), timedelta(hours=self.escrow_retry_longest_hours)
        )

    @property
    def relist_after(self) -> timedelta:
        """How long a complete listing is good enough of a part of which not every change is told."""
        return timedelta(hours=self.relist_hours)

    @property
    def sync_interval(self) -> timedelta:
        """The interval of a newly registered organization's job."""
        return timedelta(minutes=self.sync_interval_minutes)

    @property
    def longest_throttling(self) -> timedelta:
        """How long a part may be throttled without getting on before it stops holding up its run."""
        return timedelta(minutes=self.throttling_minutes)

    @property
    def lease(self) -> timedelta:
        """How long a slice's lease lasts beyond its last commit."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def cursor_refresh(self) -> timedelta:
        """How old a cursor becomes before it is refreshed."""
        return timedelta(hours=self.cursor_refresh_hours)

    @property
    def run_retention(self) -> timedelta:
        """How long runs can be read that no state names any more."""
        return timedelta(days=self.run_retention_days)

    @property
    def requeue_after(self) -> timedelta:
        """How long a queue message may go unanswered."""
        return timedelta(seconds=self.requeue_seconds)


def _refuse_extras(url: HttpUrl) -> None:
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must have no user, query or fragment")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings.of(os.environ)
