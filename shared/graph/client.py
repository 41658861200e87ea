"""One organization's Graph client: msgraph-sdk builds, authenticates and sends the requests; bytes come back.

The SDK's own deserialization yields some hundred objects a second; the bytes of the same answers, decoded by orjson,
several hundred times as many (docs/decisions/0003-graph-answers-as-bytes.md).
"""
# pyright: strict, reportMissingTypeStubs=false

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.graph.batches import Answers, ask, path_of
from shared.graph.clouds import CLOUDS
from shared.graph.failures import NOT_OFFERED
from shared.graph.issuers import RenewableCredential
from shared.graph.origins import is_foreign, refuse_foreign
from shared.graph.pages import ReceivedPage, parse_links, parse_object, parse_page, receive
from shared.graph.sending import Sender, prioritized
from shared.graph.subscriptions import GraphSubscriptions
from shared.models.errors import (
    CursorExpired,
    GraphNotFound,
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    PartFailure,
    SynchronizationFailure,
)
from shared.models.organizations import Organization, OrganizationEntity
from shared.models.parts import CATALOGUE, Part, PartName, Relation
from shared.models.records import LinkChange, ObjectRecord
from shared.models.slices import WITHOUT_DELTA
from shared.settings import Settings
from shared.telemetry.metrics import count_throttled

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation


_LINKS_PER_PAGE = 999
"""The most that Graph lists on one page (graph.md §4.3)."""
_NO_IDS = ("", ".", "..")
"""What is no segment of a path, so that something else would be asked for."""
_COUNT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(\d{1,18})\s*")
"""No more digits than the database keeps, perhaps behind a byte order mark."""


class GraphClient:
    """Reads one organization's parts page by page, and objects of theirs one by one.

    Where a method takes ``low_priority``, Graph is told to serve others first when it has to throttle (graph.md §6).

    Attributes:
        subscriptions: The organization's subscriptions to change notifications.

    Every method raises:
        GraphUnavailable: No answer, or an error of Graph's own; GraphThrottled when it asked for a longer wait.
        CursorExpired: Graph no longer knows the link.
        GraphRefused: Credential, permission or request are refused.
        PartFailure: The answer breaks Graph's protocol.
    """

    def __init__(
        self,
        organization: Organization,
        settings: Settings,
        clock: Callable[[], datetime],
        credential: RenewableCredential,
    ) -> None:
        from shared.graph.adapter import GraphConnection

        cloud = CLOUDS[organization.entity.region]
        self._signs_in = _sign_in(organization.entity)
        self._root = str(settings.graph_url or cloud.graph).rstrip("/")
        self._page_size = settings.graph_page_size
        self._timeout = settings.graph_timeout_seconds
        self._longest_wait = settings.graph_max_wait_seconds
        self._clock = clock
        connection = GraphConnection(
            credential,
            cloud.scope,
            f"{self._root}/v1.0",
            timeout=settings.graph_timeout_seconds,
            longest_wait=settings.graph_max_wait_seconds,
            clock=clock,
        )
        self._graph = connection.graph
        self._organization = organization.name
        self._sender = Sender(connection, self._organization, credential, self._timeout, clock)
        self.subscriptions = GraphSubscriptions(self._graph, self._sender, self._root)

    async def first_page(self, part: Part, *, low_priority: bool = False) -> ReceivedPage:
        """The first page of the part's delta query, or of the list of all sites where Graph has none for sites.

        That list's last page has ``WITHOUT_DELTA`` for a deltaLink.
        """
        return await self._first_page(part, self._page_size, low_priority)

    async def next_page(self, part: Part, link: str, *, low_priority: bool = False) -> ReceivedPage:
        """The page behind a nextLink or deltaLink of what ``first_page`` began."""
        if part.collection == "sites" and _is_of_all_sites(link):
            request = self._following(self._graph.sites.get_all_sites, link)
            return await self._all_sites(part, prioritized(request, low_priority))
        request = prioritized(self._following(self._delta(part), link), low_priority)
        try:
            return await self._page(part, request, _delta_path(part))
        except GraphRefused as refusal:
            if refusal.status not in NOT_OFFERED:
                raise
            # Links are Graph's own: however it calls what is wrong with one, only a new listing helps.
            raise CursorExpired(refusal.code, refusal.message) from None

    async def first_deleted_page(self, part: Part, *, low_priority: bool = False) -> ReceivedPage:
        """The first page of the part's soft-deleted objects."""
        request = self._paged(self._request(self._deleted_items(part), select=list(part.properties)), self._page_size)
        # The SDK leaves out the first half of the type's name, which is not how Graph documents it.
        request.url_template = (request.url_template or "").replace("/graph.", "/microsoft.graph.")
        prioritized(request, low_priority)
        return await self._page(part, request, _deleted_items_path(part), soft_deleted=True)

    async def next_deleted_page(self, part: Part, link: str, *, low_priority: bool = False) -> ReceivedPage:
        """The page behind a nextLink of the part's soft-deleted objects."""
        request = prioritized(self._following(self._deleted_items(part), link), low_priority)
        return await self._page(part, request, _deleted_items_path(part), soft_deleted=True)

    async def read_object(self, part: Part, object_id: str) -> ObjectRecord | None:
        """The object as it is now, with all links of the part's relations; None when Graph has no such live object.

        Args:
            part: Says which properties and relations are read.
            object_id: The object's id, of a user the userPrincipalName just as well. A site's is the composite id:
                Graph is reported not to find a site by its web's id alone (graph.md §4.6).

        Raises:
            PartFailure: Also when the object itself is not what Graph promises; the code then is MalformedRecord.
            GraphNotFound: A site that is named by its web's id is not found, which does not say that it is gone.
        """
        path = f"/{part.collection}/{{id}}"
        if object_id in _NO_IDS:
            raise GraphRefused("BadRequest", f"GET {path} cannot be asked: no object has such an id.")
        item = self._item(part, object_id)
        try:
            record = parse_object(await self._send(part, self._request(item, select=list(part.properties)), path), part)
            record.links = [
                link
                for relation in part.relations
                for link in await self._links(part, relation, getattr(item, relation), f"{path}/{relation}")
            ]
        except GraphNotFound:
            if part.collection == "sites" and "," not in object_id:
                raise
            return None
        record.links_complete = True
        return record

    async def ask(self, part: Part, ids: Collection[str], *, low_priority: bool = False) -> Answers:
        """What Graph answers about objects of the part's source, at most ``LARGEST_BATCH``, in one $batch.

        Args:
            part: A derived part.
            ids: The objects' ids.
            low_priority: As the pages'.
        """
        assert part.question is not None
        select = ",".join(name for name in part.properties if name != part.question.parent)
        paths = {object_id: path_of(part.question, select, object_id) for object_id in ids}
        return await ask(
            part,
            paths,
            partial(self._sender.send_batch, part, f"{self._root}/v1.0", low_priority=low_priority),
            root=f"{self._root}/v1.0",
            longest_wait=self._longest_wait,
            clock=self._clock,
            low_priority=low_priority,
            told_to_wait=partial(count_throttled, self._organization, part.family),
        )

    async def probe(self, part: Part) -> None:
        """Proves by reading one row that the part can be read: an error of the part is raised here as in its run."""
        if part.source is None:
            await self._first_page(part, 1, low_priority=False)
            return
        for answer in (await self.ask(part, await self._some_object(CATALOGUE[part.source]))).values():
            if isinstance(answer, SynchronizationFailure):
                raise answer

    async def count(self, part: Part, *, low_priority: bool = False) -> int | None:
        """How many objects a full listing of the part brings: of teams all groups; None where Graph does not tell.

        Raises:
            GraphThrottled: Graph asked for a wait. No other failure is raised.
        """
        if not part.is_counted:
            return None
        request = self._request(self._collection(part).count)
        try:
            return await self._count(part, prioritized(request, low_priority), f"/{part.collection}/$count")
        except GraphThrottled:
            # Whoever asked for the number asks for the first page next, and that is not to be done before the time.
            raise
        except SynchronizationFailure:
            # A total is for people to look at; nothing waits for it.
            return None

    async def count_entries(self, part: Part) -> int:
        """How many live objects belong to the part: in a collection that Graph counts."""
        request = self._request(self._collection(part).count, filter=part.count_filter)
        return await self._count(part, request, f"/{part.collection}/$count")

    async def count_members(self, part: Part, group_id: str) -> int:
        """How many live members the group has.

        Raises:
            GraphNotFound: Graph has no such live group.
        """
        request = self._request(self._graph.groups.by_group_id(group_id).members.count)
        return await self._count(part, request, "/groups/{id}/members/$count")

    def signs_in_as(self, organization: OrganizationEntity) -> bool:
        """Whether a client of the organization as it is now would sign in as this one does."""
        return self._signs_in == _sign_in(organization)

    async def close(self) -> None:
        """Closes the connections."""
        await self._sender.close()

    def _delta(self, part: Part) -> Any:
        return getattr(self._graph, part.collection).delta

    def _deleted_items(self, part: Part) -> Any:
        return getattr(self._graph.directory.deleted_items, f"graph_{part.deleted_items}")

    def _collection(self, part: Part) -> Any:
        return getattr(self._graph, part.collection)

    async def _count(self, part: Part, request: RequestInformation, path: str) -> int:
        request.headers.try_add("ConsistencyLevel", "eventual")
        number = _COUNT.fullmatch(await self._send(part, request, path))
        if number is None:
            raise GraphUnavailable("MalformedAnswer", f"GET {path} answered no number.")
        return int(number[1])

    def _item(self, part: Part, object_id: str) -> Any:
        match part.collection:
            case "users":
                return self._graph.users.by_user_id(object_id)
            case "groups":
                return self._graph.groups.by_group_id(object_id)
            case "sites":
                return self._graph.sites.by_site_id(object_id)

    def _request(self, builder: Any, **query: Any) -> RequestInformation:
        from kiota_abstractions.base_request_configuration import RequestConfiguration

        parameters = getattr(builder, f"{type(builder).__name__}GetQueryParameters")(**query)
        return builder.to_get_request_information(RequestConfiguration(query_parameters=parameters))

    def _following(self, builder: Any, link: str) -> RequestInformation:
        if is_foreign(self._root, link):
            raise CursorExpired("ForeignLink", "The cursor was made by another Graph root.")
        return self._paged(builder.with_url(link).to_get_request_information(), self._page_size)

    def _paged(self, request: RequestInformation, size: int) -> RequestInformation:
        request.headers.try_add("Prefer", f"odata.maxpagesize={size}")
        return request

    async def _first_page(self, part: Part, size: int, low_priority: bool) -> ReceivedPage:
        request = self._paged(self._request(self._delta(part), select=list(part.select)), size)
        try:
            return await self._page(part, prioritized(request, low_priority), _delta_path(part))
        except GraphRefused as refusal:
            if part.collection != "sites" or refusal.status not in NOT_OFFERED:
                raise
        builder = self._graph.sites.get_all_sites
        request = self._paged(self._request(builder, select=list(part.select)), size)
        return await self._all_sites(part, prioritized(request, low_priority))

    async def _all_sites(self, part: Part, request: RequestInformation) -> ReceivedPage:
        page = await self._page(part, request, "/sites/getAllSites")
        return page if page.next_link is not None else replace(page, delta_link=WITHOUT_DELTA)

    async def _links(self, part: Part, relation: Relation, builder: Any, path: str) -> list[LinkChange]:
        links: list[LinkChange] = []
        followed: set[str] = set()
        request = self._request(builder, select=["id"], top=_LINKS_PER_PAGE)
        while True:
            found, link = parse_links(await self._send(part, request, path), part, relation)
            links += found
            if link is None:
                return links
            refuse_foreign(self._root, link)
            if link in followed:
                raise PartFailure("RepeatedLink", f"Graph's list of {relation} links back to a page of its own.")
            followed.add(link)
            request = builder.with_url(link).to_get_request_information()

    async def _some_object(self, part: Part) -> Sequence[str]:
        """The id of one object of the part, if it has any."""
        teams = {"filter": "resourceProvisioningOptions/Any(x:x eq 'Team')"} if part.name is PartName.TEAMS else {}
        request = self._request(getattr(self._graph, part.collection), select=["id"], top=1, **teams)
        page = parse_page(await self._send(part, request, f"/{part.collection}"), part)
        return [record.object_id for record in page.records[:1]]

    async def _page(
        self, part: Part, request: RequestInformation, path: str, *, soft_deleted: bool = False
    ) -> ReceivedPage:
        answer = await self._sender.send(part, request, path)
        page = receive(answer.body, part, soft_deleted=soft_deleted)
        refuse_foreign(self._root, page.next_link, page.delta_link)
        return replace(page, resource_units=answer.resource_units)

    async def _send(self, part: Part, request: RequestInformation, path: str) -> bytes:
        return (await self._sender.send(part, request, path)).body


def _sign_in(organization: OrganizationEntity) -> tuple[object, ...]:
    return organization.tenant_id, organization.region, organization.application.client_id, organization.credential


def _delta_path(part: Part) -> str:
    """How the request is called in errors; the address itself may hold a cursor."""
    return f"/{part.collection}/delta"


def _is_of_all_sites(link: str) -> bool:
    return "/getallsites" in link.partition("?")[0].lower()


def _deleted_items_path(part: Part) -> str:
    return f"/directory/deletedItems/microsoft.graph.{part.deleted_items}"
