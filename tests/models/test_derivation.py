"""Where the reading of a derived part is, as a cursor."""

from __future__ import annotations

import pytest

from shared.models.derivation import Place, place_of
from shared.models.errors import CursorExpired
from shared.models.parts import CATALOGUE, PartName, lacks_source

KEY = "0a1b/19:general:x@thread.tacv2"


def test_a_listing_without_a_cursor_is_of_everything_until_now() -> None:
    assert place_of(None, 7) == Place(since=0, until=7, after="")


def test_the_next_listing_begins_where_the_last_one_ended_whatever_happened_since() -> None:
    listing = place_of(Place(3, 7, KEY).following, 12)
    assert listing == Place(since=7, until=12, after="")


def test_a_listing_goes_on_behind_the_last_key_and_keeps_its_end() -> None:
    assert place_of(Place(3, 7, KEY).link, 12) == Place(3, 7, KEY)


@pytest.mark.parametrize("cursor", ["", "changes:", "changes:x", "changes:1:2", "https://graph.microsoft.com/v1.0/x"])
def test_another_cursor_begins_anew(cursor: str) -> None:
    with pytest.raises(CursorExpired):
        place_of(cursor, 1)


@pytest.mark.parametrize(
    ("user", "asked"),
    [
        ({"mail": "a@b.c", "userType": "Member"}, True),
        ({"mail": "a@b.c", "userType": "Guest"}, False),
        ({"mail": None, "proxyAddresses": []}, False),
        ({"mail": None, "proxyAddresses": ["SMTP:a@b.c"]}, True),
        ({"mail": None}, False),
        # Of somebody whose addresses are not synchronized nothing is known.
        ({"userType": None}, True),
    ],
)
def test_users_are_asked_about_that_may_have_a_mailbox(user: dict[str, object], asked: bool) -> None:
    question = CATALOGUE[PartName.MAILBOXES].question
    assert question is not None
    assert question.asks(user) is asked


def test_a_part_is_chosen_together_with_what_it_is_derived_from() -> None:
    told = lacks_source([PartName.CHANNELS, PartName.MAILBOXES, PartName.SITES])
    assert told == "mailboxes is derived from users and channels is derived from teams: choose both, or neither"
    assert lacks_source([PartName.CHANNELS, PartName.TEAMS]) is None
