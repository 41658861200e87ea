"""The tables of the organization cache database.

``organization_id`` comes first in every key, so that organizations never mix and the database can be sharded by it.
Rows of objects and links are never taken out while their organization is registered: what is gone stays as a
tombstone, and every change of a row gives it the ``change_number`` of the transaction that made it, which grows per
organization. The CHECK constraints and the partial unique indexes (``schema.py``) refuse states that must not exist.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    true,
)

from shared.cache.types import JsonDocument, UtcDateTime, Word

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _organization_id() -> Column[int]:
    return Column(
        "organization_id", Integer, ForeignKey("organizations.organization_id"), primary_key=True, autoincrement=False
    )


def _bulk_organization_id() -> Column[int]:
    """Without a foreign key: PostgreSQL would look it up once for every row that is loaded."""
    return Column("organization_id", Integer, primary_key=True, autoincrement=False)


organizations = Table(
    "organizations",
    metadata,
    Column("organization_id", Integer, primary_key=True, autoincrement=True),
    Column("tenant_id", Word, nullable=False),
    Column("name", Word, nullable=False),
    Column("region", Word, nullable=False),
    Column("authentication_type", Word, nullable=False),
    Column("client_id", Word, nullable=False),
    Column("application_object_id", Word, nullable=False, index=True),
    Column("service_principal_id", Word, nullable=False, index=True),
    Column("credential_kind", Word, nullable=False),
    Column("credential_secret", Word),
    Column("parts", Word, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("removed_at", UtcDateTime),
    Column("change_number", BigInteger, nullable=False, server_default="0"),
)
jobs = Table(
    "jobs",
    metadata,
    _organization_id(),
    Column("job_id", Word, unique=True),
    Column("schedule_state", Word, nullable=False),
    Column("interval_seconds", Integer, nullable=False),
    Column("status_code", Word, nullable=False),
    Column("next_run_at", UtcDateTime, index=True),
    Column("successive_complete_failures", Integer, nullable=False, server_default="0"),
    Column("last_run", Word),
    Column("last_successful_run", Word),
    Column("last_successful_run_with_exports", Word),
    Column("steady_state_first_at", UtcDateTime),
    Column("steady_state_last_at", UtcDateTime),
    Column("deletion_threshold", Integer),
    Column("initial_run_pending", Boolean, nullable=False),
    Column("escrows_pruned", Boolean, nullable=False),
    Column("restarted_run", Word),
    Column("restart_scope", Integer),
    Column("restarted_at", UtcDateTime),
    Column("quarantine_reason", Word),
    Column("quarantine_error_code", Word),
    Column("quarantine_error_message", Text),
    Column("quarantine_error_tenant_actionable", Boolean),
    Column("quarantine_current_began_at", UtcDateTime),
    Column("quarantine_series_began_at", UtcDateTime),
    Column("quarantine_series_count", Integer),
    Column("quarantine_next_attempt_at", UtcDateTime),
    CheckConstraint(
        "schedule_state = 'Active' AND status_code IN ('NotRun', 'Active', 'Quarantine')"
        " OR schedule_state = 'Disabled' AND status_code IN ('NotConfigured', 'NotRun', 'Paused', 'Quarantine')",
        name="condition",
    ),
    CheckConstraint("(status_code = 'Quarantine') = (quarantine_reason IS NOT NULL)", name="quarantine"),
    CheckConstraint(
        "quarantine_reason IS NULL OR quarantine_current_began_at IS NOT NULL"
        " AND quarantine_series_began_at IS NOT NULL AND quarantine_series_count IS NOT NULL"
        " AND quarantine_next_attempt_at IS NOT NULL",
        name="quarantine_is_whole",
    ),
    CheckConstraint("next_run_at IS NULL OR schedule_state = 'Active'", name="only_active_jobs_are_due"),
    CheckConstraint("(steady_state_first_at IS NULL) = (steady_state_last_at IS NULL)", name="steady_state"),
    CheckConstraint("job_id IS NOT NULL OR status_code = 'NotConfigured'", name="without_a_job_nothing_runs"),
    CheckConstraint(
        "interval_seconds > 0 AND (deletion_threshold IS NULL OR deletion_threshold >= 0)", name="settings"
    ),
    CheckConstraint(
        "(restarted_run IS NULL) = (restart_scope IS NULL) AND (restarted_run IS NULL) = (restarted_at IS NULL)",
        name="restart",
    ),
)

parts = Table(
    "parts",
    metadata,
    _organization_id(),
    Column("part", Word, primary_key=True),
    Column("delta_link", Text),
    Column("selection", Text),
    Column("wanted_selection", Text),
    Column("generation", BigInteger, nullable=False, server_default="0"),
    Column("rebuild", Boolean, nullable=False),
    Column("full_run_required", Boolean, nullable=False),
    Column("full_run_required_after", BigInteger, nullable=False, server_default="0"),
    Column("entry_count", BigInteger, nullable=False, server_default="0"),
    Column("last_run", Word),
    Column("last_successful_at", UtcDateTime),
    Column("listed_at", UtcDateTime),
    Column("refresh_at", UtcDateTime),
    Column("parity_checked_at", UtcDateTime),
    Column("parity_expected", BigInteger),
    Column("parity_cached", BigInteger),
    Column("parity_recheck_at", UtcDateTime),
    CheckConstraint("full_run_required OR delta_link IS NOT NULL", name="incremental_needs_a_cursor"),
    CheckConstraint("entry_count >= 0", name="entry_count"),
    CheckConstraint("full_run_required OR NOT rebuild", name="rebuilding_takes_a_full_run"),
    CheckConstraint(
        "(parity_checked_at IS NULL) = (parity_expected IS NULL)"
        " AND (parity_checked_at IS NULL) = (parity_cached IS NULL)",
        name="parity",
    ),
)
_FINISHED = "('Succeeded', 'EntryLevelErrors', 'Failed', 'Cancelled')"


def _execution_columns() -> tuple[Column[object], ...]:
    return (
        Column("type", Word, nullable=False),
        Column("status", Word, nullable=False),
        Column("started_at", UtcDateTime),
        Column("ended_at", UtcDateTime),
        Column("error_code", Word),
        Column("error_message", Text),
        Column("error_tenant_actionable", Boolean),
        *(
            Column(name, BigInteger, nullable=False, server_default="0")
            for name in (
                "imported", "imported_deltas", "imported_reference_deltas", "entitled", "entitled_for_provisioning",
                "exports", "exported", "escrowed", "escrowed_raw",
            )
        ),
    )  # fmt: skip


def _execution_checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("type IN ('Full', 'Incremental')", name="type"),
        CheckConstraint(f"status IN ('Queued', 'Running') OR status IN {_FINISHED}", name="status"),
        CheckConstraint(f"(status IN {_FINISHED}) = (ended_at IS NOT NULL)", name="ended_when_finished"),
        CheckConstraint("status <> 'Running' OR started_at IS NOT NULL", name="started_when_running"),
        CheckConstraint("status <> 'Failed' OR error_code IS NOT NULL", name="failed_with_an_error"),
        CheckConstraint("exported <= exports", name="exported"),
        CheckConstraint("escrowed <= escrowed_raw", name="escrowed"),
        CheckConstraint("imported_reference_deltas <= imported_deltas", name="reference_deltas"),
        CheckConstraint("entitled_for_provisioning <= entitled AND entitled <= imported", name="entitled"),
    )


runs = Table(
    "runs",
    metadata,
    _organization_id(),
    Column("run_id", Word, primary_key=True),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("keeps_cursors", Boolean, nullable=False, server_default=false()),
    Column("notified", Boolean, nullable=False, server_default=false()),
    *_execution_columns(),
    *_execution_checks(),
)
Index("ix_runs_organization_id_queued_at", runs.c.organization_id, runs.c.queued_at)

run_parts = Table(
    "run_parts",
    metadata,
    Column("organization_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Word, primary_key=True),
    Column("part", Word, primary_key=True),
    *_execution_columns(),
    Column("stage", Word, nullable=False),
    Column("cursor", Text),
    Column("delta_link", Text),
    Column("generation", BigInteger),
    Column("total", BigInteger),
    Column("staged", BigInteger, nullable=False, server_default="0"),
    Column("resource_units", BigInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("checkpoint", Text),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("lease_until", UtcDateTime),
    Column("wake_at", UtcDateTime),
    Column("waits_since", UtcDateTime),
    ForeignKeyConstraint(["organization_id", "run_id"], ["runs.organization_id", "runs.run_id"]),
    *_execution_checks(),
    CheckConstraint(
        "stage IN ('listing', 'retries', 'deletedItems', 'applyLive', 'applyAll', 'sweepLive', 'sweepAll',"
        " 'deletions', 'holdLinks', 'sweepLinks', 'cleanup')",
        name="stage",
    ),
    CheckConstraint("ended_at IS NULL OR (lease_until IS NULL AND wake_at IS NULL)", name="finished_is_idle"),
    CheckConstraint("stage = 'listing' OR delta_link IS NOT NULL", name="no_sweep_before_the_listing_is_complete"),
)
objects = Table(
    "objects",
    metadata,
    _bulk_organization_id(),
    Column("part", Word, primary_key=True),
    Column("object_id", Word, primary_key=True),
    Column("display_name", Text),
    Column("mail", Text),
    Column("user_principal_name", Text),
    Column("kind", Word),
    Column("enabled", Boolean),
    Column("soft_deleted_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("change_number", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("record_digest", LargeBinary, nullable=False),
    Column("payload", JsonDocument, nullable=False),
)
links = Table(
    "links",
    metadata,
    _bulk_organization_id(),
    Column("relation", Word, primary_key=True),
    Column("source_id", Word, primary_key=True),
    Column("target_id", Word, primary_key=True),
    Column("target_type", Word),
    Column("deleted_at", UtcDateTime),
    Column("change_number", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
)
Index("ix_links_target_id", links.c.organization_id, links.c.target_id)

staged_pages = Table(
    "staged_pages",
    metadata,
    _bulk_organization_id(),
    Column("part", Word, primary_key=True),
    Column("generation", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("objects", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What is new in the pages that a full run has received beside the visible cache; it is applied once its listing is
complete."""

throttles = Table(
    "throttles",
    metadata,
    _bulk_organization_id(),
    Column("family", Word, primary_key=True),
    Column("until", UtcDateTime, nullable=False),
)
"""Until when Graph asked not to be asked: one budget for each organization and family of services."""

seen_objects = Table(
    "seen_objects",
    metadata,
    _bulk_organization_id(),
    Column("part", Word, primary_key=True),
    Column("generation", BigInteger, primary_key=True),
    Column("object_id", Word, primary_key=True),
    Column("noted", Boolean, nullable=False, server_default=true()),
    Column("put_aside", Boolean, nullable=False, server_default=false()),
)
"""Objects that the run of this generation received: noted where they were found unchanged, so that their rows need no
new write, and whether something of them was put aside."""

seen_links = Table(
    "seen_links",
    metadata,
    _bulk_organization_id(),
    Column("relation", Word, primary_key=True),
    Column("generation", BigInteger, primary_key=True),
    Column("source_id", Word, primary_key=True),
    Column("target_id", Word, primary_key=True),
)
"""Links that the run of this generation received and found unchanged."""

escrows = Table(
    "escrows",
    metadata,
    _bulk_organization_id(),
    Column("part", Word, primary_key=True),
    Column("object_id", Word, primary_key=True),
    Column("error_code", Word, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("error_tenant_actionable", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("first_failed_at", UtcDateTime, nullable=False),
    Column("last_failed_at", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("last_run", Word),
    Column("generation", BigInteger, nullable=False),
    Column("raw", JsonDocument, nullable=False),
    CheckConstraint("failures > 0", name="failures"),
)
"""Objects that could not be written, as Graph sent them, until they succeed or disappear."""

held_deletions = Table(
    "held_deletions",
    metadata,
    _bulk_organization_id(),
    Column("part", Word, primary_key=True),
    Column("object_id", Word, primary_key=True),
    Column("reason", Word, nullable=False),
    Column("held_at", UtcDateTime, nullable=False),
    Column("approved", Boolean, nullable=False),
    CheckConstraint("reason IN ('changed', 'deleted', 'absent', 'outOfScope', 'absentLink')", name="reason"),
)
"""Deletions that a run has learned of: carried out at its end, or held back when they are too many. Of a link, the
``object_id`` is ``relation/source_id/target_id``."""

subscriptions = Table(
    "subscriptions",
    metadata,
    _organization_id(),
    Column("collection", Word, primary_key=True),
    Column("wanted", Boolean, nullable=False),
    Column("subscription_id", Word, unique=True),
    Column("client_state_hash", LargeBinary),
    Column("url", Text),
    Column("expires_at", UtcDateTime),
    Column("granted_at", UtcDateTime),
    Column("due_at", UtcDateTime, nullable=False, index=True),
    Column("attempt", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("error_code", Word),
    Column("error_message", Text),
    Column("error_tenant_actionable", Boolean),
    CheckConstraint(
        "(subscription_id IS NULL) = (client_state_hash IS NULL) AND (subscription_id IS NULL) = (url IS NULL)"
        " AND (subscription_id IS NULL) = (expires_at IS NULL) AND (subscription_id IS NULL) = (granted_at IS NULL)",
        name="granted_whole",
    ),
    CheckConstraint("(failures > 0) = (error_code IS NOT NULL)", name="failures"),
)
"""Subscriptions to Graph's change notifications; of the secret that proves a notification only a hash is kept."""

dirty_parts = Table(
    "dirty_parts",
    metadata,
    _bulk_organization_id(),
    Column("part", Word, primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
)
"""Parts that have changed in Graph since a run last began to read them, as notifications say, and when the next run is
due for it. In a table of its own: the rows of ``parts`` are held by every page that is written."""
