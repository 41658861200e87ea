"""Queue triggers: plans, slices, the messages that the queue gave up, comparisons, and the purge of organizations."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

import logging

import azure.functions as func

from shared.services import services
from shared.triggers.messages import (
    CONNECTION,
    PARITY_CHECKS,
    PLANS,
    PLANS_POISON,
    POISON,
    PURGES,
    SLICES,
    Messages,
    send,
)
from shared.triggers.rooms import sync

logger = logging.getLogger(__name__)
blueprint = func.Blueprint()


@blueprint.function_name("plan_organization")
@blueprint.queue_trigger(arg_name="message", queue_name=PLANS, connection=CONNECTION)
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@blueprint.queue_output(arg_name="checks", queue_name=PARITY_CHECKS, connection=CONNECTION)
def plan_organization(message: func.QueueMessage, messages: Messages, checks: Messages) -> None:
    """Does what is due of one organization: starts its run, refreshes cursors, sends again what stalled."""
    planned = sync().plan_for(services(), int(message.get_body()))
    send(messages, planned.slices)
    send(checks, planned.parity_checks)


@blueprint.function_name("report_dead_plan")
@blueprint.queue_trigger(arg_name="message", queue_name=PLANS_POISON, connection=CONNECTION)
def report_dead_plan(message: func.QueueMessage) -> None:
    """Tells of an organization that could not be planned; the planner finds it due again."""
    sync().count_dead_message(PLANS_POISON)
    try:
        key = int(message.get_body())
    except ValueError:
        logger.error("a message that names no organization was given up by the queue and dropped (id %s)", message.id)
        return
    logger.error("organization %d could not be planned, however often its message was delivered; it is still due", key)


@blueprint.function_name("synchronize_slice")
@blueprint.queue_trigger(arg_name="message", queue_name=SLICES, connection=CONNECTION)
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
async def synchronize_slice(message: func.QueueMessage, messages: Messages) -> None:
    """Does one slice of one part, then asks for the next."""
    send(messages, await sync().run_slice(services(), sync().SliceMessage.model_validate_json(message.get_body())))


@blueprint.function_name("fail_dead_slice")
@blueprint.queue_trigger(arg_name="message", queue_name=POISON, connection=CONNECTION)
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
def fail_dead_slice(message: func.QueueMessage, messages: Messages) -> None:
    """Makes a message that failed five times a visible error of its part."""
    sync().count_dead_message(POISON)
    try:
        dead = sync().SliceMessage.model_validate_json(message.get_body())
    except ValueError:
        logger.error("a message that is no slice message was given up by the queue and dropped (id %s)", message.id)
        return
    send(messages, sync().fail_dead_letter(services(), dead))


@blueprint.function_name("compare_with_counts")
@blueprint.queue_trigger(arg_name="message", queue_name=PARITY_CHECKS, connection=CONNECTION)
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
async def compare_with_counts(message: func.QueueMessage, messages: Messages) -> None:
    """Compares one organization's cache with Graph's counts, then asks for what a difference takes."""
    send(messages, await sync().check_parity(services(), sync().ParityMessage.model_validate_json(message.get_body())))


@blueprint.function_name("purge_organization")
@blueprint.queue_trigger(arg_name="message", queue_name=PURGES, connection=CONNECTION)
def purge_organization(message: func.QueueMessage) -> None:
    """Takes cached rows of a removed organization out; the planner asks again while some are left."""
    sync().purge_for(services(), int(message.get_body()))
