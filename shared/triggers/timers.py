"""Timer triggers: the planner."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

import azure.functions as func

from shared.services import services
from shared.sync.planning import plan
from shared.triggers.messages import CONNECTION, PURGES, SLICES, Messages, send

blueprint = func.Blueprint()


@blueprint.function_name("plan_synchronizations")
@blueprint.timer_trigger(arg_name="timer", schedule="%SYNC_SCHEDULE%")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@blueprint.queue_output(arg_name="purges", queue_name=PURGES, connection=CONNECTION)
def plan_synchronizations(timer: func.TimerRequest, messages: Messages, purges: Messages) -> None:
    """Starts what is due and sends again what stalled."""
    planned = plan(services())
    send(messages, planned.slices)
    if planned.purges:
        purges.set([str(key) for key in planned.purges])
