"""A reference reader: keeps a copy of a tenant by delta rounds, plainly and in memory, to check others by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson

RESOURCES = ("users", "groups", "sites")
RELATIONS = ("members", "owners")
Link = tuple[str, str, str]


class ReferenceReader:
    """A copy of the objects and links, brought up to date by `synchronize`."""

    def __init__(self, client: httpx.Client, select: dict[str, str] | None = None, prefer: str = "") -> None:
        self._client = client
        self._select = {"groups": "displayName,description,resourceProvisioningOptions,members,owners"} | (select or {})
        self._headers = {"Prefer": prefer} if prefer else {}
        self._delta_links: dict[str, str] = {}
        self.objects: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in RESOURCES}
        self.soft_deleted: dict[str, set[str]] = {name: set() for name in RESOURCES}
        self.links: dict[str, set[Link]] = {name: set() for name in RELATIONS}
        self.pages = 0

    def synchronize(self) -> None:
        for resource in RESOURCES:
            for _ in self.rounds(resource):
                pass

    def rounds(self, resource: str) -> Iterator[list[dict[str, Any]]]:
        """Read one round, applying page by page; yields the records of each page."""
        select = self._select.get(resource)
        start = f"/v1.0/{resource}/delta" + (f"?$select={select}" if select else "")
        link = self._delta_links.get(resource, start)
        while True:
            response = self._client.get(link, headers=self._headers)
            response.raise_for_status()
            page = response.json()
            self.pages += 1
            for record in page["value"]:
                self._apply(resource, record)
            yield page["value"]
            if "@odata.deltaLink" in page:
                self._delta_links[resource] = page["@odata.deltaLink"]
                return
            link = page["@odata.nextLink"]

    def _apply(self, resource: str, record: dict[str, Any]) -> None:
        object_id = record["id"]
        removed = record.get("@removed", {}).get("reason")
        if removed == "changed":
            self.soft_deleted[resource].add(object_id)
            return
        if removed == "deleted" or "deleted" in record:
            self.objects[resource].pop(object_id, None)
            self.soft_deleted[resource].discard(object_id)
            for relation, links in self.links.items():
                self.links[relation] = {link for link in links if object_id not in link[:2]}
            return
        self.soft_deleted[resource].discard(object_id)
        properties = {name: value for name, value in record.items() if not name.endswith("@delta")}
        self.objects[resource].setdefault(object_id, {}).update(properties)
        for relation in RELATIONS:
            for member in record.get(f"{relation}@delta", ()):
                link = (object_id, member["id"], member["@odata.type"])
                if "@removed" in member:
                    self.links[relation].discard(link)
                else:
                    self.links[relation].add(link)

    def differences(self) -> list[str]:
        """Where the copy differs from the tenant's truth; empty when it is right."""
        found: list[str] = []
        for resource in RESOURCES:
            truth = {o["id"]: o for o in self._truth(resource)}
            live = {key: o for key, o in truth.items() if "@softDeleted" not in o}
            mine = {key: o for key, o in self.objects[resource].items() if key not in self.soft_deleted[resource]}
            found += [f"{resource} {key} is missing" for key in live.keys() - mine.keys()]
            found += [f"{resource} {key} should not be" for key in mine.keys() - live.keys()]
            marked = self.soft_deleted[resource] ^ (truth.keys() - live.keys())
            found += [f"{resource} {key} is marked wrongly" for key in marked]
            for key in live.keys() & mine.keys():
                found += [
                    f"{resource} {key} {name}: {value!r} instead of {live[key].get(name)!r}"
                    for name, value in mine[key].items()
                    if value != live[key].get(name)
                ]
        live_groups = self.objects["groups"].keys() - self.soft_deleted["groups"]
        for relation in RELATIONS:
            true_links = {(group, member, kind) for group, member, kind in self._truth(relation)}
            mine = {link for link in self.links[relation] if link[0] in live_groups}
            found += [f"{relation} {link} is missing" for link in true_links - mine]
            found += [f"{relation} {link} should not be" for link in mine - true_links]
        return found

    def _truth(self, kind: str) -> Iterator[Any]:
        with self._client.stream("GET", f"/control/truth/{kind}") as response:
            response.raise_for_status()
            for line in response.iter_lines():
                yield orjson.loads(line)
