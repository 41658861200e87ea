"""Who calls, what they may do, and which organizations they see."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """App roles and delegated scopes of the API, by the names that Graph has for its own."""

    READ = "Synchronization.Read.All"
    READ_WRITE = "Synchronization.ReadWrite.All"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which organizations there are for a caller.

    Attributes:
        tenant_id: The only one, by its tenant's id in lower case; None for all of them.
    """

    tenant_id: str | None

    def holds(self, tenant_id: str) -> bool:
        """Whether the organization of this tenant is among them."""
        return self.tenant_id in (None, tenant_id)


EVERY_ORGANIZATION = Scope(None)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        name: Application and tenant, as they are logged; never a person.
    """

    name: str
    permissions: AbstractSet[Permission]
    scope: Scope

    def may(self, permission: Permission) -> bool:
        """Whether this is permitted; who may write may read, as with Graph's own permissions of these names."""
        return permission in self.permissions or Permission.READ_WRITE in self.permissions
