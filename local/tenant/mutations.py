"""Random rounds of change, as a day in a tenant brings them; the same state and seed give the same round."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from local.tenant.directory import Directory, Relation, Resource
from local.tenant.groups import reference
from local.tenant.words import CULTURES, DEPARTMENTS, JOB_TITLES, PLACES, SUBJECTS

_TRIES = 50
_MOST_MEMBERS_AT_ONCE = 12


def mutate(directory: Directory, count: int, seed: int, announce_links: bool = False) -> dict[str, int]:
    """Make `count` changes; answers how many of each kind were made."""
    return dict(_Round(directory, random.Random(f"{seed}/{directory.sequence}"), announce_links).run(count))


class _Round:
    def __init__(self, directory: Directory, rng: random.Random, announce_links: bool) -> None:
        self._directory = directory
        self._random = rng
        self._announce_links = announce_links
        self._kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "usersAdded": (8, self._add_user),
            "usersChanged": (26, self._change_user),
            "usersSoftDeleted": (5, lambda: self._delete("users", False)),
            "usersHardDeleted": (3, lambda: self._delete("users", True)),
            "usersRestored": (3, lambda: self._restore("users")),
            "groupsAdded": (4, self._add_group),
            "groupsChanged": (7, self._change_group),
            "groupsSoftDeleted": (3, lambda: self._delete("groups", False)),
            "groupsHardDeleted": (2, lambda: self._delete("groups", True)),
            "groupsRestored": (2, lambda: self._restore("groups")),
            "teamsCreated": (3, self._make_team),
            "channelsChanged": (3, self._change_channels),
            "mailboxesConverted": (2, self._convert_mailbox),
            "membersAdded": (14, lambda: self._add_links("members")),
            "membersRemoved": (9, lambda: self._remove_link("members")),
            "membersMoved": (5, self._move_member),
            "ownersAdded": (3, lambda: self._add_links("owners")),
            "ownersRemoved": (2, lambda: self._remove_link("owners")),
            "sitesAdded": (3, self._add_site),
            "sitesRenamed": (4, self._rename_site),
            "sitesDeleted": (2, lambda: self._delete("sites", True)),
        }

    def run(self, count: int) -> Counter[str]:
        done: Counter[str] = Counter()
        names = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        # Some kinds may have nothing to work on; another draw is made then, within reason.
        for _ in range(count * _TRIES):
            if done.total() == count:
                break
            name = self._random.choices(names, weights)[0]
            if self._kinds[name][1]():
                done[name] += 1
        return done

    def _live(self, resource: Resource) -> int | None:
        objects = self._directory.objects(resource)
        for _ in range(_TRIES):
            index = self._random.randrange(objects.size) if objects.size else 0
            if objects.state(index) == "live":
                return index
        return None

    def _person(self) -> dict[str, Any]:
        culture = CULTURES[self._random.choice(PLACES).culture]
        given = self._random.choice(culture.given_names).partition("|")[0]
        surname = self._random.choice(culture.surnames).partition("|")[0]
        return {"displayName": f"{given} {surname}", "givenName": given, "surname": surname}

    def _add_user(self) -> bool:
        index = self._directory.create("users", self._person())
        group = self._live("groups")
        if group is not None:
            self._directory.add_link("members", group, reference(index))
        return True

    def _change_user(self) -> bool:
        index = self._live("users")
        if index is None:
            return False
        draw = self._random
        place = draw.choice(PLACES)
        enabled = self._directory.users.properties(index)["accountEnabled"]
        change = draw.choice((
            {"department": draw.choice(DEPARTMENTS)},
            {"jobTitle": draw.choice((*JOB_TITLES, None))},
            {"accountEnabled": not enabled},
            {"mobilePhone": draw.choice((None, f"+1 555 {draw.randrange(1000, 9999)}"))},
            {"city": place.city, "country": place.country, "officeLocation": place.office},
            self._person(),
        ))  # fmt: skip
        return self._directory.update("users", index, change)

    def _delete(self, resource: Resource, permanent: bool) -> bool:
        index = self._live(resource)
        objects = self._directory.objects(resource)
        if index is not None and permanent and objects.soft_deleted and self._random.random() < 0.5:
            index = self._random.choice(list(objects.soft_deleted))
        if index is None or (resource == "groups" and not permanent and not self._is_unified(index)):
            return False
        self._directory.delete(resource, index, permanent, self._announce_links)
        return True

    def _is_unified(self, group: int) -> bool:
        # Only these can be restored in a real tenant.
        return "Unified" in self._directory.groups.properties(group)["groupTypes"]

    def _restore(self, resource: Resource) -> bool:
        deleted = list(self._directory.objects(resource).soft_deleted)
        if not deleted:
            return False
        self._directory.restore(resource, self._random.choice(deleted))
        return True

    def _add_group(self) -> bool:
        name = f"{self._random.choice(SUBJECTS)} {self._random.randrange(10_000)}"
        group = self._directory.create("groups", {"displayName": name})
        self._add_users_to("members", group, self._random.randrange(1, 15))
        self._add_users_to("owners", group, 1)
        return True

    def _add_users_to(self, relation: Relation, group: int, count: int) -> bool:
        added = False
        for _ in range(count):
            user = self._live("users")
            if user is not None:
                added = self._directory.add_link(relation, group, reference(user)) or added
        return added

    def _change_group(self) -> bool:
        group = self._live("groups")
        if group is None:
            return False
        change = self._random.choice((
            {"displayName": f"{self._random.choice(SUBJECTS)} {self._random.randrange(10_000)}"},
            {"description": self._random.choice((None, f"About {self._random.choice(SUBJECTS)}"))},
            {"visibility": self._random.choice(("Private", "Public"))},
        ))  # fmt: skip
        return self._directory.update("groups", group, change)

    def _make_team(self) -> bool:
        group = self._live("groups")
        if group is None or self._directory.is_team(group) or not self._is_unified(group):
            return False
        return self._directory.update("groups", group, {"resourceProvisioningOptions": ["Team"]})

    def _change_channels(self) -> bool:
        """Of a team that changes too, since no feed tells of its channels."""
        group = self._live("groups")
        if group is None or not self._directory.is_team(group):
            return False
        *_, last = (channel["displayName"] for channel in self._directory.channels(group))
        name = f"{self._random.choice(SUBJECTS)} {self._random.randrange(10_000)}"
        add, remove, rename = self._random.choice((([name], [], {}), ([name], [last], {}), ([], [], {last: name})))
        self._directory.change_channels(group, add, remove, rename)
        return self._directory.update("groups", group, {"description": f"With {name}"})

    def _convert_mailbox(self) -> bool:
        """Of a user that changes too, since no feed tells of mailboxes."""
        user = self._live("users")
        if user is None or not self._directory.purpose(user):
            return False
        self._directory.set_purpose(user, "user" if self._directory.purpose(user) == "shared" else "shared")
        return self._directory.update("users", user, {"jobTitle": f"Mailbox {self._random.randrange(10_000)}"})

    def _add_links(self, relation: Relation) -> bool:
        group = self._live("groups")
        if group is None:
            return False
        count = 1 if relation == "owners" else self._random.randrange(1, _MOST_MEMBERS_AT_ONCE)
        return self._add_users_to(relation, group, count)

    def _some_link(self, relation: Relation) -> tuple[int, int] | None:
        group = self._live("groups")
        if group is None:
            return None
        refs, _ = self._directory.links.slice(relation, group, 0, 100)
        return (group, self._random.choice(refs)) if refs else None

    def _remove_link(self, relation: Relation) -> bool:
        found = self._some_link(relation)
        return found is not None and self._directory.remove_link(relation, *found)

    def _move_member(self) -> bool:
        found, target = self._some_link("members"), self._live("groups")
        if found is None or target is None or found[1] & 1 or target == found[0]:
            return False
        self._directory.remove_link("members", *found)
        self._directory.add_link("members", target, found[1])
        return True

    def _add_site(self) -> bool:
        name = self._random.choice(SUBJECTS)
        self._directory.create("sites", {"displayName": f"{name} - {self._random.choice(DEPARTMENTS)}"})
        return True

    def _rename_site(self) -> bool:
        index = self._live("sites")
        name = f"{self._random.choice(SUBJECTS)} {self._random.randrange(10_000)}"
        return index is not None and self._directory.update("sites", index, {"displayName": name})
