"""What is read beside the cache, how long cursors live, who is throttled, and whether counts agree."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from shared.cache import types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NEW_PART_COLUMNS = (
    ("listed_at", types.UtcDateTime()),
    ("refresh_at", types.UtcDateTime()),
    ("parity_checked_at", types.UtcDateTime()),
    ("parity_expected", sa.BigInteger()),
    ("parity_cached", sa.BigInteger()),
    ("parity_recheck_at", types.UtcDateTime()),
)
_PARITY = (
    "(parity_checked_at IS NULL) = (parity_expected IS NULL) AND (parity_checked_at IS NULL) = (parity_cached IS NULL)"
)
_NEW_RUN_PART_COLUMNS = (
    ("staged", sa.BigInteger()),
    ("resource_units", sa.BigInteger()),
    ("restarts", sa.Integer()),
)
_SEEN_OBJECTS = ("organization_id", "part", "generation", "object_id")
_SEEN_LINKS = ("organization_id", "relation", "generation", "source_id", "target_id")
_STAGES_BEFORE = (
    "stage IN ('listing', 'retries', 'deletedItems', 'sweepLive', 'sweepAll', 'deletions', 'sweepLinks', 'cleanup')"
)
_STAGES = (
    "stage IN ('listing', 'retries', 'deletedItems', 'applyLive', 'applyAll', 'sweepLive', 'sweepAll',"
    " 'deletions', 'holdLinks', 'sweepLinks', 'cleanup')"
)
_REASONS_BEFORE = "reason IN ('changed', 'deleted', 'absent', 'outOfScope')"
_REASONS = "reason IN ('changed', 'deleted', 'absent', 'outOfScope', 'absentLink')"


def upgrade() -> None:
    # What was kept there until now is equal to no record's digest, so the next full run compares the payloads.
    op.execute("ALTER TABLE objects RENAME COLUMN payload_hash TO record_digest")
    with op.batch_alter_table("parts") as parts:
        for name, kind in _NEW_PART_COLUMNS:
            parts.add_column(sa.Column(name, kind))
        parts.create_check_constraint(op.f("ck_parts_parity"), _PARITY)
    op.execute("UPDATE parts SET listed_at = last_successful_at")
    # Nothing says how old the cursors are that are there already: the planner refreshes them at once.
    op.execute("UPDATE parts SET refresh_at = last_successful_at WHERE delta_link IS NOT NULL")
    for name in ("refresh_at", "parity_recheck_at"):
        some = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_parts_{name}", "parts", [name], sqlite_where=some, postgresql_where=some)
    op.add_column("runs", sa.Column("keeps_cursors", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("run_parts") as run_parts:
        for name, kind in _NEW_RUN_PART_COLUMNS:
            run_parts.add_column(sa.Column(name, kind, nullable=False, server_default="0"))
        run_parts.add_column(sa.Column("checkpoint", sa.Text()))
        run_parts.add_column(sa.Column("waits_since", types.UtcDateTime()))
        run_parts.drop_constraint("ck_run_parts_stage")
        run_parts.create_check_constraint(op.f("ck_run_parts_stage"), _STAGES)
    _replace_reasons(_REASONS)
    op.create_table(
        "staged_pages",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "part", "generation", "number", name=op.f("pk_staged_pages")),
    )
    # SQLite keeps them in one tree each. Runs may be under way, and what they have seen must stay seen.
    noted = sa.Column("noted", sa.Boolean(), nullable=False, server_default=sa.true())
    put_aside = sa.Column("put_aside", sa.Boolean(), nullable=False, server_default=sa.false())
    _replace_table("seen_objects", _SEEN_OBJECTS, noted, put_aside)
    _replace_table("seen_links", _SEEN_LINKS)
    op.create_table(
        "throttles",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("family", types.Word(), nullable=False),
        sa.Column("until", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "family", name=op.f("pk_throttles")),
    )


def downgrade() -> None:
    op.execute("ALTER TABLE objects RENAME COLUMN record_digest TO payload_hash")
    op.drop_table("throttles")
    op.drop_table("staged_pages")
    op.execute("DELETE FROM seen_objects WHERE NOT noted")
    _replace_table("seen_objects", _SEEN_OBJECTS, with_rowid=True)
    _replace_table("seen_links", _SEEN_LINKS, with_rowid=True)
    op.execute("DELETE FROM held_deletions WHERE reason = 'absentLink'")
    _replace_reasons(_REASONS_BEFORE)
    op.execute(
        "UPDATE run_parts SET stage = 'listing', cursor = NULL WHERE stage IN ('applyLive', 'applyAll', 'holdLinks')"
    )
    with op.batch_alter_table("run_parts") as run_parts:
        run_parts.drop_constraint("ck_run_parts_stage")
        run_parts.create_check_constraint(op.f("ck_run_parts_stage"), _STAGES_BEFORE)
        run_parts.drop_column("waits_since")
        run_parts.drop_column("checkpoint")
        for name, _ in reversed(_NEW_RUN_PART_COLUMNS):
            run_parts.drop_column(name)
    op.drop_column("runs", "keeps_cursors")
    for name in ("refresh_at", "parity_recheck_at"):
        op.drop_index(f"ix_parts_{name}", "parts")
    with op.batch_alter_table("parts") as parts:
        parts.drop_constraint("ck_parts_parity")
        for name, _ in reversed(_NEW_PART_COLUMNS):
            parts.drop_column(name)


def _replace_reasons(condition: str) -> None:
    with op.batch_alter_table("held_deletions") as held_deletions:
        held_deletions.drop_constraint("ck_held_deletions_reason")
        held_deletions.create_check_constraint(op.f("ck_held_deletions_reason"), condition)


def _replace_table(table: str, key: tuple[str, ...], *more: sa.Column[bool], with_rowid: bool = False) -> None:
    before = f"{table}_before"
    op.rename_table(table, before)
    if op.get_bind().dialect.name == "postgresql":
        # The name of its index would be in the way of the new one's.
        op.execute(f"ALTER TABLE {before} RENAME CONSTRAINT pk_{table} TO pk_{before}")
    op.create_table(
        table,
        *(_key_column(name) for name in key),
        *more,
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        sqlite_with_rowid=with_rowid,
    )
    columns = ", ".join(key)
    op.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {before}")
    op.drop_table(before)


def _key_column(name: str) -> sa.Column[Any]:
    if name == "organization_id":
        return sa.Column(name, sa.Integer(), autoincrement=False, nullable=False)
    return sa.Column(name, sa.BigInteger() if name == "generation" else types.Word(), nullable=False)
