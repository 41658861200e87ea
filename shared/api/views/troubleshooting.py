"""Our pages on errors as documents: one in HTML for each code, and all of them for docs/troubleshooting.md. Pure."""

from __future__ import annotations

import re
from html import escape

from shared.api.views.page import inline, page
from shared.models.troubleshooting import ALL_PAGES, Page, page_for


def markdown() -> str:
    """All pages as docs/troubleshooting.md."""
    lines = [
        "# Troubleshooting",
        "",
        "A job's `status.troubleshootingUrl` leads to the page of the error that the job shows; the service has the "
        "pages itself, at `/docs/troubleshooting/{code}`. They are written in "
        "[`shared/models/troubleshooting.py`](../shared/models/troubleshooting.py); a test keeps the two alike.",
        "",
        "| Code | Page |",
        "|---|---|",
    ]
    lines += [f"| `{code}` | [{told.title}](#{_anchor(told)}) |" for told in ALL_PAGES for code in told.codes]
    for told in ALL_PAGES:
        lines += ["", f"## {told.title}", "", told.meaning, "", f"**What to do.** {told.who}:", ""]
        lines += [f"{number}. {step}" for number, step in enumerate(told.steps, 1)]
        lines += ["", f"**Meanwhile.** {told.meanwhile}"]
    return "\n".join(lines) + "\n"


def html(code: str) -> str:
    """The page of an error code as a whole HTML document; what a caller gives for a code is not repeated in it."""
    found = page_for(code)
    steps = "\n".join(f"<li>{inline(step)}</li>" for step in found.steps)
    links = "\n".join(_link(known, other, found) for other in ALL_PAGES for known in other.codes)
    body = f"""<main>
<p>{", ".join(f"<code>{escape(known)}</code>" for known in found.codes)}</p>
<h1>{escape(found.title)}</h1>
<p>{inline(found.meaning)}</p>
<h2>What to do</h2>
<p>{escape(found.who)}:</p>
<ol>
{steps}
</ol>
<h2>What the service does meanwhile</h2>
<p>{inline(found.meanwhile)}</p>
</main>
<nav aria-labelledby="codes">
<h2 id="codes">All codes</h2>
<ul>
{links}
</ul>
</nav>"""
    return page(f"{found.title} – troubleshooting", body)


def _link(code: str, other: Page, shown: Page) -> str:
    """A link relative to ``/docs/troubleshooting/``, so that it holds behind any gateway."""
    current = ' aria-current="page"' if other is shown else ""
    return f'<li><a href="{escape(code)}"{current}><code>{escape(code)}</code></a> {escape(other.title)}</li>'


def _anchor(page: Page) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", page.title.lower()).replace(" ", "-")
