"""Organizations as they are registered and returned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from shared.models.base import UtcTime, WireModel
from shared.models.parts import CATALOGUE, PartName, lacks_source


class Region(StrEnum):
    """The Microsoft cloud the organization lives in, by Veeam's names (veeam.md §1.4)."""

    WORLDWIDE = "Worldwide"
    US_GOVERNMENT = "USGovernment"
    US_DEFENCE = "USDefence"
    CHINA = "China"


class AuthenticationType(StrEnum):
    """How the organization was added; only ApplicationOnly organizations synchronize."""

    APPLICATION_ONLY = "ApplicationOnly"
    MODERN = "Modern"
    BASIC = "Basic"


class CredentialKind(StrEnum):
    """How the product proves itself to the organization's tenant (graph.md §8.2)."""

    MANAGED_IDENTITY = "managedIdentity"
    FEDERATED = "federated"
    CERTIFICATE = "certificate"
    SECRET = "secret"


class ApplicationReference(WireModel):
    """The app registration: ``object_id`` is the id under /applications, ``service_principal_id`` the one under
    /servicePrincipals."""

    client_id: UUID
    object_id: UUID
    service_principal_id: UUID


class Credential(WireModel):
    """Which credential is used; the value of a certificate or secret is never part of it, only its name."""

    kind: CredentialKind = CredentialKind.MANAGED_IDENTITY
    key_vault_secret: Annotated[str | None, Field(pattern=r"^[0-9A-Za-z-]{1,127}$")] = None

    @model_validator(mode="after")
    def _named_where_needed(self) -> Credential:
        stored = self.kind in (CredentialKind.CERTIFICATE, CredentialKind.SECRET)
        if stored and self.key_vault_secret is None:
            raise ValueError(f"keyVaultSecret is required for a credential of kind {self.kind}")
        if not stored and self.key_vault_secret is not None:
            raise ValueError(f"keyVaultSecret does not belong to a credential of kind {self.kind}")
        return self


class OrganizationRegistration(WireModel):
    """Body of ``POST /organizations``."""

    tenant_id: UUID
    name: Annotated[str, Field(max_length=253, pattern=r"^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$")]
    region: Region = Region.WORLDWIDE
    authentication_type: AuthenticationType = AuthenticationType.APPLICATION_ONLY
    application: ApplicationReference
    # Made when it is needed: a default would build the model of credentials, which no answer about state needs.
    credential: Annotated[Credential, Field(default_factory=Credential)]
    parts: Annotated[list[PartName], Field(min_length=1, default_factory=lambda: list(CATALOGUE))]

    @field_validator("name")
    @classmethod
    def _domain_names_have_no_case(cls, name: str) -> str:
        return name.lower()

    @field_validator("parts")
    @classmethod
    def _each_part_once_and_with_its_source(cls, parts: list[PartName]) -> list[PartName]:
        if missing := lacks_source(parts):
            raise ValueError(missing)
        return [name for name in CATALOGUE if name in parts]


class OrganizationEntity(OrganizationRegistration):
    """An organization as it is returned; ``id`` is its tenant id, ``job_id`` its synchronizationJob's, null when that
    was deleted."""

    id: UUID
    job_id: str | None
    registered_date_time: UtcTime


@dataclass(frozen=True, slots=True)
class Organization:
    """A registered organization.

    Attributes:
        key: The number under which the cache database knows it.
    """

    key: int
    entity: OrganizationEntity

    @property
    def tenant_id(self) -> str:
        """The tenant's id in lower case."""
        return str(self.entity.tenant_id)

    @property
    def name(self) -> str:
        """The organization's domain name."""
        return self.entity.name
