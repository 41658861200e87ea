"""The generated SharePoint sites: shared ones first, then the personal ones of OneDrive."""

from __future__ import annotations

from local.tenant.columns import literal, moment
from local.tenant.ids import Identifiers
from local.tenant.words import DEPARTMENTS, SUBJECTS

HOST = "contoso.sharepoint.com"
PERSONAL_HOST = "contoso-my.sharepoint.com"
_REGIONS = ("EUR", "NAM", "APC")


class Sites:
    """Sites by index; the id is `host,siteCollectionGuid,webGuid`."""

    resource = "sites"
    columns: tuple[str, ...] = (
        "id", "displayName", "name", "description", "webUrl", "createdDateTime", "lastModifiedDateTime",
        "isPersonalSite", "siteCollection", "sharepointIds",
    )  # fmt: skip
    default_columns: tuple[str, ...] = columns[:9]

    def __init__(self, seed: int, shared: int) -> None:
        self.shared = shared
        self.count = shared + shared // 2
        self._webs = Identifiers(seed, "web")
        self._collections = Identifiers(seed, "siteCollection")
        self.web_id = self._webs.guid

    def is_personal(self, index: int) -> bool:
        return self.shared <= index < self.count

    def id(self, index: int) -> str:
        host = PERSONAL_HOST if self.is_personal(index) else HOST
        return f"{host},{self._collections.guid(index)},{self._webs.guid(index)}"

    def index(self, object_id: str) -> int | None:
        index = self._webs.index(object_id.rpartition(",")[2])
        return index if index is not None and object_id in (self.id(index), self.web_id(index)) else None

    def row(self, index: int) -> tuple[str, ...]:
        bits = self._webs.value(index)
        personal = self.is_personal(index)
        if personal:
            title, name, host = f"OneDrive of employee {index}", f"user{index}_contoso_onmicrosoft_com", PERSONAL_HOST
        else:
            subject, department = SUBJECTS[(bits >> 8) % len(SUBJECTS)], DEPARTMENTS[(bits >> 16) % len(DEPARTMENTS)]
            title, name, host = f"{department} - {subject} {index}", f"site{index}", HOST
        url = f"https://{host}/{'personal' if personal else 'sites'}/{name}"
        region = _REGIONS[bits % 3]
        return (
            f'"{self.id(index)}"',
            literal(title),
            f'"{name}"',
            '""' if personal else literal(f"Site of {title}"),
            f'"{url}"',
            moment(bits >> 40),
            f'"2025-0{1 + (bits >> 60) % 5}-1{bits % 10}T08:30:00Z"',
            "true" if personal else "false",
            f'{{"hostname":"{host}","dataLocationCode":"{region}"}}',
            f'{{"siteId":"{self._collections.guid(index)}","webId":"{self._webs.guid(index)}","siteUrl":"{url}"}}',
        )
