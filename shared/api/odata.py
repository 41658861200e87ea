"""The OData query options of the job routes; what is not served is refused, never ignored (graph.md §2.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode, urlsplit, urlunsplit

import azure.functions as func

from shared.models.errors import BadRequest

LONGEST_PAGE = 1_000

_FILTER = re.compile(r"\s*(id|templateId)\s+eq\s+'((?:[^']|'')*)'\s*", re.IGNORECASE)


def query_options(request: func.HttpRequest, served: Collection[str]) -> dict[str, str]:
    """The request's options by name without ``$``, which is optional.

    Args:
        request: The request.
        served: The names of the options that the route serves.

    Raises:
        BadRequest: There is another option; the message names those that are served.
    """
    options: dict[str, str] = {}
    for given, value in cast(Mapping[str, str], request.params).items():
        name = given.removeprefix("$").lower()
        if name not in served:
            names = ", ".join(f"${name}" for name in served) or "no query options"
            raise BadRequest(f"A query option is not supported here; the path takes {names}.")
        options[name] = value
    return options


def select(entity: Mapping[str, Any], chosen: str | None) -> Mapping[str, Any]:
    """The entity with the chosen members alone; ``id`` and the annotations are always there.

    Raises:
        BadRequest: A chosen member does not exist.
    """
    if chosen is None:
        return entity
    names = {name.strip() for name in chosen.split(",")}
    if unknown := names - entity.keys():
        raise BadRequest(f"$select names {len(unknown)} member(s) that the entity does not have.")
    return {name: value for name, value in entity.items() if name in names or name == "id" or name.startswith("@")}


def page_of_list(
    request: func.HttpRequest, context: str, entities: Sequence[Mapping[str, Any]], options: Mapping[str, str]
) -> dict[str, Any]:
    """A list's document after $filter, $skip, $top and $select, with $count's number and the link to the next page.

    Raises:
        BadRequest: An option's value cannot be used.
    """
    found = _filtered(entities, options.get("filter"))
    skip, top = number(options, "skip") or 0, number(options, "top")
    shown = found[skip:] if top is None else found[skip : skip + top]
    document: dict[str, Any] = {"@odata.context": context}
    if _flag(options, "count"):
        document["@odata.count"] = len(found)
    document["value"] = [select(entity, options.get("select")) for entity in shown]
    if top and skip + top < len(found):
        document["@odata.nextLink"] = next_link(request, options, skip + top)
    return document


def next_link(request: func.HttpRequest, options: Mapping[str, str], skip: int) -> str:
    """The link to the rest of a list, with the options that the list was asked for with."""
    query = {f"${name}": value for name, value in options.items()} | {"$skip": str(skip)}
    return urlunsplit(urlsplit(request.url)._replace(query=urlencode(query)))


def _filtered(entities: Sequence[Mapping[str, Any]], condition: str | None) -> Sequence[Mapping[str, Any]]:
    if condition is None:
        return entities
    comparison = _FILTER.fullmatch(condition)
    if comparison is None:
        raise BadRequest("$filter takes id eq '…' or templateId eq '…'.")
    name = "id" if comparison[1].lower() == "id" else "templateId"
    return [entity for entity in entities if entity.get(name) == comparison[2].replace("''", "'")]


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
    return number(options, "skip") or 0, min(LONGEST_PAGE if top is None else max(top, 1), LONGEST_PAGE)


def number(options: Mapping[str, str], name: str) -> int | None:
    """An option's number; None where the option is not given.

    Raises:
        BadRequest: It is no number that is not negative.
    """
    value = options.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise BadRequest(f"${name} takes a number that is not negative.")
    return int(value)


def _flag(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in ("true", "false"):
        raise BadRequest(f"${name} takes true or false.")
    return value == "true"
