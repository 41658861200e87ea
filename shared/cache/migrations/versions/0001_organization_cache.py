"""The organization cache, its organizations, runs and cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.cache import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("relation", types.Word(), nullable=False),
        sa.Column("source_id", types.Word(), nullable=False),
        sa.Column("target_id", types.Word(), nullable=False),
        sa.Column("target_type", types.Word(), nullable=True),
        sa.Column("deleted_at", types.UtcDateTime(), nullable=True),
        sa.Column("change_number", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "relation", "source_id", "target_id", name=op.f("pk_links")),
    )
    op.create_index("ix_links_target_id", "links", ["organization_id", "target_id"], unique=False)
    op.create_table(
        "objects",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("object_id", types.Word(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("mail", sa.Text(), nullable=True),
        sa.Column("user_principal_name", sa.Text(), nullable=True),
        sa.Column("kind", types.Word(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=True),
        sa.Column("soft_deleted_at", types.UtcDateTime(), nullable=True),
        sa.Column("deleted_at", types.UtcDateTime(), nullable=True),
        sa.Column("changed_at", types.UtcDateTime(), nullable=False),
        sa.Column("change_number", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("payload_hash", sa.LargeBinary(), nullable=False),
        sa.Column("payload", types.JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "part", "object_id", name=op.f("pk_objects")),
    )
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant_id", types.Word(), nullable=False),
        sa.Column("name", types.Word(), nullable=False),
        sa.Column("region", types.Word(), nullable=False),
        sa.Column("authentication_type", types.Word(), nullable=False),
        sa.Column("client_id", types.Word(), nullable=False),
        sa.Column("application_object_id", types.Word(), nullable=False),
        sa.Column("service_principal_id", types.Word(), nullable=False),
        sa.Column("credential_kind", types.Word(), nullable=False),
        sa.Column("credential_secret", types.Word(), nullable=True),
        sa.Column("parts", types.Word(), nullable=False),
        sa.Column("registered_at", types.UtcDateTime(), nullable=False),
        sa.Column("removed_at", types.UtcDateTime(), nullable=True),
        sa.Column("change_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_organizations")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_organizations_application_object_id"), "organizations", ["application_object_id"], unique=False
    )
    op.create_index(
        "ix_organizations_removed_at",
        "organizations",
        ["removed_at"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NOT NULL"),
        postgresql_where=sa.text("removed_at IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_organizations_service_principal_id"), "organizations", ["service_principal_id"], unique=False
    )
    op.create_index(
        "uq_organizations_name",
        "organizations",
        ["name"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_organizations_tenant_id",
        "organizations",
        ["tenant_id"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "seen_links",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("relation", types.Word(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("source_id", types.Word(), nullable=False),
        sa.Column("target_id", types.Word(), nullable=False),
        sa.PrimaryKeyConstraint(
            "organization_id", "relation", "generation", "source_id", "target_id", name=op.f("pk_seen_links")
        ),
    )
    op.create_table(
        "seen_objects",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("object_id", types.Word(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "part", "generation", "object_id", name=op.f("pk_seen_objects")),
    )
    op.create_table(
        "jobs",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", types.Word(), nullable=False),
        sa.Column("schedule_state", types.Word(), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.Column("status_code", types.Word(), nullable=False),
        sa.Column("next_run_at", types.UtcDateTime(), nullable=True),
        sa.Column("successive_complete_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_run", types.Word(), nullable=True),
        sa.Column("last_successful_run", types.Word(), nullable=True),
        sa.Column("last_successful_run_with_exports", types.Word(), nullable=True),
        sa.Column("steady_state_first_at", types.UtcDateTime(), nullable=True),
        sa.Column("steady_state_last_at", types.UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "next_run_at IS NULL OR schedule_state = 'Active'", name=op.f("ck_jobs_only_active_jobs_are_due")
        ),
        sa.CheckConstraint("schedule_state IN ('Active', 'Disabled', 'Paused')", name=op.f("ck_jobs_schedule_state")),
        sa.CheckConstraint(
            "status_code IN ('NotConfigured', 'NotRun', 'Active', 'Paused', 'Quarantine')",
            name=op.f("ck_jobs_status_code"),
        ),
        sa.CheckConstraint(
            "(steady_state_first_at IS NULL) = (steady_state_last_at IS NULL)", name=op.f("ck_jobs_steady_state")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_jobs_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("job_id", name=op.f("uq_jobs_job_id")),
    )
    op.create_index(op.f("ix_jobs_next_run_at"), "jobs", ["next_run_at"], unique=False)
    op.create_table(
        "parts",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("delta_link", sa.Text(), nullable=True),
        sa.Column("selection", sa.Text(), nullable=True),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("full_run_required", sa.Boolean(), nullable=False),
        sa.Column("entry_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_run", types.Word(), nullable=True),
        sa.Column("last_successful_at", types.UtcDateTime(), nullable=True),
        sa.CheckConstraint("entry_count >= 0", name=op.f("ck_parts_entry_count")),
        sa.CheckConstraint(
            "full_run_required OR delta_link IS NOT NULL", name=op.f("ck_parts_incremental_needs_a_cursor")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_parts_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "part", name=op.f("pk_parts")),
    )
    op.create_table(
        "runs",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", types.Word(), nullable=False),
        sa.Column("queued_at", types.UtcDateTime(), nullable=False),
        sa.Column("type", types.Word(), nullable=False),
        sa.Column("status", types.Word(), nullable=False),
        sa.Column("started_at", types.UtcDateTime(), nullable=True),
        sa.Column("ended_at", types.UtcDateTime(), nullable=True),
        sa.Column("error_code", types.Word(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_tenant_actionable", sa.Boolean(), nullable=True),
        sa.Column("imported", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("imported_deltas", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("imported_reference_deltas", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("entitled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("entitled_for_provisioning", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("exports", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("exported", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("escrowed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("escrowed_raw", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(status IN ('Succeeded', 'EntryLevelErrors', 'Failed', 'Cancelled')) = (ended_at IS NOT NULL)",
            name=op.f("ck_runs_ended_when_finished"),
        ),
        sa.CheckConstraint("status <> 'Failed' OR error_code IS NOT NULL", name=op.f("ck_runs_failed_with_an_error")),
        sa.CheckConstraint("status <> 'Running' OR started_at IS NOT NULL", name=op.f("ck_runs_started_when_running")),
        sa.CheckConstraint(
            "status IN ('Queued', 'Running') OR status IN ('Succeeded', 'EntryLevelErrors', 'Failed', 'Cancelled')",
            name=op.f("ck_runs_status"),
        ),
        sa.CheckConstraint("type IN ('Full', 'Incremental')", name=op.f("ck_runs_type")),
        sa.CheckConstraint(
            "entitled_for_provisioning <= entitled AND entitled <= imported", name=op.f("ck_runs_entitled")
        ),
        sa.CheckConstraint("escrowed <= escrowed_raw", name=op.f("ck_runs_escrowed")),
        sa.CheckConstraint("exported <= exports", name=op.f("ck_runs_exported")),
        sa.CheckConstraint("imported_reference_deltas <= imported_deltas", name=op.f("ck_runs_reference_deltas")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_runs_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "run_id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_organization_id_queued_at", "runs", ["organization_id", "queued_at"], unique=False)
    op.create_index(
        "uq_runs_one_queued",
        "runs",
        ["organization_id"],
        unique=True,
        sqlite_where=sa.text("status = 'Queued'"),
        postgresql_where=sa.text("status = 'Queued'"),
    )
    op.create_index(
        "uq_runs_one_running",
        "runs",
        ["organization_id"],
        unique=True,
        sqlite_where=sa.text("status = 'Running'"),
        postgresql_where=sa.text("status = 'Running'"),
    )
    op.create_table(
        "run_parts",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", types.Word(), nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("type", types.Word(), nullable=False),
        sa.Column("status", types.Word(), nullable=False),
        sa.Column("started_at", types.UtcDateTime(), nullable=True),
        sa.Column("ended_at", types.UtcDateTime(), nullable=True),
        sa.Column("error_code", types.Word(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_tenant_actionable", sa.Boolean(), nullable=True),
        sa.Column("imported", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("imported_deltas", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("imported_reference_deltas", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("entitled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("entitled_for_provisioning", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("exports", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("exported", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("escrowed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("escrowed_raw", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stage", types.Word(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("delta_link", sa.Text(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_until", types.UtcDateTime(), nullable=True),
        sa.Column("wake_at", types.UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "(status IN ('Succeeded', 'EntryLevelErrors', 'Failed', 'Cancelled')) = (ended_at IS NOT NULL)",
            name=op.f("ck_run_parts_ended_when_finished"),
        ),
        sa.CheckConstraint(
            "stage = 'listing' OR delta_link IS NOT NULL",
            name=op.f("ck_run_parts_no_sweep_before_the_listing_is_complete"),
        ),
        sa.CheckConstraint(
            "stage IN ('listing', 'deletedItems', 'sweepLive', 'sweepAll', 'sweepLinks', 'cleanup')",
            name=op.f("ck_run_parts_stage"),
        ),
        sa.CheckConstraint(
            "status <> 'Failed' OR error_code IS NOT NULL", name=op.f("ck_run_parts_failed_with_an_error")
        ),
        sa.CheckConstraint(
            "status <> 'Running' OR started_at IS NOT NULL", name=op.f("ck_run_parts_started_when_running")
        ),
        sa.CheckConstraint(
            "status IN ('Queued', 'Running') OR status IN ('Succeeded', 'EntryLevelErrors', 'Failed', 'Cancelled')",
            name=op.f("ck_run_parts_status"),
        ),
        sa.CheckConstraint("type IN ('Full', 'Incremental')", name=op.f("ck_run_parts_type")),
        sa.CheckConstraint(
            "ended_at IS NULL OR (lease_until IS NULL AND wake_at IS NULL)", name=op.f("ck_run_parts_finished_is_idle")
        ),
        sa.CheckConstraint(
            "entitled_for_provisioning <= entitled AND entitled <= imported", name=op.f("ck_run_parts_entitled")
        ),
        sa.CheckConstraint("escrowed <= escrowed_raw", name=op.f("ck_run_parts_escrowed")),
        sa.CheckConstraint("exported <= exports", name=op.f("ck_run_parts_exported")),
        sa.CheckConstraint("imported_reference_deltas <= imported_deltas", name=op.f("ck_run_parts_reference_deltas")),
        sa.ForeignKeyConstraint(
            ["organization_id", "run_id"],
            ["runs.organization_id", "runs.run_id"],
            name=op.f("fk_run_parts_organization_id_run_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "run_id", "part", name=op.f("pk_run_parts")),
    )
    op.create_index(
        "ix_run_parts_wake_at",
        "run_parts",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_run_parts_wake_at",
        table_name="run_parts",
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.drop_table("run_parts")
    op.drop_index(
        "uq_runs_one_running",
        table_name="runs",
        sqlite_where=sa.text("status = 'Running'"),
        postgresql_where=sa.text("status = 'Running'"),
    )
    op.drop_index(
        "uq_runs_one_queued",
        table_name="runs",
        sqlite_where=sa.text("status = 'Queued'"),
        postgresql_where=sa.text("status = 'Queued'"),
    )
    op.drop_index("ix_runs_organization_id_queued_at", table_name="runs")
    op.drop_table("runs")
    op.drop_table("parts")
    op.drop_index(op.f("ix_jobs_next_run_at"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("seen_objects")
    op.drop_table("seen_links")
    op.drop_index(
        "uq_organizations_tenant_id",
        table_name="organizations",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "uq_organizations_name",
        table_name="organizations",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(op.f("ix_organizations_service_principal_id"), table_name="organizations")
    op.drop_index(
        "ix_organizations_removed_at",
        table_name="organizations",
        sqlite_where=sa.text("removed_at IS NOT NULL"),
        postgresql_where=sa.text("removed_at IS NOT NULL"),
    )
    op.drop_index(op.f("ix_organizations_application_object_id"), table_name="organizations")
    op.drop_table("organizations")
    op.drop_table("objects")
    op.drop_index("ix_links_target_id", table_name="links")
    op.drop_table("links")
