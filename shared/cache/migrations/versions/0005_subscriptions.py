"""Subscriptions to Graph's change notifications, the parts that they call dirty, and the runs that come of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.cache import types

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_GRANTED_WHOLE = (
    "(subscription_id IS NULL) = (client_state_hash IS NULL) AND (subscription_id IS NULL) = (url IS NULL)"
    " AND (subscription_id IS NULL) = (expires_at IS NULL) AND (subscription_id IS NULL) = (granted_at IS NULL)"
)


def upgrade() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("collection", types.Word(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("subscription_id", types.Word()),
        sa.Column("client_state_hash", sa.LargeBinary()),
        sa.Column("url", sa.Text()),
        sa.Column("expires_at", types.UtcDateTime()),
        sa.Column("granted_at", types.UtcDateTime()),
        sa.Column("due_at", types.UtcDateTime(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error_code", types.Word()),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_tenant_actionable", sa.Boolean()),
        sa.PrimaryKeyConstraint("organization_id", "collection", name=op.f("pk_subscriptions")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name=op.f("fk_subscriptions_organization_id")
        ),
        sa.UniqueConstraint("subscription_id", name=op.f("uq_subscriptions_subscription_id")),
        sa.CheckConstraint(_GRANTED_WHOLE, name=op.f("ck_subscriptions_granted_whole")),
        sa.CheckConstraint("(failures > 0) = (error_code IS NOT NULL)", name=op.f("ck_subscriptions_failures")),
    )
    op.create_index("ix_subscriptions_due_at", "subscriptions", ["due_at"])
    op.create_table(
        "dirty_parts",
        sa.Column("organization_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("part", types.Word(), nullable=False),
        sa.Column("due_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "part", name=op.f("pk_dirty_parts")),
    )
    op.add_column("runs", sa.Column("notified", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("runs", "notified")
    op.drop_table("dirty_parts")
    op.drop_index("ix_subscriptions_due_at", "subscriptions")
    op.drop_table("subscriptions")
