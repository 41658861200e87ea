"""An organization's subscriptions to change notifications, by msgraph-sdk's request builders (graph.md §7.1)."""
# pyright: strict, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from shared.graph.origins import refuse_foreign
from shared.graph.sending import Sender
from shared.models.base import WireModel
from shared.models.errors import GraphRefused, GraphUnavailable
from shared.models.parts import CATALOGUE, GraphCollection, Part, PartName
from shared.models.subscriptions import PERMISSIONS, Granted

if TYPE_CHECKING:
    from msgraph.graph_service_client import GraphServiceClient

_CHANGES = "updated,deleted"
"""All that there are for users and groups: a creation is told as an update."""
_PAGES = 100
"""As many as are read of the list: an application has two in a tenant, and what is beyond ends by itself."""
_PATH = "/subscriptions"
_PATH_OF_ONE = "/subscriptions/{id}"


class _Granted(WireModel):
    model_config = ConfigDict(extra="ignore")

    id: Annotated[str, Field(min_length=1, max_length=128)]
    expiration_date_time: AwareDatetime


class _Found(WireModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    resource: str = ""
    notification_url: str = ""


class _List(WireModel):
    model_config = ConfigDict(extra="ignore")

    value: list[_Found]
    next_link: Annotated[str | None, Field(alias="@odata.nextLink")] = None


Told = TypeVar("Told", bound=WireModel)


class GraphSubscriptions:
    """Creates, renews and removes subscriptions.

    Every method raises:
        GraphUnavailable: No answer, or an error of Graph's own; GraphThrottled when it asked for a longer wait.
        GraphRefused: Credential, permission or request are refused; a status of 404 says that it is not there.
    """

    def __init__(self, graph: GraphServiceClient, sender: Sender, root: str) -> None:
        """
        Args:
            graph: The SDK's client.
            sender: What its requests are sent by.
            root: Graph's address, whose host alone is asked.
        """
        self._graph = graph
        self._sender = sender
        self._root = root

    async def create(
        self, collection: GraphCollection, url: str, lifecycle_url: str, client_state: str, expires: datetime
    ) -> Granted:
        """Has Graph tell of changes from now on; before it answers, it asks both addresses whether they want that.

        Args:
            collection: What it is to tell of.
            url: Where it is to tell of changes.
            lifecycle_url: Where it is to tell of the subscription itself.
            client_state: The secret that it repeats in every notification.
            expires: Until when it is asked for.
        """
        from msgraph.generated.models.subscription import Subscription

        body = Subscription(
            change_type=_CHANGES,
            notification_url=url,
            lifecycle_notification_url=lifecycle_url,
            resource=collection,
            expiration_date_time=expires.astimezone(UTC),
            client_state=client_state,
            latest_supported_tls_version="v1_2",
        )
        request = self._graph.subscriptions.to_post_request_information(body)
        try:
            answer = await self._sender.send(_part(collection), request, _PATH)
        except GraphRefused as refusal:
            if refusal.status != 409:
                raise
            # It may be another deployment's, or that of an address of before; nobody here can tell.
            raise GraphRefused(
                refusal.code,
                f"The application has a subscription to {collection} in this tenant already, which tells another "
                "address; Graph allows one. Delete it, or wait until it ends.",
                status=refusal.status,
                tenant_actionable=True,
            ) from None
        return _granted(answer.body, f"POST {_PATH}")

    async def renew(self, collection: GraphCollection, subscription_id: str, expires: datetime) -> Granted:
        """Prolongs a subscription, which reauthorizes it as well."""
        from msgraph.generated.models.subscription import Subscription

        builder = self._graph.subscriptions.by_subscription_id(subscription_id)
        request = builder.to_patch_request_information(Subscription(expiration_date_time=expires.astimezone(UTC)))
        answer = await self._sender.send(_part(collection), request, _PATH_OF_ONE)
        return _granted(answer.body, f"PATCH {_PATH_OF_ONE}")

    async def remove(self, collection: GraphCollection, subscription_id: str) -> None:
        """Ends a subscription; one that is not there has ended."""
        request = self._graph.subscriptions.by_subscription_id(subscription_id).to_delete_request_information()
        try:
            await self._sender.send(_part(collection), request, _PATH_OF_ONE, may_be_empty=True)
        except GraphRefused as refusal:
            if refusal.status != 404:
                raise

    async def find(self, collection: GraphCollection, url: str) -> Sequence[str]:
        """The ids of the application's subscriptions to this collection that tell this address."""
        builder = self._graph.subscriptions
        found: list[_Found] = []
        for _ in range(_PAGES):
            request = builder.to_get_request_information()
            page = _read(_List, (await self._sender.send(_part(collection), request, _PATH)).body, f"GET {_PATH}")
            found += page.value
            if page.next_link is None:
                break
            refuse_foreign(self._root, page.next_link)
            builder = builder.with_url(page.next_link)
        return [
            one.id for one in found if one.notification_url == url and one.resource.strip("/").lower() == collection
        ]


def _part(collection: GraphCollection) -> Part:
    """The part that a refusal names, with the permission that notifications of it need."""
    return replace(CATALOGUE[PartName(collection)], permission=PERMISSIONS[collection])


def _granted(body: bytes, asked: str) -> Granted:
    told = _read(_Granted, body, asked)
    return Granted(told.id, told.expiration_date_time)


def _read(model: type[Told], body: bytes, asked: str) -> Told:
    try:
        return model.model_validate_json(body)
    except ValidationError:
        raise GraphUnavailable("MalformedAnswer", f"{asked} answered no subscription.") from None
