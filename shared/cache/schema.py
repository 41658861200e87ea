"""What the tables have of one database alone, and their partial indexes: imported only by who migrates the database.

SQLAlchemy loads the dialect of each database that is named here, which takes longer than a dozen answers; for queries
nothing of it matters.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Index, text

from shared.cache.tables import metadata, organizations, parts, run_parts, runs, seen_links, seen_objects


def _index(name: str, column: Column[Any], condition: ColumnElement[bool], *, unique: bool = False) -> None:
    Index(name, column, unique=unique, sqlite_where=condition, postgresql_where=condition)


# A number is never given twice: what is remembered of a removed organization must not fit a new one.
organizations.dialect_options["sqlite"]["autoincrement"] = True
for _table in (seen_objects, seen_links):
    _table.dialect_options["sqlite"]["with_rowid"] = False

_registered = organizations.c.removed_at.is_(None)
_index("uq_organizations_tenant_id", organizations.c.tenant_id, _registered, unique=True)
_index("uq_organizations_name", organizations.c.name, _registered, unique=True)
_index("ix_organizations_removed_at", organizations.c.removed_at, organizations.c.removed_at.is_not(None))
for _column in (parts.c.refresh_at, parts.c.parity_recheck_at, run_parts.c.wake_at):
    _index(f"ix_{_column.table.name}_{_column.name}", _column, _column.is_not(None))
for _status in ("Queued", "Running"):
    _index(f"uq_runs_one_{_status.lower()}", runs.c.organization_id, runs.c.status == text(f"'{_status}'"), unique=True)

schema = metadata
"""The whole schema: the tables with all of this."""
