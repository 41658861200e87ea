"""Tells whether an address is of the host that may be asked: links are data from a server, and the token goes along."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.models.errors import PartFailure


def origin(address: str) -> tuple[str, str] | None:
    """Scheme and authority as they are written, user names and all: clients disagree on how to take them apart."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    default_port = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return parts.scheme, parts.netloc.lower().removesuffix(default_port)


def is_foreign(root: str, link: str) -> bool:
    """Whether a link leads to another host than this address does."""
    return origin(link) != origin(root)


def refuse_foreign(root: str, *links: str | None) -> None:
    """Takes only links to the host of this address.

    Raises:
        PartFailure: One leads to another host.
    """
    if any(link is not None and is_foreign(root, link) for link in links):
        raise PartFailure("ForeignLink", "Graph's answer links to another host than Graph's; it is not followed.")
