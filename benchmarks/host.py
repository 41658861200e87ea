"""The local host for organizations of many tenants, all of which one simulated tenant serves.

That tenant's tokens are of itself, and the product takes a managed identity for no other tenant's organization. Here it
is not asked of which tenant its tokens are; all else is as in ``python -m local.host``.
"""

from __future__ import annotations

import sys

from local.host.__main__ import main
from shared.graph import credentials
from shared.graph.issuers import ManagedIdentity


def _any_tenants(identity: ManagedIdentity, tenant_id: str) -> ManagedIdentity:
    return identity


if __name__ == "__main__":
    credentials.OwnTenantIdentity = _any_tenants  # pyright: ignore[reportAttributeAccessIssue]
    sys.exit(main())
