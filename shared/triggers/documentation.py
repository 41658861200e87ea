"""HTTP triggers: what this API is and what its errors mean, for programs and for people; open to everybody."""

from __future__ import annotations

import azure.functions as func

from shared.api.messages import json_answer, page_answer
from shared.api.operations import Answer, Operation
from shared.api.routing import route

blueprint = func.Blueprint()


@blueprint.function_name("get_openapi")
@route(blueprint, "openapi.json", "GET", Operation([Answer(200)]), protected=False)
def get_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """This API as an OpenAPI document."""
    # Nobody else needs what makes the document: it is loaded for who asks.
    from shared.api.openapi import document

    return json_answer(document())


@blueprint.function_name("get_docs")
@route(blueprint, "docs", "GET", Operation([Answer(200, "text/html")]), protected=False)
def get_docs(req: func.HttpRequest) -> func.HttpResponse:
    """This API for people to read."""
    from shared.api.openapi import document
    from shared.api.views.reference import reference

    return page_answer(reference(document()))


@blueprint.function_name("get_troubleshooting")
@route(blueprint, "docs/troubleshooting/{code}", "GET", Operation([Answer(200, "text/html")]), protected=False)
def get_troubleshooting(req: func.HttpRequest) -> func.HttpResponse:
    """Our page on an error: what it means, and what to do."""
    from shared.api.views.troubleshooting import html

    return page_answer(html(req.route_params["code"]))
