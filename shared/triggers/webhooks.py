"""Triggers of Graph's webhooks: notifications come in, changes are read, subscriptions are looked after and listed."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import azure.functions as func

from shared.api.callers import current_scope
from shared.api.messages import json_answer, read_body
from shared.api.operations import Answer, Body, Form, Operation, Parameter
from shared.api.routing import route
from shared.cache import organizations, subscriptions
from shared.models.errors import BadRequest
from shared.models.notifications import (
    LIFECYCLE_NOTIFICATIONS,
    NOTIFICATIONS,
    ChangeMessage,
    NotificationCollection,
)
from shared.models.subscriptions import SubscriptionEntity
from shared.services import services
from shared.triggers.messages import (
    CHANGES,
    CHANGES_POISON,
    CONNECTION,
    PARITY_CHECKS,
    PLANS,
    SLICES,
    SUBSCRIPTIONS,
    SUBSCRIPTIONS_POISON,
    Messages,
    send,
    send_keys,
)
from shared.triggers.rooms import sync

if TYPE_CHECKING:
    from shared.sync.interface import Received

logger = logging.getLogger(__name__)
blueprint = func.Blueprint()

_LONGEST_TOKEN = 2_048
_ITEMS = Body(lambda: NotificationCollection)
_RECEIVE = Operation(
    [Answer(200, "text/plain"), Answer(202, None)],
    body=_ITEMS,
    parameters=(
        Parameter("validationToken", _LONGEST_TOKEN, "Sent by Graph before it subscribes, to be answered as it is."),
    ),
)


@blueprint.function_name("receive_notifications")
@blueprint.queue_output(arg_name="changes", queue_name=CHANGES, connection=CONNECTION)
@blueprint.queue_output(arg_name="plans", queue_name=PLANS, connection=CONNECTION)
@route(blueprint, NOTIFICATIONS, "POST", _RECEIVE, protected=False)
def receive_notifications(req: func.HttpRequest, changes: Messages, plans: Messages) -> func.HttpResponse:
    """Takes in what Graph tells of changes: 202 whoever sent it, so that nobody learns what we know."""
    if (token := _validation_token(req)) is not None:
        return _validated(token)
    received = _receive(req)
    send(changes, received.changes)
    send_keys(plans, received.planning)
    return func.HttpResponse(status_code=202)


@blueprint.function_name("receive_lifecycle_notifications")
@blueprint.queue_output(arg_name="changes", queue_name=CHANGES, connection=CONNECTION)
@blueprint.queue_output(arg_name="plans", queue_name=PLANS, connection=CONNECTION)
@blueprint.queue_output(arg_name="subscribing", queue_name=SUBSCRIPTIONS, connection=CONNECTION)
@route(blueprint, LIFECYCLE_NOTIFICATIONS, "POST", _RECEIVE, protected=False)
def receive_lifecycle_notifications(
    req: func.HttpRequest, changes: Messages, plans: Messages, subscribing: Messages
) -> func.HttpResponse:
    """Takes in what Graph tells of a subscription itself, and answers as for changes."""
    if (token := _validation_token(req)) is not None:
        return _validated(token)
    received = _receive(req)
    send(changes, received.changes)
    send_keys(plans, received.planning)
    send_keys(subscribing, received.subscribing)
    return func.HttpResponse(status_code=202)


@blueprint.function_name("list_subscriptions")
@route(
    blueprint,
    "organizations/{id}/subscriptions",
    "GET",
    Operation([Answer(model=lambda: SubscriptionEntity, form=Form.LIST)]),
)
def list_subscriptions(req: func.HttpRequest) -> func.HttpResponse:
    """The organization's subscriptions to Graph's notifications, with what last failed of them."""
    app = services()
    with app.database.read() as connection:
        key = organizations.find(connection, req.route_params["id"], current_scope()).key
        found = subscriptions.list_all(connection, key, app.now())
    return json_answer({"value": [entity.wire() for entity in found]})


@blueprint.function_name("synchronize_changes")
@blueprint.queue_trigger(arg_name="message", queue_name=CHANGES, connection=CONNECTION)
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@blueprint.queue_output(arg_name="checks", queue_name=PARITY_CHECKS, connection=CONNECTION)
async def synchronize_changes(message: func.QueueMessage, messages: Messages, checks: Messages) -> None:
    """Starts the run that reads what notifications say has changed, once it is due."""
    planned = await sync().read_changes(services(), ChangeMessage.model_validate_json(message.get_body()))
    send(messages, planned.slices)
    send(checks, planned.parity_checks)


@blueprint.function_name("report_dead_change")
@blueprint.queue_trigger(arg_name="message", queue_name=CHANGES_POISON, connection=CONNECTION)
def report_dead_change(message: func.QueueMessage) -> None:
    """Tells of changes that could not be read; the planner finds their marks."""
    logger.error("changes could not be read, however often their message was delivered (id %s)", message.id)


@blueprint.function_name("maintain_subscriptions")
@blueprint.queue_trigger(arg_name="message", queue_name=SUBSCRIPTIONS, connection=CONNECTION)
@blueprint.queue_output(arg_name="changes", queue_name=CHANGES, connection=CONNECTION)
async def maintain_subscriptions(message: func.QueueMessage, changes: Messages) -> None:
    """Creates, renews and removes what is due of one organization's subscriptions."""
    send(changes, await sync().maintain(services(), int(message.get_body())))


@blueprint.function_name("report_dead_subscription")
@blueprint.queue_trigger(arg_name="message", queue_name=SUBSCRIPTIONS_POISON, connection=CONNECTION)
def report_dead_subscription(message: func.QueueMessage) -> None:
    """Tells of subscriptions that could not be looked after; the planner finds them due again."""
    logger.error("subscriptions could not be looked after, however often their message came (id %s)", message.id)


def _receive(req: func.HttpRequest) -> Received:
    app = services()
    return sync().receive(app, read_body(req, _ITEMS, app.settings.request_body_bytes).value)


def _validation_token(req: func.HttpRequest) -> str | None:
    """What Graph asks to have repeated before it grants a subscription (graph.md §7.2).

    Raises:
        BadRequest: It is longer than any of Graph's.
    """
    token = cast(Mapping[str, str], req.params).get("validationToken")
    if token is not None and len(token) > _LONGEST_TOKEN:
        raise BadRequest(f"validationToken has more than {_LONGEST_TOKEN} characters.")
    return token


def _validated(token: str) -> func.HttpResponse:
    """Anybody may ask for this with any text: nothing that reads it may take it for a page, or run it."""
    policy = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
    return func.HttpResponse(token, status_code=200, headers=policy, mimetype="text/plain", charset="utf-8")
