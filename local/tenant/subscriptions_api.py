"""Graph's routes of subscriptions, and the handshake with the address that is to be told."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import httpx

from local.tenant import subscriptions
from local.tenant.deliveries import SECONDS_TO_ANSWER, TRUSTED
from local.tenant.state import Tenant
from local.tenant.web import Answer, GraphError, Request, bad_request, json_answer


async def answer(tenant: Tenant, request: Request, subscription_id: str | None, action: str | None) -> Answer:
    """The answer to a request for all subscriptions, for one, or for its reauthorization."""
    match request.method, subscription_id, action:
        case "GET", None, None:
            return _list(tenant, request)
        case "POST", None, None:
            return await _create(tenant, request)
        case "GET", str(), None:
            return json_answer(tenant.subscriptions.find(subscription_id).as_json())
        case "PATCH", str(), None:
            found = tenant.subscriptions.find(subscription_id)
            found.expires = subscriptions.expiration(request.json(), tenant.subscriptions.clock())
            return json_answer(found.as_json())
        case "DELETE", str(), None:
            tenant.subscriptions.remove(subscription_id)
            return Answer(204)
        case "POST", str(), str():
            tenant.subscriptions.find(subscription_id)
            return Answer(204)
        case _:
            raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")


def _list(tenant: Tenant, request: Request) -> Answer:
    start, found = int(request.options.get("skiptoken", "0")), tenant.subscriptions.all()
    end = start + tenant.options.page_size
    body = {
        "@odata.context": f"{request.base}/$metadata#subscriptions",
        "value": [subscription.as_json() for subscription in found[start:end]],
    }
    if end < len(found):
        body["@odata.nextLink"] = f"{request.base}/subscriptions?$skiptoken={end}"
    return json_answer(body)


async def _create(tenant: Tenant, request: Request) -> Answer:
    subscription = subscriptions.requested(request.json(), tenant.subscriptions.clock())
    for url in {subscription.url, subscription.lifecycle_url} - {None}:
        await _shake_hands(str(url))
    subscription.told = tenant.directory.sequence
    tenant.subscriptions.add(subscription)
    return json_answer(subscription.as_json(), 201)


async def _shake_hands(url: str) -> None:
    token = f"Validation: Testing client application reachability for subscription Request-Id: {uuid.uuid4()} <&+>"
    address = f"{url}{'&' if '?' in url else '?'}validationToken={quote(token, safe='')}"
    try:
        async with httpx.AsyncClient(timeout=SECONDS_TO_ANSWER, verify=TRUSTED) as client:
            given = await client.post(address, headers={"Content-Type": "text/plain; charset=utf-8"})
    except httpx.HTTPError as error:
        raise _refused(f"no answer ({type(error).__name__})") from None
    is_text = given.headers.get("content-type", "").partition(";")[0].strip() == "text/plain"
    if given.status_code != 200 or not is_text or given.text != token:
        raise _refused(f"the answer {given.status_code} is not 200 with the token as text/plain")


def _refused(why: str) -> GraphError:
    return bad_request(f"Subscription validation request failed: {why}.")
