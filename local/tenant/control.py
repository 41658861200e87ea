"""The control surface: how tests and people change the tenant, set faults and options, and read its truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson

from local.tenant import mutations, notices, truth
from local.tenant.directory import RELATIONS, Directory, Relation, Resource, UnknownProperty
from local.tenant.state import RequestCounters, Tenant
from local.tenant.web import Answer, GraphError, Request, bad_request, json_answer, not_found

Outcome = Answer | Iterator[bytes]
Handler = Callable[[Tenant, Request, dict[str, str]], Outcome]

_RESOURCES: tuple[Resource, ...] = ("users", "groups", "sites")


def answer(tenant: Tenant, request: Request) -> Outcome:
    """A complete answer, or the chunks of an NDJSON stream."""
    try:
        return _routed(tenant, request)
    except GraphError as error:
        return error.answer(request.request_id, request.client_request_id)
    except (UnknownProperty, ValueError) as error:
        return bad_request(str(error)).answer(request.request_id, request.client_request_id)


def _routed(tenant: Tenant, request: Request) -> Outcome:
    allowed: set[str] = set()
    for method, pattern, handler in _ROUTES:
        parts = pattern.match(request.path)
        if parts is not None:
            if method == request.method:
                return handler(tenant, request, parts.groupdict())
            allowed.add(method)
    if allowed:
        methods = ", ".join(sorted(allowed))
        raise GraphError(405, "BadRequest", f"Methods of {request.path}: {methods}.", {"Allow": methods})
    raise GraphError(404, "NotFound", f"The control surface has no {request.path}.")


def _summary(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    directory = tenant.directory
    counts = {
        name: {"live": found.live_count, "softDeleted": len(found.soft_deleted)}
        for name, found in ((name, directory.objects(name)) for name in _RESOURCES)
    }
    return json_answer({
        "tenantId": directory.tenant_id,
        "domain": directory.domain,
        "seed": directory.seed,
        "sequence": directory.sequence,
        "counts": counts,
        "options": tenant.options.as_json(),
        "faults": [rule.as_json() for rule in tenant.faults.rules],
    })  # fmt: skip


def _mutate(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    body = _object(request)
    count, seed = body.get("count", 25), body.get("seed", 0)
    if type(count) is not int or type(seed) is not int or count < 0:
        raise bad_request("'count' and 'seed' are integers.")
    directory = tenant.directory
    done = mutations.mutate(directory, count, seed, tenant.options.announce_hard_deleted_links)
    return json_answer({"sequence": directory.sequence, "mutations": sum(done.values()), "done": done})


def _create(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    directory, resource = tenant.directory, _resource(parts)
    body = _object(request)
    links: dict[Relation, list[int]] = {}
    if resource == "groups":
        links = {relation: _references(directory, body.pop(relation, [])) for relation in RELATIONS}
    index = directory.create(resource, body)
    for relation, refs in links.items():
        for ref in refs:
            directory.add_link(relation, index, ref)
    return _object_answer(directory, resource, index, 201)


def _get(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    resource = _resource(parts)
    return _object_answer(tenant.directory, resource, _index(tenant, resource, parts["id"], "live", "softDeleted"))


def _patch(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    resource = _resource(parts)
    index = _index(tenant, resource, parts["id"], "live")
    tenant.directory.update(resource, index, _object(request))
    return _object_answer(tenant.directory, resource, index)


def _delete(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    resource = _resource(parts)
    permanent = request.options.get("permanent", "false").lower() == "true"
    index = _index(tenant, resource, parts["id"], *(("live", "softDeleted") if permanent else ("live",)))
    tenant.directory.delete(resource, index, permanent, tenant.options.announce_hard_deleted_links)
    return Answer(204)


def _restore(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    resource = _resource(parts)
    index = _index(tenant, resource, parts["id"], "softDeleted")
    tenant.directory.restore(resource, index)
    return _object_answer(tenant.directory, resource, index)


def _link(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    directory, relation = tenant.directory, cast(Relation, parts["relation"])
    group = _index(tenant, "groups", parts["id"], "live")
    body = _object(request)
    to_add, to_remove = _references(directory, body.get("add", [])), _references(directory, body.get("remove", []))
    if group * 2 + 1 in to_add:
        raise bad_request("A group cannot be a member or owner of itself.")
    added = sum(directory.add_link(relation, group, ref) for ref in to_add)
    removed = sum(directory.remove_link(relation, group, ref) for ref in to_remove)
    return json_answer({"added": added, "removed": removed})


def _purpose(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    purpose = _object(request).get("value")
    if not isinstance(purpose, str):
        raise bad_request("'value' is a string; the empty one takes the mailbox away.")
    tenant.directory.set_purpose(_index(tenant, "users", parts["id"], "live"), purpose)
    return Answer(204)


def _channels(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    group = _index(tenant, "groups", parts["id"], "live")
    body = _object(request)
    tenant.directory.change_channels(group, body.get("add", []), body.get("remove", []), body.get("rename", {}))
    return json_answer(tenant.directory.channels(group))


def _truth(tenant: Tenant, request: Request, parts: dict[str, str]) -> Iterator[bytes]:
    kind = parts["kind"]
    if kind in RELATIONS:
        return truth.links(tenant.directory, kind)
    if kind == "mailboxes":
        return truth.mailboxes(tenant.directory)
    if kind == "channels":
        return truth.channels(tenant.directory)
    if kind == "teams":
        return truth.objects(tenant.directory, "groups", teams_only=True)
    return truth.objects(tenant.directory, cast(Resource, kind))


def _faults(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    if request.method == "POST":
        tenant.faults.add(request.json())
    elif request.method == "DELETE":
        tenant.faults.lift()
    return json_answer([rule.as_json() for rule in tenant.faults.rules])


def _options(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    if request.method == "POST":
        tenant.options.change(_object(request))
    return json_answer(tenant.options.as_json())


def _expire_tokens(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    resource = _object(request).get("resource")
    if resource is not None and resource not in _RESOURCES:
        raise bad_request(f"'resource' is null or one of {', '.join(_RESOURCES)}.")
    for name in _RESOURCES if resource is None else (resource,):
        tenant.generations[name] += 1
    return Answer(204)


def _requests(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    if request.method == "DELETE":
        tenant.requests = RequestCounters()
        return Answer(204)
    counters = tenant.requests
    return json_answer({
        "paths": dict(sorted(counters.paths.items())),
        "total": counters.paths.total(),
        "throttlePriorities": dict(sorted(counters.priorities.items())),
        "pages": counters.pages,
        "repeatedPages": counters.repeated_pages,
    })  # fmt: skip


def _subscriptions(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    return json_answer([
        subscription.as_json() | {"clientState": subscription.client_state}
        for subscription in tenant.subscriptions.all()
    ])  # fmt: skip


def _drop_subscription(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    tenant.subscriptions.remove(parts["id"])
    return Answer(204)


def _lifecycle(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    subscription = tenant.subscriptions.find(parts["id"])
    notices.tell_event(tenant, subscription, _object(request).get("event"))
    return Answer(204)


def _notify(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    body = _object(request)
    count = body.pop("count", 1)
    if type(count) is not int or count < 1:
        raise bad_request("'count' is a number.")
    notices.tell_as(tenant, tenant.subscriptions.find(parts["id"]), count, body)
    return Answer(204)


def _deliveries(tenant: Tenant, request: Request, parts: dict[str, str]) -> Answer:
    return json_answer(tenant.deliveries.as_json())


def _resource(parts: dict[str, str]) -> Resource:
    return cast(Resource, parts["resource"])


def _object(request: Request) -> dict[str, Any]:
    body = request.json()
    if not isinstance(body, dict):
        raise bad_request("A JSON object is expected.")
    return body


def _index(tenant: Tenant, resource: Resource, object_id: str, *states: str) -> int:
    objects = tenant.directory.objects(resource)
    index = objects.find(object_id)
    if index is None or objects.state(index) not in states:
        raise not_found(object_id)
    return index


def _references(directory: Directory, ids: Any) -> list[int]:
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise bad_request("A list of ids is expected.")
    found = [directory.find_reference(object_id) for object_id in ids]
    if None in found:
        raise not_found(ids[found.index(None)])
    return [ref for ref in found if ref is not None]


def _object_answer(directory: Directory, resource: Resource, index: int, status: int = 200) -> Answer:
    objects = directory.objects(resource)
    values = orjson.loads(objects.render_whole(index))
    if objects.state(index) == "softDeleted":
        values["@softDeleted"] = True
    return json_answer(values, status)


_OBJECT = r"(?P<resource>users|groups|sites)/(?P<id>[^/]+)"
_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, re.compile(f"^/control{pattern}/?$"), handler)
    for method, pattern, handler in (
        ("GET", "", _summary),
        ("POST", "/mutate", _mutate),
        ("POST", "/(?P<resource>users|groups|sites)", _create),
        ("GET", f"/{_OBJECT}", _get),
        ("PATCH", f"/{_OBJECT}", _patch),
        ("DELETE", f"/{_OBJECT}", _delete),
        ("POST", f"/{_OBJECT}/restore", _restore),
        ("POST", r"/groups/(?P<id>[^/]+)/(?P<relation>members|owners)", _link),
        ("POST", r"/groups/(?P<id>[^/]+)/channels", _channels),
        ("POST", r"/users/(?P<id>[^/]+)/userPurpose", _purpose),
        ("GET", "/truth/(?P<kind>users|groups|teams|sites|members|owners|mailboxes|channels)", _truth),
        ("GET", "/faults", _faults),
        ("POST", "/faults", _faults),
        ("DELETE", "/faults", _faults),
        ("GET", "/options", _options),
        ("POST", "/options", _options),
        ("POST", "/expireTokens", _expire_tokens),
        ("GET", "/requests", _requests),
        ("DELETE", "/requests", _requests),
        ("GET", "/subscriptions", _subscriptions),
        ("DELETE", "/subscriptions/(?P<id>[^/]+)", _drop_subscription),
        ("POST", "/subscriptions/(?P<id>[^/]+)/lifecycle", _lifecycle),
        ("POST", "/subscriptions/(?P<id>[^/]+)/notify", _notify),
        ("GET", "/deliveries", _deliveries),
    )
)
