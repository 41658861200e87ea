"""Our pages on errors as documents: one in HTML for each code, and all of them for docs/troubleshooting.md. Pure."""

from __future__ import annotations

import re
from html import escape

from shared.models.troubleshooting import ALL_PAGES, Page, page_for


def markdown() -> str:
    """All pages as docs/troubleshooting.md."""
    lines = [
        "# Troubleshooting",
        "",
        "A job's `status.troubleshootingUrl` leads to the page of the error that the job shows; the service has the "
        "pages itself, at `/troubleshooting/{code}`. They are written in "
        "[`shared/models/troubleshooting.py`](../shared/models/troubleshooting.py); a test keeps the two alike.",
        "",
        "| Code | Page |",
        "|---|---|",
    ]
    lines += [f"| `{code}` | [{page.title}](#{_anchor(page)}) |" for page in ALL_PAGES for code in page.codes]
    for page in ALL_PAGES:
        lines += ["", f"## {page.title}", "", page.meaning, "", f"**What to do.** {page.who}:", ""]
        lines += [f"{number}. {step}" for number, step in enumerate(page.steps, 1)]
        lines += ["", f"**Meanwhile.** {page.meanwhile}"]
    return "\n".join(lines) + "\n"


def html(code: str) -> str:
    """The page of an error code as a whole HTML document; what a caller gives for a code is not repeated in it."""
    page = page_for(code)
    steps = "\n".join(f"<li>{_inline(step)}</li>" for step in page.steps)
    links = "\n".join(_link(known, other, page) for other in ALL_PAGES for known in other.codes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)} – troubleshooting</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<p>{", ".join(f"<code>{escape(known)}</code>" for known in page.codes)}</p>
<h1>{escape(page.title)}</h1>
<p>{_inline(page.meaning)}</p>
<h2>What to do</h2>
<p>{escape(page.who)}:</p>
<ol>
{steps}
</ol>
<h2>What the service does meanwhile</h2>
<p>{_inline(page.meanwhile)}</p>
</main>
<nav aria-labelledby="codes">
<h2 id="codes">All codes</h2>
<ul>
{links}
</ul>
</nav>
</body>
</html>
"""


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


def _link(code: str, other: Page, page: Page) -> str:
    """A link relative to ``/troubleshooting/``, so that it holds behind any gateway."""
    current = ' aria-current="page"' if other is page else ""
    return f'<li><a href="{escape(code)}"{current}><code>{escape(code)}</code></a> {escape(other.title)}</li>'


def _inline(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _anchor(page: Page) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", page.title.lower()).replace(" ", "-")
