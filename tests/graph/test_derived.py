"""Pages of derived parts: made of Graph's answers, and read again as they were."""

from __future__ import annotations

from typing import Any

import orjson

from shared.graph.derived import page_body, records, removal
from shared.graph.pages import parse_page
from shared.models.errors import GraphRefused
from shared.models.parts import Part
from shared.models.records import Page, Removal
from tests.graph.support import CHANNELS, MAILBOXES, USERS

TEAM = "02bd9fd6-8f93-4758-87c3-1fb73740a315"
GENERAL: dict[str, Any] = {"id": "19:General@thread.tacv2", "displayName": "General", "membershipType": "standard"}
USER: dict[str, Any] = {"id": "u", "displayName": "Ada", "mail": "ada@contoso.com", "department": "Research"}


def page(part: Part, *values: Any) -> Page:
    return parse_page(page_body(values, None, "changes:7"), part)


def test_a_mailbox_has_its_purpose_and_what_its_user_is_called_by() -> None:
    (record,) = page(MAILBOXES, *records(MAILBOXES, "u", USER, [{"userPurpose": "shared"}])).records
    assert (record.object_id, record.removal) == ("u", None)
    assert record.properties == {
        "id": "u", "userPurpose": "shared", "displayName": "Ada", "mail": "ada@contoso.com", "userPrincipalName": None,
    }  # fmt: skip


def test_a_channel_is_kept_under_its_team_with_every_property_and_nothing_else() -> None:
    answer = [{**GENERAL, "tenantId": "t", "@odata.type": "x", "@failure": {"code": "x"}}]
    (record,) = page(CHANNELS, *records(CHANNELS, TEAM, {}, answer)).records
    assert record.object_id == f"{TEAM}/19:general@thread.tacv2"
    assert record.properties == {**dict.fromkeys(CHANNELS.properties), **GENERAL, "teamId": TEAM}


def test_channels_of_two_teams_are_never_the_same() -> None:
    values = [*records(CHANNELS, "a", {}, [GENERAL]), *records(CHANNELS, "b", {}, [GENERAL])]
    assert len(page(CHANNELS, *values).records) == 2


def test_what_was_derived_is_removed_under_the_key_it_was_kept_under() -> None:
    for part, key in ((MAILBOXES, "u"), (CHANNELS, f"{TEAM}/19:general@thread.tacv2")):
        (record,) = page(part, removal(part, key)).records
        assert (record.object_id, record.removal) == (key, Removal.HARD_DELETED)


def test_an_object_that_could_not_be_asked_about_is_put_aside_with_its_error() -> None:
    failure = GraphRefused("ErrorAccessDenied", "Refused.", status=403, tenant_actionable=True)
    found = page(CHANNELS, *records(CHANNELS, TEAM, {}, failure))
    (broken,) = found.broken
    assert found.records == []
    assert (broken.object_id, broken.graph_id) == (TEAM, TEAM)
    assert (broken.error.code, broken.error.tenant_actionable) == ("ErrorAccessDenied", True)


def test_a_channel_that_cannot_be_read_is_put_aside_alone() -> None:
    found = page(CHANNELS, *records(CHANNELS, TEAM, {}, [GENERAL, {"displayName": "Nameless"}, 5, {"id": 5}]))
    assert len(found.records) == 1
    assert len(found.broken) == 3
    assert {broken.error.code for broken in found.broken} == {"MalformedRecord"}


def test_a_page_ends_with_one_link_alone() -> None:
    following = parse_page(page_body([], "changes:1:2:a", None), CHANNELS)
    last = parse_page(page_body([], None, "changes:2"), CHANNELS)
    assert (following.next_link, following.delta_link) == ("changes:1:2:a", None)
    assert (last.next_link, last.delta_link) == (None, "changes:2")


def test_a_delta_page_says_nothing_of_failures() -> None:
    body = orjson.dumps({"value": [{"id": "u", "@failure": {"code": "x"}}], "@odata.deltaLink": "d"})
    assert parse_page(body, USERS).broken == ()
