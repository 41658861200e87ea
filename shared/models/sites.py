"""The ids of SharePoint sites: ``host,site collection,web``, of which some delta queries give the web's alone."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from shared.models.parts import Properties


def web_id(identifier: str) -> str:
    """The web's own id, the last of a composite one; it alone is unique (graph.md §4.6)."""
    return identifier.rpartition(",")[2]


def is_composite(identifier: object) -> bool:
    """Whether it is an id by which Graph finds the site."""
    return isinstance(identifier, str) and "," in identifier


def composite_id(site: Properties) -> str | None:
    """The composite id that a site's properties tell: its own, or what sharepointIds and the host make up."""
    identifier: Any = site.get("id")
    if is_composite(identifier):
        return identifier
    ids = (_text(site.get("sharepointIds"), "siteId"), _text(site.get("sharepointIds"), "webId"))
    host = _text(site.get("siteCollection"), "hostname") or _host(site.get("webUrl"))
    return ",".join((host, *ids)) if host and all(ids) else None


def _text(value: Any, member: str) -> str:
    found = cast(dict[str, Any], value).get(member) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _host(url: object) -> str:
    try:
        return urlsplit(url).hostname or "" if isinstance(url, str) else ""
    except ValueError:
        return ""
