"""The OData query options of the job routes; what is not served is refused, never ignored (graph.md §2.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import azure.functions as func

from shared.models.errors import BadRequest

LONGEST_PAGE = 1_000

GREATEST_NUMBER = 999_999_999
"""What $top and $skip take at most."""

_ENTITIES_PER_PAGE = 100

_FUNCTION_KEY = "code"
"""Where Azure takes a function key beside its header."""

FILTER_PATTERN = r"\s*(id|templateId)\s+eq\s+'((?:[^']|'')*)'\s*"
"""What $filter takes, its words in any letter case; read alike by Python and JavaScript."""

_FILTER = re.compile(FILTER_PATTERN, re.IGNORECASE)


Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Entry(Generic[Source]):
    """What a list has of an entity before it is made: what $filter compares, and what it is made from."""

    id: str
    template_id: str | None
    source: Source


def query_options(request: func.HttpRequest, served: Collection[str]) -> dict[str, str]:
    """The request's options by name without ``$``, which is optional.

    Args:
        request: The request.
        served: The names of the options that the route serves.

    Raises:
        BadRequest: There is another option, the message names those that are served; or one is there twice.
    """
    options: dict[str, str] = {}
    # Not request.params, from which options without a value are missing.
    for given, value in parse_qsl(urlsplit(request.url).query, keep_blank_values=True):
        name = given.removeprefix("$").lower()
        if given.lower() == _FUNCTION_KEY:
            continue
        if name not in served:
            names = ", ".join(f"${name}" for name in served) or "no query options"
            raise BadRequest(f"A query option is not supported here; the path takes {names}.")
        if name in options:
            raise BadRequest(f"${name} is given more than once.")
        options[name] = value
    return options


def select(entity: Mapping[str, Any], options: Mapping[str, str]) -> Mapping[str, Any]:
    """The entity with the members that $select names; ``id``, annotations and what $expand names are always there.

    Raises:
        BadRequest: A chosen member does not exist.
    """
    if "select" not in options:
        return entity
    names = {name.strip() for name in options["select"].split(",")}
    if unknown := names - entity.keys():
        raise BadRequest(f"$select names {len(unknown)} member(s) that the entity does not have.")
    names |= {"id", options.get("expand", "").strip().lower()}
    return {name: value for name, value in entity.items() if name in names or name.startswith("@")}


def page_of_list(
    request: func.HttpRequest,
    context: str,
    listed: Sequence[Entry[Source]],
    build: Callable[[Source], Mapping[str, Any]],
    options: Mapping[str, str],
) -> dict[str, Any]:
    """A list's document after $filter, $skip, $top and $select, with $count's number and the link to the next page.

    Args:
        request: The request.
        context: The document's ``@odata.context``.
        listed: What there is.
        build: Makes an entity; only those of the page are made.
        options: The request's options.

    Raises:
        BadRequest: An option's value cannot be used.
    """
    found = _filtered(listed, options.get("filter"))
    skip, top = number(options, "skip") or 0, number(options, "top")
    size = _ENTITIES_PER_PAGE if top is None else min(top, _ENTITIES_PER_PAGE)
    document: dict[str, Any] = {"@odata.context": context}
    if _flag(options, "count"):
        document["@odata.count"] = len(found)
    document["value"] = [select(build(entry.source), options) for entry in found[skip : skip + size]]
    if size and skip + size < len(found):
        rest = {} if top is None or size == top else {"top": str(top - size)}
        document["@odata.nextLink"] = next_link(request, {**options, **rest}, skip + size)
    return document


def next_link(request: func.HttpRequest, options: Mapping[str, str], skip: int) -> str:
    """The link to the rest of a list, with the options that the list was asked for with."""
    query = {f"${name}": value for name, value in options.items()} | {"$skip": str(skip)}
    return urlunsplit(urlsplit(request.url)._replace(query=urlencode(query)))


def _filtered(listed: Sequence[Entry[Source]], condition: str | None) -> Sequence[Entry[Source]]:
    if condition is None:
        return listed
    comparison = _FILTER.fullmatch(condition)
    if comparison is None:
        raise BadRequest("$filter takes id eq '…' or templateId eq '…'.")
    wanted = comparison[2].replace("''", "'").lower()
    by_id = comparison[1].lower() == "id"
    # Paths take ids in any letter case as well.
    return [entry for entry in listed if ((entry.id if by_id else entry.template_id) or "").lower() == wanted]


def expands_schema(options: Mapping[str, str]) -> bool:
    """Whether $expand asks for the schema, the only thing that can be expanded.

    Raises:
        BadRequest: It asks for something else.
    """
    value = options.get("expand")
    if value is not None and value.strip().lower() != "schema":
        raise BadRequest("$expand takes schema.")
    return value is not None


def window(options: Mapping[str, str]) -> tuple[int, int]:
    """From where, and how many: $skip and $top of a list that is read page by page; at most LONGEST_PAGE.

    Raises:
        BadRequest: One of them cannot be used.
    """
    top = number(options, "top")
    return number(options, "skip") or 0, LONGEST_PAGE if top is None else min(top, LONGEST_PAGE)


def number(options: Mapping[str, str], name: str) -> int | None:
    """An option's number; None where the option is not given.

    Raises:
        BadRequest: It is no number that is not negative.
    """
    value = options.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= len(str(GREATEST_NUMBER))):
        raise BadRequest(f"${name} takes a number that is not negative.")
    return int(value)


def _flag(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in ("true", "false"):
        raise BadRequest(f"${name} takes true or false.")
    return value == "true"
