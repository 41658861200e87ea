"""The delta functions of users, groups and sites: options, tokens and links around the rounds."""

from __future__ import annotations

from urllib.parse import quote

from local.tenant import delta
from local.tenant.directory import RELATIONS, Resource
from local.tenant.state import Tenant
from local.tenant.tokens import Cursor, MalformedToken
from local.tenant.web import Answer, GraphError, Request, selected

_REFUSED = ("expand", "orderby", "search", "count", "filter", "skip")


def answer(tenant: Tenant, request: Request, resource: Resource) -> Answer:
    request.refuse(*_REFUSED)
    if resource != "sites":
        request.refuse("top")
    tenant.requests.count_page(f"{request.path}?{request.query_string}")
    cursor = _cursor(tenant, request, resource)
    size = request.max_page_size or cursor.size or tenant.options.page_size
    if cursor.until is None:
        cursor = delta.begin(tenant, cursor)
        if _token(request)[1] == "latest":
            return _page(tenant, request, delta.Page([], delta.end(cursor)), cursor)
    return _page(tenant, request, delta.read_page(tenant, cursor, size), cursor)


def _token(request: Request) -> tuple[str, str]:
    """Which token came, by the name of its option, and the token; SharePoint says `token` for short."""
    for name in ("skiptoken", "deltatoken", "token"):
        if name in request.options:
            return name, request.options[name]
    return "", ""


def _cursor(tenant: Tenant, request: Request, resource: Resource) -> Cursor:
    kind, token = _token(request)
    if token in ("", "latest"):
        return _first(tenant, request, resource)
    try:
        cursor = tenant.signer.read_cursor(token)
    except MalformedToken:
        raise _unknown_state() from None
    if cursor.resource != resource or (cursor.until is None) != (kind != "skiptoken"):
        raise _unknown_state()
    told = cursor.since if cursor.until is None else cursor.until
    stale = cursor.generation != tenant.generations[resource]
    if stale or tenant.directory.history.fingerprint(told) != cursor.fingerprint:
        raise _gone(request, cursor)
    return cursor


def _first(tenant: Tenant, request: Request, resource: Resource) -> Cursor:
    columns = tenant.directory.objects(resource).population.columns
    names = selected(request, (*columns, *RELATIONS) if resource == "groups" else columns)
    size = request.top(tenant.options.page_size) if "top" in request.options else request.max_page_size
    generation = tenant.generations[resource]
    return Cursor(resource, generation, names, size, request.wants_minimal, since=-1, until=None, fingerprint=0)


def _unknown_state() -> GraphError:
    return GraphError(400, "syncStateNotFound", "The sync state generation is not found; start again without a token.")


def _gone(request: Request, cursor: Cursor) -> GraphError:
    location = f"{request.base}/{cursor.resource}/delta?$deltatoken="
    if cursor.names is not None:
        location += f"&$select={quote(','.join(cursor.names), safe=',')}"
    return GraphError(410, "resyncRequired", "Resync required: the token is no longer valid.", {"Location": location})


def _page(tenant: Tenant, request: Request, page: delta.Page, cursor: Cursor) -> Answer:
    link, option = ("deltaLink", "deltatoken") if page.is_last else ("nextLink", "skiptoken")
    url = f"{request.base}/{cursor.resource}/delta?${option}={tenant.signer.write_cursor(page.next)}"
    context = f"{request.base}/$metadata#{cursor.resource}"
    body = f'{{"@odata.context":"{context}","@odata.{link}":"{url}","value":[{",".join(page.records)}]}}'
    headers = {"x-ms-resource-unit": str(_cost(cursor))}
    hint = request.max_page_size
    applied = [f"odata.maxpagesize={hint}"] if hint else []
    if request.wants_minimal:
        applied.append("return=minimal")
    if applied:
        headers["Preference-Applied"] = ",".join(applied)
    return Answer(200, body.encode(), headers)


def _cost(cursor: Cursor) -> int:
    if cursor.resource == "sites":
        return 2 if cursor.since < 0 else 1
    return 2 if cursor.resource == "users" and cursor.names is None else 1
