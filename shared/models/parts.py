"""The part catalogue: what can be synchronized, one declarative entry per part.

Each part reads its own Graph delta query, so that each has a cursor, permissions and failures of its own
(docs/decisions/0002-a-cursor-for-every-part.md). What Graph has no delta query for is derived: it is asked for object
by object of another part (graph.md §5; docs/decisions/0010-derived-parts.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Properties = Mapping[str, Any]
"""An object's selected properties as Graph names them."""

GraphCollection = Literal["users", "groups", "sites"]
Relation = Literal["members", "owners"]
Family = Literal["directory", "sharepoint", "teams", "outlook"]
"""The services behind Graph that count requests, each for itself (graph.md §6)."""


class PartName(StrEnum):
    """The parts by the name they have on the wire."""

    USERS = "users"
    GROUPS = "groups"
    GROUP_MEMBERS = "groupMembers"
    SITES = "sites"
    MAILBOXES = "mailboxes"
    TEAMS = "teams"
    CHANNELS = "channels"


def _holds(properties: Properties, name: str, word: str) -> bool:
    words = properties.get(name)
    return isinstance(words, list) and word in words


def is_team(group: Properties) -> bool:
    """Whether a group carries a team (graph.md §5: resourceProvisioningOptions holds ``Team``)."""
    return _holds(group, "resourceProvisioningOptions", "Team")


def _everything(_: Properties) -> bool:
    return True


def _may_have_mailbox(user: Properties) -> bool:
    """Whether it is worth asking for the user's mailbox: guests have their mail elsewhere, others a mail address."""
    if user.get("userType") == "Guest":
        return False
    told = [user[name] for name in ("mail", "proxyAddresses") if name in user]
    return not told or any(told)


def _user_kind(user: Properties) -> str | None:
    return user.get("userType")


def _group_kind(group: Properties) -> str:
    if _holds(group, "groupTypes", "Unified"):
        return "Microsoft365"
    if group.get("mailEnabled"):
        return "MailEnabledSecurity" if group.get("securityEnabled") else "Distribution"
    return "Security"


def _team_kind(team: Properties) -> str | None:
    return team.get("visibility")


def _site_kind(site: Properties) -> str:
    return "Personal" if site.get("isPersonalSite") else "Site"


def _purpose(mailbox: Properties) -> str | None:
    return mailbox.get("userPurpose")


def _membership_type(channel: Properties) -> str | None:
    return channel.get("membershipType")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of Graph about each object of another part, because no delta query tells it.

    Attributes:
        source: The part whose objects are asked about.
        path: The request's path, with ``{id}`` in place of the object's id.
        asks: Which of the source's objects are asked about.
        value: The property that the answer's value is; None where the answer lists objects.
        parent: The property that keeps the id of the object asked about, where there may be many answers to it.
        copied: The properties that are taken over from the object asked about.
        nothing: Error codes, in lower case, that say that there is nothing to tell; others are those of an object that
            is not there.
        relisted: Whether new answers may come up without a change of the object asked about, so that all objects are
            asked about again from time to time.
    """

    source: PartName
    path: str
    asks: Callable[[Properties], bool] = _everything
    value: str | None = None
    parent: str | None = None
    copied: tuple[str, ...] = ()
    nothing: frozenset[str] = frozenset()
    relisted: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part: where it is read from and what of it is kept.

    Attributes:
        name: The part's name on the wire.
        collection: The Graph collection whose delta query feeds the part, or the one that it is derived from.
        select: The properties and relationships asked for: in the catalogue those asked for by default, in a part
            made from it by ``dataclasses.replace`` those that were chosen. Changing it takes a new full run
            (graph.md §4.2.5).
        optional: Further Graph properties that may be chosen: of v1.0, and told by the collection's delta query, which
            leaves out what is kept outside the directory's own store (graph.md §4.4).
        decisive: The properties that ``in_scope`` and ``kind`` read, and a part that is derived from this one.
        relations: The relationships in ``select``, read from ``<relation>@delta``.
        keeps_objects: Whether the objects themselves are kept, or only their links.
        in_scope: Which of the objects received belong to the part.
        kind: What people call the sort of object it is; the ``kind`` column.
        takes_links_along: Whether an object that is gone for good takes its links along.
        count_filter: Narrows the collection's $count to the objects that belong to the part (graph.md §5).
        deleted_items: The type under /directory/deletedItems that lists the soft-deleted objects, if there is one.
        entry_type: The key under which synchronizedEntryCountByType counts the part's entries.
        permission: The least application permission that reads the part (graph.md §8.1).
        family: The services that answer for it: when one part is told to wait, all of its family wait.
        question: What is asked about each object of another part; None where a delta query feeds the part.
        properties: The selected properties without the relationships.
        property_names: The same as a set.
        nothing_known: The same, each with null: what is kept of an object of which Graph has told nothing yet.
    """

    name: PartName
    collection: GraphCollection
    select: tuple[str, ...]
    entry_type: str
    permission: str
    optional: tuple[str, ...] = ()
    decisive: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()
    keeps_objects: bool = True
    takes_links_along: bool = False
    in_scope: Callable[[Properties], bool] = _everything
    kind: Callable[[Properties], str | None] = _group_kind
    deleted_items: Literal["user", "group"] | None = None
    family: Family = "directory"
    count_filter: str | None = None
    question: Question | None = None
    properties: tuple[str, ...] = field(init=False, compare=False, repr=False)
    property_names: frozenset[str] = field(init=False, compare=False, repr=False)
    nothing_known: Properties = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        properties = tuple(name for name in self.select if name not in self.relations)
        object.__setattr__(self, "properties", properties)
        object.__setattr__(self, "property_names", frozenset(properties))
        object.__setattr__(self, "nothing_known", dict.fromkeys(properties))

    @property
    def source(self) -> PartName | None:
        """The part that this one is derived from, if it is derived."""
        return None if self.question is None else self.question.source

    @property
    def is_counted(self) -> bool:
        """Whether Graph tells how many objects the part has; of sites, and of what is derived, it does not."""
        return self.collection != "sites" and self.source is None

    @property
    def required(self) -> tuple[str, ...]:
        """The properties and relationships that every selection must hold."""
        return ("id", *self.decisive, *self.relations)


_GROUP_PROPERTIES = (
    "id", "displayName", "description", "mail", "mailEnabled", "mailNickname", "securityEnabled", "groupTypes",
    "visibility", "resourceProvisioningOptions", "createdDateTime", "proxyAddresses", "onPremisesSyncEnabled",
)  # fmt: skip

_CATALOGUE = (
    Part(
        name=PartName.USERS,
        collection="users",
        select=(
            "id", "displayName", "givenName", "surname", "userPrincipalName", "mail", "userType", "accountEnabled",
            "jobTitle", "department", "companyName", "officeLocation", "city", "country", "usageLocation",
            "preferredLanguage", "employeeId", "mobilePhone", "businessPhones", "proxyAddresses", "assignedLicenses",
            "createdDateTime", "onPremisesSyncEnabled", "onPremisesSecurityIdentifier",
        ),
        optional=(
            "mailNickname", "otherMails", "imAddresses", "streetAddress", "postalCode", "state", "faxNumber",
            "employeeType", "employeeHireDate", "ageGroup", "consentProvidedForMinor", "legalAgeGroupClassification",
            "creationType", "externalUserState", "assignedPlans", "provisionedPlans", "preferredDataLocation",
            "passwordPolicies", "lastPasswordChangeDateTime", "securityIdentifier", "onPremisesImmutableId",
            "onPremisesDistinguishedName", "onPremisesDomainName", "onPremisesSamAccountName",
            "onPremisesUserPrincipalName", "onPremisesLastSyncDateTime",
        ),
        decisive=("userType", "mail"),
        entry_type="User to User",
        permission="User.Read.All",
        takes_links_along=True,
        kind=_user_kind,
        deleted_items="user",
    ),
    Part(
        name=PartName.GROUPS,
        collection="groups",
        select=(*_GROUP_PROPERTIES, "owners"),
        optional=(
            "classification", "assignedLabels", "assignedLicenses", "expirationDateTime", "renewedDateTime",
            "isAssignableToRole", "membershipRule", "membershipRuleProcessingState", "preferredDataLocation",
            "preferredLanguage", "theme", "uniqueName", "resourceBehaviorOptions", "securityIdentifier",
            "onPremisesSecurityIdentifier", "onPremisesDomainName", "onPremisesNetBiosName",
            "onPremisesSamAccountName", "onPremisesLastSyncDateTime",
        ),
        decisive=("groupTypes", "mailEnabled", "securityEnabled"),
        relations=("owners",),
        takes_links_along=True,
        entry_type="Group to Group",
        permission="GroupMember.Read.All",
        deleted_items="group",
    ),
    Part(
        name=PartName.GROUP_MEMBERS,
        collection="groups",
        select=("id", "members"),
        relations=("members",),
        takes_links_along=True,
        keeps_objects=False,
        entry_type="GroupMember to GroupMember",
        permission="GroupMember.Read.All",
    ),
    Part(
        name=PartName.SITES,
        collection="sites",
        select=(
            "id", "displayName", "name", "description", "webUrl", "createdDateTime", "lastModifiedDateTime",
            "isPersonalSite", "siteCollection", "sharepointIds",
        ),
        decisive=("isPersonalSite",),
        entry_type="Site to Site",
        permission="Sites.Read.All",
        kind=_site_kind,
        family="sharepoint",
    ),
    Part(
        name=PartName.MAILBOXES,
        collection="users",
        select=("id", "userPurpose", "displayName", "mail", "userPrincipalName"),
        decisive=("userPurpose",),
        entry_type="Mailbox to Mailbox",
        permission="MailboxSettings.Read",
        kind=_purpose,
        family="outlook",
        question=Question(
            source=PartName.USERS,
            path="/users/{id}/mailboxSettings/userPurpose",
            asks=_may_have_mailbox,
            value="userPurpose",
            copied=("displayName", "mail", "userPrincipalName"),
            nothing=frozenset({
                "mailboxnotenabledforrestapi", "mailboxnothostedinexchangeonline", "mailboxnotsupportedforrestapi",
                "errorinvaliduser", "errornonexistentmailbox", "errormailboxnotfound", "erroritemnotfound",
                "resourcenotfound",
            }),
        ),
    ),
    Part(
        name=PartName.TEAMS,
        collection="groups",
        select=(
            "id", "displayName", "description", "mail", "visibility", "resourceProvisioningOptions", "createdDateTime",
        ),
        optional=(
            "mailNickname", "proxyAddresses", "groupTypes", "classification", "assignedLabels", "expirationDateTime",
            "renewedDateTime", "membershipRule", "membershipRuleProcessingState", "preferredDataLocation",
            "preferredLanguage", "theme",
        ),
        decisive=("resourceProvisioningOptions", "visibility"),
        in_scope=is_team,
        entry_type="Team to Team",
        permission="GroupMember.Read.All",
        kind=_team_kind,
        deleted_items="group",
        count_filter="resourceProvisioningOptions/Any(x:x eq 'Team')",
    ),
    Part(
        name=PartName.CHANNELS,
        collection="groups",
        select=(
            "id", "teamId", "displayName", "description", "membershipType", "isArchived", "createdDateTime", "webUrl",
            "email",
        ),
        decisive=("teamId", "membershipType"),
        entry_type="Channel to Channel",
        permission="Channel.ReadBasic.All",
        kind=_membership_type,
        family="teams",
        question=Question(
            source=PartName.TEAMS,
            path="/teams/{id}/channels",
            parent="teamId",
            nothing=frozenset({"notfound"}),
            relisted=True,
        ),
    ),
)  # fmt: skip

CATALOGUE: Mapping[PartName, Part] = {part.name: part for part in _CATALOGUE}
"""Every part by name, in the order in which people read them."""


def lacks_source(names: Collection[PartName]) -> str | None:
    """What to tell people who choose a part without the one that it is derived from; None when nothing is missing."""
    missing = [(part.name, part.source) for part in CATALOGUE.values() if part.name in names and part.source]
    told = [f"{name} is derived from {source}" for name, source in missing if source not in names]
    return f"{' and '.join(told)}: choose both, or neither" if told else None


def selectable(part: Part) -> tuple[str, ...]:
    """What the part may select: the catalogue's defaults, the optional properties, then what else it selects now.

    The last is what an older catalogue offered; it can be kept or given up.
    """
    return tuple(dict.fromkeys((*CATALOGUE[part.name].select, *part.optional, *part.select)))
