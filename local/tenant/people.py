"""The generated users: people of many languages, guests, and the mailboxes of rooms, equipment and teams."""

from __future__ import annotations

import re
import unicodedata

from local.tenant.columns import NULL, literal, moment
from local.tenant.ids import Identifiers, format_guid
from local.tenant.words import (
    CULTURES,
    DEPARTMENTS,
    JOB_TITLES,
    KAIZALA_PLAN,
    LICENCE_SKUS,
    PARTNERS,
    PLACES,
    Culture,
)

DOMAIN = "contoso.onmicrosoft.com"

_SET = (
    "id", "displayName", "givenName", "surname", "mail", "userPrincipalName", "mailNickname", "jobTitle",
    "department", "officeLocation", "mobilePhone", "businessPhones", "city", "country", "usageLocation",
    "preferredLanguage", "companyName", "employeeId", "accountEnabled", "userType", "createdDateTime",
    "onPremisesSyncEnabled", "onPremisesImmutableId", "onPremisesSecurityIdentifier", "proxyAddresses",
    "assignedLicenses",
)  # fmt: skip
_UNSET = (
    "deletedDateTime", "ageGroup", "consentProvidedForMinor", "creationType", "employeeHireDate", "employeeType",
    "externalUserState", "faxNumber", "lastPasswordChangeDateTime", "legalAgeGroupClassification",
    "onPremisesDistinguishedName", "onPremisesDomainName", "onPremisesLastSyncDateTime",
    "onPremisesSamAccountName", "onPremisesUserPrincipalName", "passwordPolicies", "postalCode",
    "preferredDataLocation", "securityIdentifier", "showInAddressList", "signInSessionsValidFromDateTime",
    "state", "streetAddress",
)  # fmt: skip
_EMPTY = ("assignedPlans", "imAddresses", "otherMails", "provisionedPlans")
_NUMBERED_NAME = re.compile(r"[a-z.]+(?P<index>\d{1,12})(?:_[^@]*#ext#)?@", re.IGNORECASE)
_CONSTANT_ROW = (NULL,) * len(_UNSET) + ("[]",) * len(_EMPTY)


def _slug(name: str) -> str:
    """What a name looks like in a mail address."""
    shown, bar, ascii_form = name.partition("|")
    if bar:
        return ascii_form
    plain = unicodedata.normalize("NFKD", shown).encode("ascii", "ignore").decode()
    return "".join(c for c in plain.lower() if c.isalpha())


def _named(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name.partition("|")[0], _slug(name)) for name in names)


class _Names:
    def __init__(self, culture: Culture) -> None:
        self.given = _named(culture.given_names)
        self.family = _named(culture.surnames)
        self.surname_first = culture.surname_first


def _licences() -> tuple[str, ...]:
    def one(sku: str, *disabled: str) -> dict[str, object]:
        return {"skuId": LICENCE_SKUS[sku], "disabledPlans": list(disabled)}

    return (
        literal([one("SPE_E3")]),
        literal([one("SPE_E5")]),
        literal([one("SPE_E3", KAIZALA_PLAN), one("POWER_BI_PRO")]),
        literal([one("SPE_F1")]),
    )


class People:
    """Users by index; the same index gives the same user for the same seed, at any size of the tenant."""

    resource = "users"
    columns: tuple[str, ...] = (*_SET, *_UNSET, *_EMPTY)
    default_columns: tuple[str, ...] = (
        "id", "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone",
        "officeLocation", "preferredLanguage", "surname", "userPrincipalName",
    )  # fmt: skip

    def __init__(self, seed: int, count: int) -> None:
        self.count = count
        self._ids = Identifiers(seed, "user")
        self.id = self._ids.guid
        self.index = self._ids.index
        names = {key: _Names(culture) for key, culture in CULTURES.items()}
        self._places = tuple(
            (names[p.culture], literal(p.city), literal(p.country), literal(p.usage_location), literal(p.language),
             literal(p.office), p.dialling_code, p.city)
            for p in PLACES
        )  # fmt: skip
        self._departments = tuple(literal(d) for d in DEPARTMENTS)
        self._titles = tuple(literal(t) for t in JOB_TITLES)
        self._licences = _licences()

    def index_of_name(self, name: str) -> int | None:
        """The index of the user that was generated with this userPrincipalName, if any was."""
        found = _NUMBERED_NAME.match(name)
        return None if found is None else int(found["index"])

    def purpose(self, index: int) -> str:
        """What `userPurpose` says; guests have no mailbox and so no purpose: the empty string."""
        share = self._ids.value(index) % 200
        if share < 10:
            return ""
        return "shared" if share < 14 else "room" if share < 16 else "equipment" if share < 17 else "user"

    def row(self, index: int) -> tuple[str, ...]:
        bits = self._ids.value(index)
        if bits % 200 < 17:
            return self._unusual(index, bits)
        names, city, country, location, language, office, dialling, _ = self._places[(bits >> 8) % len(self._places)]
        given, given_slug = names.given[(bits >> 20) % len(names.given)]
        family, family_slug = names.family[(bits >> 32) % len(names.family)]
        nickname = f"{given_slug}.{family_slug}{index}"
        address = f"{nickname}@{DOMAIN}"
        digits = bits >> 44
        synced = digits & 3
        enabled = digits % 50 != 7
        return (
            f'"{format_guid(bits)}"',
            f'"{family} {given}"' if names.surname_first else f'"{given} {family}"',
            f'"{given}"',
            f'"{family}"',
            f'"{address}"',
            f'"{address}"',
            f'"{nickname}"',
            self._titles[digits % len(self._titles)],
            self._departments[(digits >> 6) % len(self._departments)],
            office,
            f'"{dialling} {digits % 8999 + 1000}"' if digits & 16 else NULL,
            f'["{dialling} {digits % 7919 + 1000}"]' if digits & 96 else "[]",
            city,
            country,
            location,
            language,
            '"Contoso"',
            f'"{100000 + index}"',
            "true" if enabled else "false",
            '"Member"',
            moment(digits >> 10),
            "true" if synced else NULL,
            f'"{bits >> 50:018x}=="' if synced else NULL,
            f'"S-1-5-21-2127521184-1604012920-1887927527-{1000 + index}"' if synced else NULL,
            f'["SMTP:{address}","smtp:u{index}@contoso.mail.onmicrosoft.com"]',
            self._licences[(digits >> 20) & 3] if enabled else "[]",
            *_CONSTANT_ROW,
        )

    def _unusual(self, index: int, bits: int) -> tuple[str, ...]:
        """Guests, and mailboxes that no person owns."""
        names, city, country, location, language, office, _, place = self._places[(bits >> 8) % len(PLACES)]
        purpose = self.purpose(index)
        values: dict[str, str] = dict.fromkeys(self.columns, NULL)
        values.update(dict.fromkeys(_EMPTY, "[]"), id=f'"{self.id(index)}"', createdDateTime=moment(bits >> 54))
        values.update(businessPhones="[]", assignedLicenses="[]", proxyAddresses="[]")
        if not purpose:
            given, given_slug = names.given[(bits >> 20) % len(names.given)]
            family, family_slug = names.family[(bits >> 32) % len(names.family)]
            local_part, partner = f"{given_slug}.{family_slug}{index}", PARTNERS[(bits >> 44) % len(PARTNERS)]
            nickname = f"{local_part}_{partner}#EXT#"
            invitation = '"Accepted"' if bits >> 44 & 3 else '"PendingAcceptance"'
            values.update(
                displayName=f'"{given} {family} ({partner.partition(".")[0].title()})"', givenName=f'"{given}"',
                surname=f'"{family}"', mail=f'"{local_part}@{partner}"', accountEnabled="true", userType='"Guest"',
                creationType='"Invitation"', externalUserState=invitation,
                proxyAddresses=f'["SMTP:{local_part}@{partner}"]',
            )  # fmt: skip
        else:
            nickname = f"{purpose}{index}"
            kind = {"shared": "Team mailbox", "room": "Meeting room", "equipment": "Car"}[purpose]
            values.update(
                displayName=literal(f"{kind} {index} {place}"), mail=f'"{nickname}@{DOMAIN}"', accountEnabled="false",
                userType='"Member"', city=city, country=country, usageLocation=location, preferredLanguage=language,
                officeLocation=office, proxyAddresses=f'["SMTP:{nickname}@{DOMAIN}"]',
            )  # fmt: skip
        values.update(userPrincipalName=f'"{nickname}@{DOMAIN}"', mailNickname=f'"{nickname}"')
        return tuple(values.values())
