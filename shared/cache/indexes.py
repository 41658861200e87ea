"""The tables' partial indexes; imported only by who migrates the database, never on the way of a request.

For an index with a condition SQLAlchemy loads the dialects of all databases, which takes longer than an answer.
"""

from __future__ import annotations

from sqlalchemy import Index, text

from shared.cache.tables import metadata, organizations, parts, run_parts, runs

Index(
    "uq_organizations_tenant_id",
    organizations.c.tenant_id,
    unique=True,
    sqlite_where=organizations.c.removed_at.is_(None),
    postgresql_where=organizations.c.removed_at.is_(None),
)
Index(
    "uq_organizations_name",
    organizations.c.name,
    unique=True,
    sqlite_where=organizations.c.removed_at.is_(None),
    postgresql_where=organizations.c.removed_at.is_(None),
)
Index(
    "ix_organizations_removed_at",
    organizations.c.removed_at,
    sqlite_where=organizations.c.removed_at.is_not(None),
    postgresql_where=organizations.c.removed_at.is_not(None),
)
for due in ("refresh_at", "parity_recheck_at"):
    Index(
        f"ix_parts_{due}",
        parts.c[due],
        sqlite_where=parts.c[due].is_not(None),
        postgresql_where=parts.c[due].is_not(None),
    )
for status in ("Queued", "Running"):
    Index(
        f"uq_runs_one_{status.lower()}",
        runs.c.organization_id,
        unique=True,
        sqlite_where=runs.c.status == text(f"'{status}'"),
        postgresql_where=runs.c.status == text(f"'{status}'"),
    )
Index(
    "ix_run_parts_wake_at",
    run_parts.c.wake_at,
    sqlite_where=run_parts.c.wake_at.is_not(None),
    postgresql_where=run_parts.c.wake_at.is_not(None),
)

schema = metadata
"""The whole schema: the tables with these indexes."""
