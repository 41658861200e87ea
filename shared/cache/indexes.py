"""The tables' partial indexes; imported only by who migrates the database, never on the way of a request.

For an index with a condition SQLAlchemy loads the dialects of all databases, which takes longer than an answer.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Index, text

from shared.cache.tables import metadata, organizations, parts, run_parts, runs


def _index(name: str, column: Column[Any], condition: ColumnElement[bool], *, unique: bool = False) -> None:
    Index(name, column, unique=unique, sqlite_where=condition, postgresql_where=condition)


_registered = organizations.c.removed_at.is_(None)
_index("uq_organizations_tenant_id", organizations.c.tenant_id, _registered, unique=True)
_index("uq_organizations_name", organizations.c.name, _registered, unique=True)
_index("ix_organizations_removed_at", organizations.c.removed_at, organizations.c.removed_at.is_not(None))
for _column in (parts.c.refresh_at, parts.c.parity_recheck_at, run_parts.c.wake_at):
    _index(f"ix_{_column.table.name}_{_column.name}", _column, _column.is_not(None))
for _status in ("Queued", "Running"):
    _index(f"uq_runs_one_{_status.lower()}", runs.c.organization_id, runs.c.status == text(f"'{_status}'"), unique=True)

schema = metadata
"""The whole schema: the tables with these indexes."""
