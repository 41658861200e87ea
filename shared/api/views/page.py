"""What all pages for people look like: whole HTML documents that load nothing. Pure."""

from __future__ import annotations

import re
from html import escape


def page(title: str, body: str, style: str = "") -> str:
    """A whole document.

    Args:
        title: Its title, as text.
        body: What it shows, as HTML.
        style: CSS of its own beside that of all pages.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def inline(text: str) -> str:
    """A text with its `literals` as HTML."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --back: #fff; --soft: #f0f0f0; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --back: #1a1a1a; --soft: #2d2d2d; --link: #8cc2ff; } }
body { max-width: 44rem; margin: 0 auto; padding: 1.5rem; color: var(--text); background: var(--back);
  font: 1rem/1.6 system-ui, sans-serif; }
h1, h2 { line-height: 1.25; } h1 { margin-top: 0; }
code { padding: .1em .3em; border-radius: .2em; background: var(--soft); font-size: .9em; overflow-wrap: anywhere; }
li { margin: .4rem 0; } a { color: var(--link); } a[aria-current] { font-weight: bold; }
nav { margin-top: 2.5rem; border-top: 1px solid; } nav ul { padding: 0; list-style: none; }
"""
