"""Timer triggers: the planner, the nightly comparison of the cache with Graph's counts, and the state of all told."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

import os

import azure.functions as func

from shared.services import services
from shared.triggers.messages import CONNECTION, PARITY_CHECKS, PLANS, PURGES, SUBSCRIPTIONS, Messages, send, send_keys
from shared.triggers.rooms import sync

blueprint = func.Blueprint()

PARITY_SCHEDULE = os.environ.get("PARITY_SCHEDULE", "0 30 2 * * *")
METRICS_SCHEDULE = os.environ.get("METRICS_SCHEDULE", "0 */5 * * * *")
"""Read when the functions are indexed: a binding expression has no default, and without its setting no host starts."""


@blueprint.function_name("plan_synchronizations")
@blueprint.timer_trigger(arg_name="timer", schedule="%SYNC_SCHEDULE%")
@blueprint.queue_output(arg_name="plans", queue_name=PLANS, connection=CONNECTION)
@blueprint.queue_output(arg_name="purges", queue_name=PURGES, connection=CONNECTION)
@blueprint.queue_output(arg_name="subscribing", queue_name=SUBSCRIPTIONS, connection=CONNECTION)
def plan_synchronizations(timer: func.TimerRequest, plans: Messages, purges: Messages, subscribing: Messages) -> None:
    """Finds the organizations that something is due of, and has each planned, or purged if it was removed, and its
    subscriptions looked after."""
    due = sync().find_due(services())
    send_keys(plans, due.registered)
    send_keys(purges, due.removed)
    send_keys(subscribing, due.subscribing)


@blueprint.function_name("check_parity")
@blueprint.timer_trigger(arg_name="timer", schedule=PARITY_SCHEDULE)
@blueprint.queue_output(arg_name="checks", queue_name=PARITY_CHECKS, connection=CONNECTION)
def check_parity(timer: func.TimerRequest, checks: Messages) -> None:
    """Has every organization's cache compared with Graph's counts."""
    send(checks, sync().plan_checks(services()))


@blueprint.function_name("measure_synchronizations")
@blueprint.timer_trigger(arg_name="timer", schedule=METRICS_SCHEDULE)
def measure_synchronizations(timer: func.TimerRequest) -> None:
    """Tells the state of every organization to whoever watches over them, also while nothing else runs."""
    sync().measure(services())
