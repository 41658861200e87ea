"""The tenant's truth: its users, groups and sites, the links between them, and every change made to them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from local.tenant.changes import Change, History
from local.tenant.groups import GeneratedLinks, Groups, reference
from local.tenant.ids import Identifiers
from local.tenant.links import Links
from local.tenant.objects import ObjectSet
from local.tenant.people import DOMAIN, People
from local.tenant.sites import Sites
from local.tenant.words import CHANNELS

Resource = Literal["users", "groups", "sites"]
Relation = Literal["members", "owners"]
RELATIONS: tuple[Relation, ...] = ("members", "owners")

# The tenant's clock moves by changes, not by time: the same changes give the same dates.
_CLOCK_START = datetime(2025, 6, 1, tzinfo=UTC)


class UnknownProperty(ValueError):
    """A property that objects of this resource do not have."""


class Directory:
    """Everything there is, and the only way to change it.

    Not thread-safe: once a server runs it, change it over HTTP, or only while no request is under way.
    """

    def __init__(self, users: int = 5000, seed: int = 1, groups: int | None = None, sites: int | None = None) -> None:
        groups = max(10, users // 20) if groups is None else groups
        sites = max(5, users // 50) if sites is None else sites
        self.seed = seed
        self.domain = DOMAIN
        self.tenant_id = Identifiers(seed, "tenant").guid(0)
        self.users = ObjectSet(People(seed, users))
        self.groups = ObjectSet(Groups(seed, groups))
        self.sites = ObjectSet(Sites(seed, sites))
        self.history = History(f"{seed}/{users}/{groups}/{sites}")
        self.links = Links(GeneratedLinks(seed, users, groups), self._is_gone)
        self._purposes: dict[int, str] = {}
        self._channels: dict[int, dict[str, dict[str, Any]]] = {}

    @property
    def sequence(self) -> int:
        return self.history.sequence

    def objects(self, resource: Resource) -> ObjectSet[Any]:
        return {"users": self.users, "groups": self.groups, "sites": self.sites}[resource]

    def now(self) -> str:
        return (_CLOCK_START + timedelta(seconds=self.sequence)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _is_gone(self, ref: int) -> bool:
        return ref >> 1 in (self.groups.gone if ref & 1 else self.users.gone)

    def _record(self, resource: Resource, change: Change, *values: Any) -> None:
        sequence = self.history.advance(resource, change, values)
        self.objects(resource).log.append(sequence, change)

    def create(self, resource: Resource, properties: dict[str, Any]) -> int:
        """A new object: what the population would generate next, with the given properties instead."""
        objects = self.objects(resource)
        self._check(resource, properties)
        index = objects.size
        values = objects.properties(index) | {"createdDateTime": self.now()} | _with_name_parts(resource, properties)
        objects.size += 1
        objects.touched[index] = values
        self._record(resource, Change(index, "created"), properties)
        return index

    def update(self, resource: Resource, index: int, properties: dict[str, Any]) -> bool:
        """Set properties; False when that changed nothing."""
        objects = self.objects(resource)
        self._check(resource, properties)
        values = objects.properties(index)
        changed = {name: value for name, value in properties.items() if values[name] != value}
        if not changed:
            return False
        if resource == "sites":
            changed.setdefault("lastModifiedDateTime", self.now())
        objects.touched[index] = values | changed
        self._record(resource, Change(index, "updated", tuple(changed)), changed)
        return True

    def delete(self, resource: Resource, index: int, permanent: bool, announce_links: bool = False) -> None:
        """Soft-delete an object, or remove it for good (from either state). Sites have only the second.

        `announce_links` makes the groups' feeds tell that the links of a removed object ended,
        which Graph is reported not to do.
        """
        objects = self.objects(resource)
        if permanent or resource == "sites":
            if announce_links and resource != "sites":
                self._announce_end_of_links(reference(index, is_group=resource == "groups"))
            objects.touched.pop(index, None)
            objects.soft_deleted.pop(index, None)
            objects.gone.add(index)
        else:
            objects.touched[index] = objects.properties(index) | {"deletedDateTime": self.now()}
            objects.soft_deleted[index] = None
        self._record(resource, Change(index, "removed"), permanent)

    def _announce_end_of_links(self, ref: int) -> None:
        for group in range(self.groups.size):
            if self.groups.state(group) != "live":
                continue
            for relation in RELATIONS:
                if self.links.remove(relation, group, ref):
                    self._record("groups", Change(group, relation, ref=ref))

    def restore(self, resource: Resource, index: int) -> None:
        objects = self.objects(resource)
        objects.soft_deleted.pop(index)
        objects.touched[index] |= {"deletedDateTime": None}
        self._record(resource, Change(index, "restored"))
        if resource == "groups":
            # A link that ended in the round that told the group's deletion was not told; a reader
            # that kept the group's links would keep that one for ever.
            for relation in RELATIONS:
                for ref in self.links.ended(relation, index):
                    self._record("groups", Change(index, relation, ref=ref))

    def add_link(self, relation: Relation, group: int, ref: int) -> bool:
        if not self.links.add(relation, group, ref):
            return False
        self._record("groups", Change(group, relation, ref=ref))
        return True

    def remove_link(self, relation: Relation, group: int, ref: int) -> bool:
        if not self.links.remove(relation, group, ref):
            return False
        self._record("groups", Change(group, relation, ref=ref))
        return True

    def find_reference(self, object_id: str) -> int | None:
        """The reference to a user or group that exists."""
        user = self.users.find(object_id)
        if user is not None:
            return reference(user)
        group = self.groups.find(object_id)
        return None if group is None else reference(group, is_group=True)

    def find_user(self, name: str) -> int | None:
        """The user of this id, or the live one of this userPrincipalName."""
        index = self.users.find(name)
        if index is not None:
            return index
        generated = self.users.population.index_of_name(name)
        candidates = itertools.chain(() if generated is None else (generated,), self.users.touched)
        return next((i for i in candidates if self._is_called(i, name)), None)

    def _is_called(self, user: int, name: str) -> bool:
        if self.users.state(user) != "live":
            return False
        called = self.users.properties(user)["userPrincipalName"]
        return isinstance(called, str) and called.lower() == name.lower()

    def is_live(self, ref: int) -> bool:
        """Whether a member or owner is live; links to soft-deleted ones are kept, but lists do not name them."""
        return (self.groups if ref & 1 else self.users).state(ref >> 1) == "live"

    def reference_id(self, ref: int) -> str:
        return self.groups.population.id(ref >> 1) if ref & 1 else self.users.population.id(ref >> 1)

    def is_team(self, group: int) -> bool:
        kept = self.groups.touched.get(group)
        if kept is None:
            return self.groups.population.is_team(group)
        return "Team" in kept["resourceProvisioningOptions"]

    def purpose(self, user: int) -> str:
        """What the user's mailbox is for; the empty string without a mailbox."""
        kept = self._purposes.get(user)
        return self.users.population.purpose(user) if kept is None else kept

    def set_purpose(self, user: int, purpose: str) -> None:
        """Give the user a mailbox for this purpose, or none; Graph tells of that in no feed."""
        self._purposes[user] = purpose

    def channels(self, group: int) -> list[dict[str, Any]]:
        """The team's channels: one to four at first."""
        if group in self._channels:
            return list(self._channels[group].values())
        key = uuid.UUID(self.groups.population.id(group))
        names = ("General", *CHANNELS[: key.int % 4])
        return [self._channel(group, name, is_private=number == 3) for number, name in enumerate(names)]

    def change_channels(self, group: int, add: Iterable[str], remove: Iterable[str], rename: dict[str, str]) -> None:
        """Change the team's channels, by their names; Graph tells of that in no feed."""
        channels = {channel["displayName"]: channel for channel in self.channels(group)}
        for name in remove:
            channels.pop(name, None)
        for name in add:
            channels[name] = self._channel(group, name)
        for old, new in rename.items():
            channels[new] = channels.pop(old) | {"displayName": new}
        self._channels[group] = channels

    def _channel(self, group: int, name: str, *, is_private: bool = False) -> dict[str, Any]:
        key = uuid.UUID(self.groups.population.id(group))
        channel_id = f"19:{uuid.uuid5(key, name).hex}@thread.tacv2"
        return {
            "id": channel_id,
            "displayName": name,
            "description": None,
            "createdDateTime": self.groups.properties(group)["createdDateTime"],
            "membershipType": "private" if is_private else "standard",
            "isArchived": False,
            "webUrl": f"https://teams.microsoft.com/l/channel/{channel_id}/{name}",
            "email": None,
        }

    def _check(self, resource: Resource, properties: Iterable[str]) -> None:
        known = self.objects(resource).population.columns
        for name in properties:
            if name == "id" or name not in known:
                raise UnknownProperty(f"{resource} have no settable property '{name}'.")


def _with_name_parts(resource: Resource, properties: dict[str, Any]) -> dict[str, Any]:
    """A user created by display name alone should not keep the generated given name and surname."""
    name = properties.get("displayName")
    if resource != "users" or not isinstance(name, str) or properties.keys() & {"givenName", "surname"}:
        return properties
    given, _, surname = name.partition(" ")
    return {"givenName": given, "surname": surname or None} | properties
