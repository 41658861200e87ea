"""The tenant's truth as NDJSON, for comparing a reader's copy with it; streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import orjson

from local.tenant.directory import Directory, Relation, Resource

_LINES = 500
_TYPES = ("#microsoft.graph.user", "#microsoft.graph.group")


def objects(directory: Directory, resource: Resource, teams_only: bool = False) -> Iterator[bytes]:
    """Live objects with all properties, and soft-deleted ones marked `"@softDeleted": true`."""
    found = directory.objects(resource)

    def lines() -> Iterator[str]:
        for index in found.existing():
            if teams_only and not directory.is_team(index):
                continue
            text = found.render_whole(index)
            yield text if found.state(index) == "live" else f'{text[:-1]},"@softDeleted":true}}'

    return _chunks(lines())


def links(directory: Directory, relation: Relation) -> Iterator[bytes]:
    """`["groupId","memberId","#microsoft.graph.user"]` for live groups; soft-deleted users are members still."""

    def lines() -> Iterator[str]:
        for group in directory.groups.existing():
            if directory.groups.state(group) != "live":
                continue
            group_id = directory.groups.population.id(group)
            for ref in directory.links.all(relation, group):
                yield f'["{group_id}","{directory.reference_id(ref)}","{_TYPES[ref & 1]}"]'

    return _chunks(lines())


def mailboxes(directory: Directory) -> Iterator[bytes]:
    """What each live user's mailbox is for, of users that have one."""

    def lines() -> Iterator[str]:
        for index in directory.users.existing():
            purpose = directory.purpose(index)
            if purpose and directory.users.state(index) == "live":
                user = directory.users.properties(index)
                names = ("id", "displayName", "mail", "userPrincipalName")
                yield orjson.dumps({name: user[name] for name in names} | {"userPurpose": purpose}).decode()

    return _chunks(lines())


def channels(directory: Directory) -> Iterator[bytes]:
    """The channels of live teams."""

    def lines() -> Iterator[str]:
        for index in directory.groups.existing():
            if directory.groups.state(index) == "live" and directory.is_team(index):
                team_id = directory.groups.population.id(index)
                for channel in directory.channels(index):
                    yield orjson.dumps({**channel, "teamId": team_id}).decode()

    return _chunks(lines())


def _chunks(lines: Iterator[str]) -> Iterator[bytes]:
    while block := list(islice(lines, _LINES)):
        yield ("\n".join(block) + "\n").encode()
