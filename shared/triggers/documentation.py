"""HTTP triggers: what this API is, for programs and for people; open to everybody."""

from __future__ import annotations

import azure.functions as func

from shared.api.messages import json_answer, page_answer
from shared.api.operations import Answer, Operation
from shared.api.routing import route
from shared.triggers.rooms import api

blueprint = func.Blueprint()


@blueprint.function_name("get_openapi")
@route(blueprint, "openapi.json", "GET", Operation([Answer(200)]), protected=False)
def get_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """This API as an OpenAPI document."""
    return json_answer(api().openapi())


@blueprint.function_name("get_docs")
@route(blueprint, "docs", "GET", Operation([Answer(200, "text/html")]), protected=False)
def get_docs(req: func.HttpRequest) -> func.HttpResponse:
    """This API for people to read."""
    return page_answer(api().reference(api().openapi()))
