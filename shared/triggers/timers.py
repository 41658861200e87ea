"""Timer triggers: the planner, and the nightly comparison of the cache with Graph's counts."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

import os

import azure.functions as func

from shared.services import services
from shared.sync.parity_checks import plan_checks
from shared.sync.planning import plan
from shared.triggers.messages import CONNECTION, PARITY_CHECKS, PURGES, SLICES, Messages, send

blueprint = func.Blueprint()

PARITY_SCHEDULE = os.environ.get("PARITY_SCHEDULE", "0 30 2 * * *")
"""Read when the functions are indexed: a binding expression has no default, and without its setting no host starts."""


@blueprint.function_name("plan_synchronizations")
@blueprint.timer_trigger(arg_name="timer", schedule="%SYNC_SCHEDULE%")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@blueprint.queue_output(arg_name="purges", queue_name=PURGES, connection=CONNECTION)
@blueprint.queue_output(arg_name="checks", queue_name=PARITY_CHECKS, connection=CONNECTION)
def plan_synchronizations(timer: func.TimerRequest, messages: Messages, purges: Messages, checks: Messages) -> None:
    """Starts what is due and sends again what stalled."""
    planned = plan(services())
    send(messages, planned.slices)
    send(checks, planned.parity_checks)
    if planned.purges:
        purges.set([str(key) for key in planned.purges])


@blueprint.function_name("check_parity")
@blueprint.timer_trigger(arg_name="timer", schedule=PARITY_SCHEDULE)
@blueprint.queue_output(arg_name="checks", queue_name=PARITY_CHECKS, connection=CONNECTION)
def check_parity(timer: func.TimerRequest, checks: Messages) -> None:
    """Has every organization's cache compared with Graph's counts."""
    send(checks, plan_checks(services()))
