"""Documents: properties in JSON, and the columns that are made of them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.models.documents import Columns, Document, columns_of, document_of
from shared.models.parts import CATALOGUE, PartName

GROUPS, USERS = CATALOGUE[PartName.GROUPS], CATALOGUE[PartName.USERS]
ANN = {"id": "a", "displayName": "Ann", "mail": None, "userType": "Guest", "accountEnabled": False}


def test_a_document_reads_as_the_properties_that_it_was_made_of() -> None:
    document = document_of(USERS, ANN)
    assert document == ANN
    assert ({**document}, document.get("mail"), "mail" in document, len(document)) == (ANN, None, True, 5)
    assert document_of(USERS, document) is document


def test_documents_differ_as_their_properties_do_whatever_their_json_looks_like() -> None:
    spaced = Document(b'{"displayName": "Ann", "id": "a"}', columns_of(USERS, {}))
    assert spaced == document_of(USERS, {"id": "a", "displayName": "Ann"})
    assert spaced != document_of(USERS, {"id": "a", "displayName": "Bob"})


@pytest.mark.parametrize(
    ("value", "text"),
    [("Name", "Name"), ("", ""), ("a\x00b", "ab"), (None, None), (5, None), (["a"], None), ({}, None), (True, None)],
)
def test_a_text_column_holds_text_that_both_databases_take(value: Any, text: str | None) -> None:
    assert columns_of(USERS, {"displayName": value}).display_name == text


@pytest.mark.parametrize(("told", "enabled"), [(True, True), (False, False), (None, None), ("yes", None)])
def test_only_a_boolean_tells_whether_an_account_is_enabled(told: Any, enabled: bool | None) -> None:
    assert columns_of(USERS, {"accountEnabled": told}).enabled is enabled


def test_a_tombstone_leaves_every_column_empty() -> None:
    assert columns_of(GROUPS, {}) == Columns(None, None, None, None, None)
    assert columns_of(GROUPS, {"id": "g"}).kind == "Security"
