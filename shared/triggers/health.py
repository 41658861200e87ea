"""HTTP triggers: whether the service works, for everybody, and the answer for unknown paths."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import azure.functions as func
from pydantic import ValidationError
from sqlalchemy import text

from shared.api.messages import json_answer
from shared.api.operations import Answer, Operation
from shared.api.routing import METHODS, answers, leads_to_open, refuse_unknown, route
from shared.models.errors import DatabaseFailure
from shared.models.health import Health
from shared.services import services

blueprint = func.Blueprint()


@blueprint.function_name("get_health")
@route(
    blueprint,
    "health",
    "GET",
    Operation([Answer(model=lambda: Health), Answer(503, model=lambda: Health)]),
    protected=False,
)
def get_health(req: func.HttpRequest) -> func.HttpResponse:
    """200 when the settings can be used and the database answers and has its tables, else 503."""
    try:
        with services().database.read() as connection:
            connection.execute(text("SELECT organization_id FROM organizations LIMIT 1"))
    except ValidationError as error:
        wrong = ", ".join(str(detail["loc"][0]).upper() for detail in error.errors())
        return _answer(Health(status="Unhealthy", settings=f"{wrong} cannot be used."), 503)
    except DatabaseFailure:
        return _answer(Health(status="Unhealthy", database="Unavailable"), 503, headers={"Retry-After": "10"})
    return _answer(Health(status="Healthy", database="Available"))


def _asks_for_token(req: func.HttpRequest) -> bool:
    """At an open path it is the method that is wrong, which no token would change."""
    return not leads_to_open(_path(req))


@blueprint.function_name("unknown_path")
@blueprint.route(route="{*path}", methods=METHODS)
@partial(answers, protected=_asks_for_token)
def unknown_path(req: func.HttpRequest) -> func.HttpResponse:
    """404 for a path that does not exist, 405 for a method that a path does not take."""
    refuse_unknown(_path(req))


def _path(req: func.HttpRequest) -> str:
    return req.route_params.get("path", "")


def _answer(health: Health, status: int = 200, *, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """What is told of it: what cannot be known is left out."""
    return json_answer(health.model_dump(mode="json", by_alias=True, exclude_none=True), status, headers=headers)
