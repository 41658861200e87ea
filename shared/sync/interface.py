"""What the triggers call of this room, in one place: with it the whole room is loaded (``shared.triggers.rooms``)."""

from __future__ import annotations

from shared.models.parity import ParityMessage
from shared.models.slices import SliceMessage
from shared.sync.configuration import change_selection, change_settings, create_job, delete_job
from shared.sync.control import pause, quarantine_on_demand, refuse_to_run, restart, start, start_job
from shared.sync.measuring import measure
from shared.sync.notifications import Received, read_changes, receive
from shared.sync.on_demand import provision
from shared.sync.parity_checks import check_parity, plan_checks
from shared.sync.planning import find_due, plan_for
from shared.sync.purging import purge_for
from shared.sync.slices import fail_dead_letter, run_slice
from shared.sync.subscriptions import maintain
from shared.sync.validation import Failures, GivenSecret, validate
from shared.telemetry.metrics import count_dead_message

__all__ = [
    "Failures",
    "GivenSecret",
    "ParityMessage",
    "Received",
    "SliceMessage",
    "change_selection",
    "change_settings",
    "check_parity",
    "count_dead_message",
    "create_job",
    "delete_job",
    "fail_dead_letter",
    "find_due",
    "maintain",
    "measure",
    "pause",
    "plan_checks",
    "plan_for",
    "provision",
    "purge_for",
    "quarantine_on_demand",
    "read_changes",
    "receive",
    "refuse_to_run",
    "restart",
    "run_slice",
    "start",
    "start_job",
    "validate",
]
