"""Everything of Graph that is read without delta: plain lists, single objects, counts, deleted items, channels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlencode

import orjson

from local.tenant.columns import Projection
from local.tenant.directory import Relation, Resource
from local.tenant.state import Tenant
from local.tenant.tokens import MalformedToken
from local.tenant.web import (
    Answer,
    GraphError,
    Request,
    bad_request,
    json_answer,
    not_found,
    selected,
    site_not_found,
)

_TEAM_FILTER = re.compile(r"\s*resourceProvisioningOptions/any\(\s*(\w+)\s*:\s*\1\s+eq\s+'Team'\s*\)\s*$", re.I)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_TEAM_COLUMNS = ("id", "displayName", "description")
_UNSUPPORTED = ("expand", "orderby", "search", "skip")


def organization(tenant: Tenant, request: Request) -> Answer:
    entity = {
        "id": tenant.directory.tenant_id,
        "displayName": "Contoso",
        "tenantType": "AAD",
        "countryLetterCode": "US",
        "createdDateTime": "2015-01-01T00:00:00Z",
        "verifiedDomains": [
            {"name": tenant.directory.domain, "isDefault": True, "isInitial": True, "type": "Managed",
             "capabilities": "Email, OfficeCommunicationsOnline"}
        ],
    }  # fmt: skip
    return _costing(1, json_answer({"@odata.context": f"{request.base}/$metadata#organization", "value": [entity]}))


def objects(tenant: Tenant, request: Request, resource: Resource) -> Answer:
    """GET /users, /groups and /sites/getAllSites."""
    request.refuse(*_UNSUPPORTED)
    found = tenant.directory.objects(resource)
    teams_only = _teams_only(request, resource)

    def wanted(index: int) -> bool:
        return found.state(index) == "live" and (not teams_only or tenant.directory.is_team(index))

    projection = _projection(tenant, request, resource)
    count = None
    if request.options.get("count", "").lower() == "true":
        _require_eventual(request)
        count = found.live_count if not teams_only else sum(map(wanted, range(found.size)))
    return _list(
        tenant, request, lambda start: filter(wanted, range(start, found.size)),
        lambda index: found.render(projection, index), 1 if resource == "groups" else 2, count,
    )  # fmt: skip


def teams(tenant: Tenant, request: Request) -> Answer:
    request.refuse(*_UNSUPPORTED, "filter")
    groups = tenant.directory.groups
    projection = groups.projection(_TEAM_COLUMNS)

    def positions(start: int) -> Iterator[int]:
        return (i for i in range(start, groups.size) if groups.state(i) == "live" and tenant.directory.is_team(i))

    return _list(tenant, request, positions, lambda index: groups.render(projection, index), 1)


def team(tenant: Tenant, request: Request, team_id: str) -> Answer:
    groups = tenant.directory.groups
    text = groups.render(groups.projection(_TEAM_COLUMNS), _team_index(tenant, team_id))
    return _one(request, "teams", text)


def channels(tenant: Tenant, request: Request, team_id: str) -> Answer:
    """Channels may be selected from; a page holds as many as the tenant's option says."""
    found = tenant.directory.channels(_team_index(tenant, team_id))
    names = selected(request, found[0]) if found else None
    start = _position(tenant, request)
    end = start + tenant.options.page_size
    records = [
        orjson.dumps({name: channel[name] for name in names} if names else channel).decode()
        for channel in found[start:end]
    ]
    return _costing(1, _collection(tenant, request, records, end if end < len(found) else None, len(found)))


def _team_index(tenant: Tenant, team_id: str) -> int:
    index = _live(tenant, "groups", team_id)
    if not tenant.directory.is_team(index):
        raise GraphError(404, "NotFound", f"No team found with Group Id {team_id}")
    return index


def deleted_items(tenant: Tenant, request: Request, resource: Resource) -> Answer:
    request.refuse(*_UNSUPPORTED, "filter")
    found = tenant.directory.objects(resource)
    projection = _projection(tenant, request, resource, "deletedDateTime")
    return _list(
        tenant, request, lambda start: iter(sorted(i for i in found.soft_deleted if i >= start)),
        lambda index: found.render(projection, index), 1,
    )  # fmt: skip


def one(tenant: Tenant, request: Request, resource: Resource, object_id: str) -> Answer:
    request.refuse("expand")
    index = _live(tenant, resource, object_id)
    text = tenant.directory.objects(resource).render(_projection(tenant, request, resource), index)
    return _one(request, resource, text)


def count(tenant: Tenant, request: Request, resource: Resource) -> Answer:
    request.refuse("search")
    _require_eventual(request)
    found = tenant.directory.objects(resource)
    if not _teams_only(request, resource):
        return _number(found.live_count)
    return _number(sum(found.state(i) == "live" and tenant.directory.is_team(i) for i in range(found.size)))


def links(tenant: Tenant, request: Request, relation: Relation, group_id: str) -> Answer:
    """GET /groups/{id}/members and owners: who of them is live; a page may hold fewer than asked for, or none."""
    request.refuse(*_UNSUPPORTED, "filter")
    directory = tenant.directory
    group = _live(tenant, "groups", group_id)
    refs, following = directory.links.slice(relation, group, _position(tenant, request), request.top(100))
    of_user = _projection(tenant, request, "users", lenient=True)
    of_group = _projection(tenant, request, "groups", lenient=True)
    records: list[str] = []
    for ref in filter(directory.is_live, refs):
        if ref & 1:
            kind, text = "group", directory.groups.render(of_group, ref >> 1)
        else:
            kind, text = "user", directory.users.render(of_user, ref >> 1)
        records.append(f'{{"@odata.type":"#microsoft.graph.{kind}",{text[1:]}')
    return _costing(_cost(request, 3), _collection(tenant, request, records, following))


def link_count(tenant: Tenant, request: Request, relation: Relation, group_id: str) -> Answer:
    _require_eventual(request)
    group = _live(tenant, "groups", group_id)
    return _number(sum(map(tenant.directory.is_live, tenant.directory.links.all(relation, group))))


def user_purpose(tenant: Tenant, request: Request, user_id: str) -> Answer:
    purpose = tenant.directory.purpose(_live(tenant, "users", user_id))
    if not purpose:
        raise GraphError(
            404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
        )
    context = f"{request.base}/$metadata#users('{user_id}')/mailboxSettings/userPurpose"
    return _costing(1, json_answer({"@odata.context": context, "value": purpose}))


def _live(tenant: Tenant, resource: Resource, object_id: str) -> int:
    """The live object that a path names: users also by userPrincipalName, sites only by their composite id."""
    if resource == "groups" and not _GUID.fullmatch(object_id):
        raise GraphError(400, "Request_BadRequest", f"Invalid object identifier '{object_id}'.")
    found = tenant.directory.objects(resource)
    index = tenant.directory.find_user(object_id) if resource == "users" else found.find(object_id)
    if resource == "sites" and (index is None or "," not in object_id):
        raise site_not_found()
    if index is None or found.state(index) != "live":
        raise not_found(object_id)
    return index


def _projection(tenant: Tenant, request: Request, resource: Resource, *more: str, lenient: bool = False) -> Projection:
    found = tenant.directory.objects(resource)
    columns = found.population.columns
    if lenient:
        # Members are of several types; a property that one of them lacks is left out for it.
        asked = {name.strip().lower() for name in request.options.get("select", "").split(",")} - {""}
        names = [n for n in columns if n.lower() in asked] if asked else found.population.default_columns
    else:
        names = selected(request, columns) or (*found.population.default_columns, *more)
    return found.projection(tuple(names))


def _teams_only(request: Request, resource: Resource) -> bool:
    """Whether the one filter is asked for that is known here."""
    if "filter" not in request.options:
        return False
    if resource != "groups" or not _TEAM_FILTER.match(request.options["filter"]):
        raise GraphError(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified.")
    return True


def _require_eventual(request: Request) -> None:
    if request.headers.get("consistencylevel", "").lower() != "eventual":
        raise GraphError(400, "Request_BadRequest", "$count needs the header ConsistencyLevel: eventual.")


def _position(tenant: Tenant, request: Request) -> int:
    token = request.options.get("skiptoken")
    if token is None:
        return 0
    try:
        path, position = tenant.signer.read(token)
    except (MalformedToken, TypeError, ValueError):
        raise bad_request("The skip token is not valid.") from None
    if path != request.path:
        raise bad_request("The skip token belongs to another list.")
    return position


def _list(
    tenant: Tenant,
    request: Request,
    positions: Callable[[int], Iterable[int]],
    render: Callable[[int], str],
    cost: int,
    count: int | None = None,
) -> Answer:
    top = request.top(100)
    records: list[str] = []
    following = None
    for position in positions(_position(tenant, request)):
        if len(records) == top:
            following = position
            break
        records.append(render(position))
    return _costing(_cost(request, cost), _collection(tenant, request, records, following, count))


def _cost(request: Request, base: int) -> int:
    """The base cost after what the query options take off."""
    return max(1, base - ("select" in request.options) - (request.top(100) < 20))


def _collection(
    tenant: Tenant, request: Request, records: list[str], following: int | None, count: int | None = None
) -> Answer:
    extra = "" if count is None else f'"@odata.count":{count},'
    if following is not None:
        query = {f"${key}": value for key, value in request.options.items()}
        query["$skiptoken"] = tenant.signer.write([request.path, following])
        url = f"{request.origin}{request.path}?{urlencode(query, safe='$,/():')}"
        extra += f'"@odata.nextLink":{orjson.dumps(url).decode()},'
    context = f"{request.base}/$metadata#{request.path.partition('/')[2].partition('/')[2]}"
    return Answer(body=f'{{"@odata.context":"{context}",{extra}"value":[{",".join(records)}]}}'.encode())


def _one(request: Request, collection: str, text: str) -> Answer:
    context = f"{request.base}/$metadata#{collection}/$entity"
    return _costing(1, Answer(body=f'{{"@odata.context":"{context}",{text[1:]}'.encode()))


def _number(value: int) -> Answer:
    return _costing(1, Answer(body=str(value).encode(), content_type="text/plain"))


def _costing(cost: int, answer: Answer) -> Answer:
    answer.headers["x-ms-resource-unit"] = str(cost)
    return answer
