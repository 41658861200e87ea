"""Graph's routes: which path under /v1.0 and /beta is answered by what, and batches of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

import orjson

from local.tenant import delta_api, lists, subscriptions_api
from local.tenant.directory import Relation, Resource
from local.tenant.identity import require_bearer
from local.tenant.state import Tenant
from local.tenant.web import Answer, GraphError, Request, bad_request

Handler = Callable[[Tenant, Request, dict[str, str]], Answer]

_LARGEST_BATCH = 20
_logger = logging.getLogger(__name__)


def _resource(parts: dict[str, str]) -> Resource:
    return cast(Resource, parts["resource"].lower())


def _relation(parts: dict[str, str]) -> Relation:
    return cast(Relation, parts["relation"].lower())


_ROUTES: tuple[tuple[re.Pattern[str], Handler], ...] = tuple(
    (re.compile(f"^/(?:v1\\.0|beta)/{pattern}/?$", re.IGNORECASE), handler)
    for pattern, handler in (
        (
            r"(?P<resource>users|groups|sites)/(?:microsoft\.graph\.)?delta(?:\(\))?",
            lambda tenant, request, parts: delta_api.answer(tenant, request, _resource(parts)),
        ),
        (
            r"(?P<resource>users|groups)/\$count",
            lambda tenant, request, parts: lists.count(tenant, request, _resource(parts)),
        ),
        (
            r"(?P<resource>sites)/getAllSites(?:\(\))?",
            lambda tenant, request, parts: lists.objects(tenant, request, "sites"),
        ),
        (
            r"(?P<resource>users|groups)",
            lambda tenant, request, parts: lists.objects(tenant, request, _resource(parts)),
        ),
        (
            r"(?P<resource>users|groups|sites)/(?P<id>[^/]+)",
            lambda tenant, request, parts: lists.one(tenant, request, _resource(parts), parts["id"]),
        ),
        (
            r"groups/(?P<id>[^/]+)/(?P<relation>members|owners)",
            lambda tenant, request, parts: lists.links(tenant, request, _relation(parts), parts["id"]),
        ),
        (
            r"groups/(?P<id>[^/]+)/(?P<relation>members|owners)/\$count",
            lambda tenant, request, parts: lists.link_count(tenant, request, _relation(parts), parts["id"]),
        ),
        (
            r"users/(?P<id>[^/]+)/mailboxSettings/userPurpose",
            lambda tenant, request, parts: lists.user_purpose(tenant, request, parts["id"]),
        ),
        (
            r"directory/deletedItems/(?:microsoft\.)?graph\.(?P<resource>user|group)",
            lambda tenant, request, parts: lists.deleted_items(
                tenant, request, cast(Resource, parts["resource"].lower() + "s")
            ),
        ),
        (r"organization", lambda tenant, request, parts: lists.organization(tenant, request)),
        (r"teams", lambda tenant, request, parts: lists.teams(tenant, request)),
        (r"teams/(?P<id>[^/]+)", lambda tenant, request, parts: lists.team(tenant, request, parts["id"])),
        (
            r"teams/(?P<id>[^/]+)/channels",
            lambda tenant, request, parts: lists.channels(tenant, request, parts["id"]),
        ),
    )
)
_SUBSCRIPTIONS = re.compile(
    r"^/(?:v1\.0|beta)/subscriptions(?:/(?P<id>[^/]+)(?:/(?P<action>reauthorize))?)?/?$", re.IGNORECASE
)
_BATCH = re.compile(r"^/(?:v1\.0|beta)/\$batch/?$", re.IGNORECASE)


async def answer(tenant: Tenant, request: Request) -> Answer:
    """The complete answer to a request, errors included."""
    try:
        require_bearer(tenant, request)
        if (parts := _SUBSCRIPTIONS.match(request.path)) is not None:
            found = await subscriptions_api.answer(tenant, request, parts["id"], parts["action"])
        else:
            found = _batch(tenant, request) if _BATCH.match(request.path) else _single(tenant, request)
    except GraphError as error:
        found = error.answer(request.request_id, request.client_request_id)
    except Exception:
        _logger.exception("The simulated tenant failed at %s %s", request.method, request.path)
        error = GraphError(500, "InternalServerError", "The simulated tenant has a defect; see its log.")
        found = error.answer(request.request_id, request.client_request_id)
    found.headers.update({"request-id": request.request_id, "client-request-id": request.client_request_id})
    return found


def _single(tenant: Tenant, request: Request) -> Answer:
    for pattern, handler in _ROUTES:
        parts = pattern.match(request.path)
        if parts is None:
            continue
        if request.method != "GET":
            raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
        return handler(tenant, request, parts.groupdict())
    raise bad_request(f"Resource not found for the segment '{request.path.rpartition('/')[2]}'.")


def _batch(tenant: Tenant, request: Request) -> Answer:
    """Each entry is judged for itself; the batch as a whole is a success whatever its entries say."""
    if request.method != "POST":
        raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
    body = request.json()
    entries = body.get("requests") if isinstance(body, dict) else None
    required = {"id", "method", "url"}
    if not isinstance(entries, list) or not all(isinstance(e, dict) and required <= e.keys() for e in entries):
        raise bad_request("Invalid batch payload format.")
    if len(entries) > _LARGEST_BATCH:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {_LARGEST_BATCH}.")
    if len({entry["id"] for entry in entries}) < len(entries):
        raise bad_request("Request Ids must be unique within a batch.")
    failed: set[str] = set()
    responses: list[dict[str, Any]] = []
    for entry in entries:
        if failed.intersection(entry.get("dependsOn", ())):
            found = GraphError(424, "FailedDependency", "A request this one depends on failed.").answer(
                request.request_id, request.client_request_id
            )
        else:
            found = _entry(tenant, request, entry)
        if found.status >= 400:
            failed.add(entry["id"])
        responses.append(_response(entry["id"], found))
    return Answer(body=orjson.dumps({"responses": responses}), headers={"x-ms-resource-unit": "1"})


def _entry(tenant: Tenant, outer: Request, entry: dict[str, Any]) -> Answer:
    path, _, query = str(entry["url"]).partition("?")
    headers = {name.lower(): str(value) for name, value in (entry.get("headers") or {}).items()}
    inner = Request(
        str(entry["method"]).upper(), f"/{outer.version}/{unquote(path).lstrip('/')}", query,
        {"client-request-id": outer.client_request_id} | headers,
        orjson.dumps(entry["body"]) if "body" in entry else b"", outer.origin,
    )  # fmt: skip
    tenant.requests.count(inner.path, inner.headers)
    try:
        rules = tenant.faults.strike(inner.path, ("status",))
        if rules:
            raise rules[0].error()
        return _single(tenant, inner)
    except GraphError as error:
        return error.answer(inner.request_id, inner.client_request_id)


def _response(entry_id: str, found: Answer) -> dict[str, Any]:
    is_json = found.content_type.startswith("application/json")
    return {
        "id": entry_id,
        "status": found.status,
        "headers": found.headers | {"Content-Type": "application/json" if is_json else found.content_type},
        "body": orjson.Fragment(found.body) if is_json else found.body.decode(),
    }
