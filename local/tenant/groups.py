"""The generated groups, and who is a member and an owner of them, as arithmetic instead of lists."""

from __future__ import annotations

from math import gcd

from local.tenant.columns import NULL, literal, moment
from local.tenant.ids import Identifiers, format_guid
from local.tenant.people import DOMAIN
from local.tenant.words import DEPARTMENTS, SUBJECTS

_SET = (
    "id", "displayName", "description", "mail", "mailEnabled", "mailNickname", "securityEnabled", "groupTypes",
    "visibility", "resourceProvisioningOptions", "createdDateTime", "renewedDateTime", "proxyAddresses",
    "onPremisesSyncEnabled", "isAssignableToRole",
)  # fmt: skip
_UNSET = (
    "deletedDateTime", "classification", "expirationDateTime", "isArchived", "membershipRule",
    "membershipRuleProcessingState", "onPremisesDomainName", "onPremisesLastSyncDateTime", "onPremisesNetBiosName",
    "onPremisesSamAccountName", "onPremisesSecurityIdentifier", "preferredDataLocation", "preferredLanguage",
    "securityIdentifier", "theme", "uniqueName",
)  # fmt: skip
_EMPTY = (
    "assignedLabels",
    "assignedLicenses",
    "creationOptions",
    "onPremisesProvisioningErrors",
    "resourceBehaviorOptions",
)
_CONSTANT_ROW = (NULL,) * len(_UNSET) + ("[]",) * len(_EMPTY)

# (mailEnabled, securityEnabled, groupTypes) of the kinds a tenant has, by rising share of 100.
_KINDS = (
    (25, "true", "false", '["Unified"]', '["Team"]'),
    (50, "true", "false", '["Unified"]', "[]"),
    (82, "false", "true", "[]", "[]"),
    (92, "true", "true", "[]", "[]"),
    (100, "true", "false", "[]", "[]"),
)

_STRIDES = (1, 7, 13, 37, 101, 433, 1009, 7919)


def reference(index: int, is_group: bool = False) -> int:
    """A member or owner as one number: users are even, groups odd."""
    return index * 2 + is_group


class Groups:
    """Groups by index."""

    resource = "groups"
    columns: tuple[str, ...] = (*_SET, *_UNSET, *_EMPTY)
    default_columns: tuple[str, ...] = columns

    def __init__(self, seed: int, count: int) -> None:
        self.count = count
        self._ids = Identifiers(seed, "group")
        self.id = self._ids.guid
        self.index = self._ids.index

    def is_team(self, index: int) -> bool:
        return self._ids.value(index) % 100 < _KINDS[0][0]

    def row(self, index: int) -> tuple[str, ...]:
        bits = self._ids.value(index)
        mail_enabled, security, types, options = next(kind[1:] for kind in _KINDS if bits % 100 < kind[0])
        subject = SUBJECTS[(bits >> 8) % len(SUBJECTS)]
        department = DEPARTMENTS[(bits >> 16) % len(DEPARTMENTS)]
        nickname = f"group{index}"
        created = moment(bits >> 40)
        has_mail = mail_enabled == "true"
        return (
            f'"{format_guid(bits)}"',
            literal(f"{department} {subject} {index}"),
            literal(f"Everything about {subject} in {department}") if bits & 1024 else NULL,
            f'"{nickname}@{DOMAIN}"' if has_mail else NULL,
            mail_enabled,
            f'"{nickname}"',
            security,
            types,
            ('"Private"' if bits >> 24 & 3 else '"Public"') if types != "[]" else NULL,
            options,
            created,
            created,
            f'["SMTP:{nickname}@{DOMAIN}"]' if has_mail else "[]",
            "true" if types == "[]" and bits >> 26 & 1 else NULL,
            "true" if security == "true" and (bits >> 30) % 50 == 0 else NULL,
            *_CONSTANT_ROW,
        )


class GeneratedLinks:
    """Members and owners of the generated groups.

    The members of a group are an arithmetic progression through the users, so that both "the k-th
    member" and "is this user a member" take no memory and no search.
    """

    def __init__(self, seed: int, users: int, groups: int) -> None:
        self._users = users
        self._groups = groups
        self._bits = Identifiers(seed, "links")
        self._strides = tuple(s for s in _STRIDES if gcd(s, users) == 1) if users else ()
        self._inverses = {s: pow(s, -1, users) for s in self._strides} if users > 1 else dict.fromkeys(self._strides, 0)

    def _progression(self, relation: str, group: int) -> tuple[int, int, int]:
        """Where it begins, its stride, and how many users it has."""
        if not self._users or group >= self._groups:
            return 0, 1, 0
        bits = self._bits.value(group)
        if relation == "owners":
            stride = self._strides[(bits >> 62) % len(self._strides)]
            return (bits >> 70) % self._users, stride, min(1 + bits % 3, self._users)
        stride = self._strides[(bits >> 4) % len(self._strides)]
        if group == 0:
            size = self._users // 5
        elif group == 1:
            size = self._users // 10
        elif bits % 97 == 0:
            size = 100 + (bits >> 8) % 400
        else:
            size = 5 + ((bits >> 8) % 46) * ((bits >> 16) % 46) // 46
        return (bits >> 40) % self._users, stride, min(max(size, 3), self._users)

    def _nested(self, relation: str, group: int) -> int | None:
        """The group inside this one, if any; always an older one, so that no ring can come about."""
        if relation == "owners" or group < 2 or group >= self._groups:
            return None
        bits = self._bits.value(group) >> 24
        return (bits >> 8) % group if bits % 30 == 0 else None

    def count(self, relation: str, group: int) -> int:
        return self._progression(relation, group)[2] + (self._nested(relation, group) is not None)

    def slice(self, relation: str, group: int, start: int, stop: int) -> list[int]:
        """The references at positions start to stop."""
        first, stride, size = self._progression(relation, group)
        users = self._users
        found = [(first + k * stride) % users * 2 for k in range(start, min(stop, size))]
        nested = self._nested(relation, group)
        if nested is not None and start <= size < stop:
            found.append(reference(nested, is_group=True))
        return found

    def contains(self, relation: str, group: int, ref: int) -> bool:
        if ref & 1:
            return self._nested(relation, group) == ref >> 1
        if ref >> 1 >= self._users:
            return False
        first, stride, size = self._progression(relation, group)
        return ((ref >> 1) - first) * self._inverses.get(stride, 0) % self._users < size
