"""Troubleshooting: every error that a job can show has a page that people can read, find and follow."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from shared.api.views.troubleshooting import html, markdown
from shared.models.errors import SynchronizationFailure
from shared.models.synchronization import QuarantineReason, SynchronizationError
from shared.models.troubleshooting import GENERAL, PAGES, Page, Who, page_for
from shared.settings import Settings

ROOT = Path(__file__).parent.parent.parent
ALL = [*dict.fromkeys(PAGES.values()), GENERAL]
VOID = {"meta", "br"}

each_page = pytest.mark.parametrize("page", ALL, ids=lambda page: page.code)


def kinds(of: type[Exception] = SynchronizationFailure) -> Iterator[type[Exception]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


@cache
def raised() -> dict[str, bool]:
    """Every code that an error gets from the product itself, with whether the error can be tenantActionable."""
    codes: dict[str, bool] = {}
    for path in ROOT.glob("shared/**/*.py"):
        for call in constructions(ast.parse(path.read_text())):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            actionable = ast.unparse(given.get("tenant_actionable", ast.Constant(False))) == "True"
            code = given.get("code") or (call.args[0] if call.args else ast.Constant(None))
            codes |= {text: actionable or codes.get(text, False) for text in texts(code, path)}
    return codes


def constructions(module: ast.Module) -> Iterator[ast.Call]:
    """The calls that make an error of a code: a failure's, that of its wire form, and a failure's own constructor's."""
    with_code = {kind.__name__ for kind in kinds() if kind.__init__ is SynchronizationFailure.__init__}
    with_code.add(SynchronizationError.__name__)
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in with_code:
            yield node
        if isinstance(node, ast.ClassDef) and node.name in {kind.__name__ for kind in kinds()} - with_code:
            yield from (
                call
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
            )


def texts(expression: ast.expr, path: Path) -> Iterator[str]:
    """The texts that an expression can be: a literal, a module's constant, or one of several."""
    match expression:
        case ast.Constant(value=str(text)):
            yield text
        case ast.BoolOp(values=operands):
            for operand in operands:
                yield from texts(operand, path)
        case ast.IfExp(body=one, orelse=other):
            yield from texts(one, path)
            yield from texts(other, path)
        case ast.Name() | ast.Attribute():
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            # A local name passes on a code that came from somewhere else.
            with suppress(NameError, AttributeError):
                value = eval(ast.unparse(expression), dict(vars(module)))
                if isinstance(value, str):
                    yield str(value)
        case _:
            pass


class Document(HTMLParser):
    """What a test looks at in a page: tags in order, links and visible text; tags that are not closed fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    @property
    def links(self) -> list[str]:
        return [value or "" for tag, name, value in self.attributes if (tag, name) == ("a", "href")]


def test_every_code_that_the_product_gives_an_error_has_a_page() -> None:
    # One of each way in which a code is written; the search for them finds them all.
    assert raised().keys() >= {"RepeatedLink", "syncStateNotFound", "MessageDeadLettered", "TooManyRequests"}
    assert raised().keys() - PAGES.keys() == set()


def test_every_reason_for_a_quarantine_has_a_page() -> None:
    # The product never gives the other two.
    given = set(QuarantineReason) - {QuarantineReason.UNKNOWN, QuarantineReason.INGESTION_INTERRUPTED}
    assert {reason.value for reason in given} - PAGES.keys() == set()


@pytest.mark.parametrize("code", ["EscrowsPruned", "EntryLevelErrors", "ObjectRefused"])
def test_what_else_a_job_shows_has_a_page(code: str) -> None:
    assert page_for(code).code == code


def test_a_page_names_the_administrator_exactly_when_the_error_can_be_tenant_actionable() -> None:
    told = {code: page_for(code).who is Who.ADMINISTRATOR for code in raised()}
    assert told == raised()


@pytest.mark.parametrize("code", ["TooManyDeletes", "toomanydeletes", "TOOMANYDELETES"])
def test_a_code_is_found_in_any_letter_case(code: str) -> None:
    assert page_for(code) is PAGES["TooManyDeletes"]


@pytest.mark.parametrize("code", ["", "general", "NobodyKnows", "TooManyDeletes ", "../health", "<b>x</b>"])
def test_an_unknown_code_gets_the_general_page_which_tells_how_to_go_on(code: str) -> None:
    assert page_for(code) is GENERAL
    told = Document(html(code)).text
    assert "request-id" in told
    assert "path" in told


@pytest.mark.parametrize("code", ["<script>alert(1)</script>", '"><img src=x>', "Call 555 0100", "&lt;b&gt;"])
def test_nothing_of_an_unknown_code_is_repeated(code: str) -> None:
    assert html(code) == html(GENERAL.code)
    assert code not in html(code)


@each_page
def test_a_page_leads_to_the_page_of_every_code_and_nowhere_else(page: Page) -> None:
    leads_to = [
        urljoin(f"https://host/prefix/docs/troubleshooting/{page.code}", link)
        for link in Document(html(page.code)).links
    ]
    assert leads_to == [f"https://host/prefix/docs/troubleshooting/{code}" for other in ALL for code in other.codes]
    for address in leads_to:
        assert address.rpartition("/")[2] in page_for(address.rpartition("/")[2]).codes


@each_page
def test_a_page_says_what_happened_what_to_do_and_what_the_service_does_meanwhile(page: Page) -> None:
    told = Document(html(page.code)).text
    for text in (page.title, page.who, page.meaning, page.meanwhile, *page.steps, *page.codes):
        assert text.replace("`", "") in told
    assert page.steps
    assert all(text.endswith(".") for text in (page.meaning, page.meanwhile, *page.steps))


@each_page
def test_a_page_is_readable_for_everybody_and_stands_alone(page: Page) -> None:
    document = Document(html(page.code))
    assert ("html", "lang", "en") in document.attributes
    assert [tag for tag in document.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h2", "h2"]
    assert {"title", "main", "nav"} <= set(document.tags)
    assert not {"script", "link", "img", "iframe", "form"} & set(document.tags)
    current = [value for _, name, value in document.attributes if name == "aria-current"]
    assert current == ["page"] * len(page.codes)
    assert "url(" not in html(page.code)
    assert "@import" not in html(page.code)
    assert "prefers-color-scheme: dark" in html(page.code)


@each_page
def test_the_settings_that_a_page_names_exist(page: Page) -> None:
    named = re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", " ".join((page.meaning, page.meanwhile, *page.steps)))
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


@pytest.mark.parametrize("code", ["EncounteredCredentialError", "TooManyDeletes", "QuarantinedOnDemand"])
def test_a_page_about_a_quarantine_tells_when_the_job_is_tried_again(code: str) -> None:
    for told in ("6, 12 and 24 hours", "once a day", "28 days"):
        assert told in page_for(code).meanwhile


def test_the_docs_have_the_pages() -> None:
    written = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert written == markdown(), (
        "write it anew: python -c 'from shared.api.views.troubleshooting import markdown; print(markdown(), end=\"\")' "
        "> docs/troubleshooting.md"
    )


def test_the_links_in_the_docs_lead_to_their_pages() -> None:
    text = markdown()
    # GitHub makes an anchor of a heading in this way.
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-"): heading
        for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)
    }
    rows: list[Any] = re.findall(r"^\| `(.*)` \| \[(.*)\]\(#(.*)\) \|$", text, re.MULTILINE)
    assert {code: anchors[anchor] for code, _, anchor in rows} == {
        code: page.title for page in ALL for code in page.codes
    }
    assert all(anchors[anchor] == title for _, title, anchor in rows)
