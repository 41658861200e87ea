"""A site's whole id, wherever its properties tell it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.models.sites import composite_id, is_composite, web_id

HOST, COLLECTION, WEB = "contoso.sharepoint.com", "2C712604", "2D2244C3"
WHOLE = f"{HOST},{COLLECTION},{WEB}"
IDS = {"siteId": COLLECTION, "webId": WEB}


@pytest.mark.parametrize(
    "site",
    [
        {"id": WHOLE},
        {"id": WEB, "sharepointIds": IDS, "siteCollection": {"hostname": HOST}},
        {"id": WEB, "sharepointIds": IDS, "webUrl": f"https://{HOST}/sites/plans"},
        {"id": WEB, "sharepointIds": IDS, "siteCollection": {}, "webUrl": f"https://{HOST}:443"},
        {"sharepointIds": IDS, "siteCollection": {"hostname": HOST}, "webUrl": "https://other.example"},
    ],
)
def test_the_whole_id_is_the_sites_own_or_made_up_of_what_it_tells(site: dict[str, Any]) -> None:
    assert composite_id(site) == WHOLE


@pytest.mark.parametrize(
    "site",
    [
        {},
        {"id": WEB},
        {"id": WEB, "sharepointIds": IDS},
        {"id": WEB, "sharepointIds": {"webId": WEB}, "webUrl": f"https://{HOST}"},
        {"id": WEB, "sharepointIds": None, "siteCollection": None, "webUrl": None},
        {"id": WEB, "sharepointIds": [IDS], "webUrl": f"https://{HOST}"},
        {"id": WEB, "sharepointIds": {"siteId": 1, "webId": 2}, "webUrl": f"https://{HOST}"},
        {"id": WEB, "sharepointIds": IDS, "webUrl": "https://[broken"},
    ],
)
def test_of_less_no_whole_id_is_made(site: dict[str, Any]) -> None:
    assert composite_id(site) is None


def test_the_webs_id_is_the_last_of_three_or_all_there_is() -> None:
    assert (web_id(WHOLE), web_id(WEB)) == (WEB, WEB)
    assert (is_composite(WHOLE), is_composite(WEB), is_composite(None)) == (True, False, False)
