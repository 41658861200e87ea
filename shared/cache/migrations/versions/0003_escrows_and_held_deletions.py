"""Escrows, held deletions, the job's settings, and organizations whose job was deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.cache import types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _new_job_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("deletion_threshold", sa.Integer(), server_default="500"),
        sa.Column("initial_run_pending", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("escrows_pruned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("restarted_run", types.Word()),
        sa.Column("restart_scope", sa.Integer()),
        sa.Column("restarted_at", types.UtcDateTime()),
    )


_NEW_JOB_CHECKS = {
    "without_a_job_nothing_runs": "job_id IS NOT NULL OR status_code = 'NotConfigured'",
    "settings": "interval_seconds > 0 AND (deletion_threshold IS NULL OR deletion_threshold >= 0)",
    "restart": "(restarted_run IS NULL) = (restart_scope IS NULL) AND (restarted_run IS NULL) = (restarted_at IS NULL)",
}
_STAGES_BEFORE = "stage IN ('listing', 'deletedItems', 'sweepLive', 'sweepAll', 'sweepLinks', 'cleanup')"
_STAGES = (
    "stage IN ('listing', 'retries', 'deletedItems', 'sweepLive', 'sweepAll', 'deletions', 'sweepLinks', 'cleanup')"
)


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        for column in _new_job_columns():
            jobs.add_column(column)
        jobs.alter_column("job_id", existing_type=types.Word(), nullable=True)
        for name, condition in _NEW_JOB_CHECKS.items():
            jobs.create_check_constraint(op.f(f"ck_jobs_{name}"), condition)
    op.execute("UPDATE jobs SET initial_run_pending = false WHERE last_run IS NOT NULL")
    with op.batch_alter_table("jobs") as jobs:
        for name in ("deletion_threshold", "initial_run_pending", "escrows_pruned"):
            jobs.alter_column(name, server_default=None)
    with op.batch_alter_table("parts") as parts:
        parts.add_column(sa.Column("wanted_selection", sa.Text()))
        parts.add_column(sa.Column("rebuild", sa.Boolean(), nullable=False, server_default=sa.false()))
        parts.create_check_constraint(op.f("ck_parts_rebuilding_takes_a_full_run"), "full_run_required OR NOT rebuild")
    with op.batch_alter_table("parts") as parts:
        parts.alter_column("rebuild", server_default=None)
    with op.batch_alter_table("run_parts") as run_parts:
        run_parts.drop_constraint("ck_run_parts_stage")
        run_parts.create_check_constraint(op.f("ck_run_parts_stage"), _STAGES)
    op.create_table(
        "escrows",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("object_id", types.Word(), nullable=False),
        sa.Column("error_code", types.Word(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("error_tenant_actionable", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", types.UtcDateTime(), nullable=False),
        sa.Column("last_failed_at", types.UtcDateTime(), nullable=False),
        sa.Column("next_attempt_at", types.UtcDateTime(), nullable=False),
        sa.Column("last_run", types.Word()),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("raw", types.JsonDocument(), nullable=False),
        sa.CheckConstraint("failures > 0", name=op.f("ck_escrows_failures")),
        sa.PrimaryKeyConstraint("organization_id", "part", "object_id", name=op.f("pk_escrows")),
    )
    op.create_table(
        "held_deletions",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("object_id", types.Word(), nullable=False),
        sa.Column("reason", types.Word(), nullable=False),
        sa.Column("held_at", types.UtcDateTime(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "reason IN ('changed', 'deleted', 'absent', 'outOfScope')", name=op.f("ck_held_deletions_reason")
        ),
        sa.PrimaryKeyConstraint("organization_id", "part", "object_id", name=op.f("pk_held_deletions")),
    )


def downgrade() -> None:
    op.drop_table("held_deletions")
    op.drop_table("escrows")
    op.execute("UPDATE run_parts SET stage = 'listing', cursor = NULL WHERE stage IN ('retries', 'deletions')")
    op.execute("UPDATE jobs SET job_id = 'deleted.' || organization_id WHERE job_id IS NULL")
    with op.batch_alter_table("run_parts") as run_parts:
        run_parts.drop_constraint("ck_run_parts_stage")
        run_parts.create_check_constraint(op.f("ck_run_parts_stage"), _STAGES_BEFORE)
    with op.batch_alter_table("parts") as parts:
        parts.drop_constraint("ck_parts_rebuilding_takes_a_full_run")
        parts.drop_column("rebuild")
        parts.drop_column("wanted_selection")
    with op.batch_alter_table("jobs") as jobs:
        for name in _NEW_JOB_CHECKS:
            jobs.drop_constraint(f"ck_jobs_{name}")
        jobs.alter_column("job_id", existing_type=types.Word(), nullable=False)
        for column in reversed(_new_job_columns()):
            jobs.drop_column(column.name)
