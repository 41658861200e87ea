"""The job's quarantine and conditions, and when a part came to need a full run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.cache import types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("quarantine_reason", types.Word()),
    ("quarantine_error_code", types.Word()),
    ("quarantine_error_message", sa.Text()),
    ("quarantine_error_tenant_actionable", sa.Boolean()),
    ("quarantine_current_began_at", types.UtcDateTime()),
    ("quarantine_series_began_at", types.UtcDateTime()),
    ("quarantine_series_count", sa.Integer()),
    ("quarantine_next_attempt_at", types.UtcDateTime()),
)


def upgrade() -> None:
    op.add_column("parts", sa.Column("full_run_required_after", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("jobs") as jobs:
        for name, kind in _COLUMNS:
            jobs.add_column(sa.Column(name, kind))
        jobs.drop_constraint("ck_jobs_schedule_state")
        jobs.drop_constraint("ck_jobs_status_code")
        jobs.create_check_constraint(
            op.f("ck_jobs_condition"),
            "schedule_state = 'Active' AND status_code IN ('NotRun', 'Active', 'Quarantine')"
            " OR schedule_state = 'Disabled' AND status_code IN ('NotConfigured', 'NotRun', 'Paused', 'Quarantine')",
        )
        jobs.create_check_constraint(
            op.f("ck_jobs_quarantine"), "(status_code = 'Quarantine') = (quarantine_reason IS NOT NULL)"
        )
        jobs.create_check_constraint(
            op.f("ck_jobs_quarantine_is_whole"),
            "quarantine_reason IS NULL OR quarantine_current_began_at IS NOT NULL"
            " AND quarantine_series_began_at IS NOT NULL AND quarantine_series_count IS NOT NULL"
            " AND quarantine_next_attempt_at IS NOT NULL",
        )


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        for name in ("ck_jobs_quarantine_is_whole", "ck_jobs_quarantine", "ck_jobs_condition"):
            jobs.drop_constraint(name)
        jobs.create_check_constraint(
            op.f("ck_jobs_schedule_state"), "schedule_state IN ('Active', 'Disabled', 'Paused')"
        )
        jobs.create_check_constraint(
            op.f("ck_jobs_status_code"),
            "status_code IN ('NotConfigured', 'NotRun', 'Active', 'Paused', 'Quarantine')",
        )
        for name, _ in reversed(_COLUMNS):
            jobs.drop_column(name)
    with op.batch_alter_table("parts") as parts:
        parts.drop_column("full_run_required_after")
