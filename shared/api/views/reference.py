"""The API for people to read: one page in HTML made of its OpenAPI document, as it works without scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from shared.api.views.page import inline, page

_Object = Mapping[str, Any]


def reference(document: _Object) -> str:
    """The page of the whole document."""
    info: _Object = document["info"]
    operations = sorted(_operations(document), key=lambda found: found[2]["tags"][0])
    groups = [(tag, list(found)) for tag, found in groupby(operations, key=lambda found: found[2]["tags"][0])]
    schemas: _Object = document["components"]["schemas"]
    security: _Object = document["components"]["securitySchemes"]
    contents = "\n".join(
        f"<h3>{escape(tag)}</h3>\n<ul>\n" + "\n".join(_entry(*operation) for operation in found) + "\n</ul>"
        for tag, found in groups
    )
    body = f"""<header>
<h1>{escape(info["title"])}</h1>
<p>{inline(info["description"])}</p>
<p>The same for programs: <a href="/openapi.json">openapi.json</a>, OpenAPI {escape(document["openapi"])}.</p>
<p>{" ".join(inline(scheme["description"]) for scheme in security.values())}</p>
</header>
<nav aria-labelledby="contents">
<h2 id="contents">Operations</h2>
{contents}
</nav>
<main>
{"".join(_section(*operation) for _, found in groups for operation in found)}
<h2 id="schemas">Schemas</h2>
{"".join(_schema(name, schema) for name, schema in schemas.items())}
</main>"""
    return page(info["title"], body, _STYLE)


_STYLE = """
body { max-width: 60rem; } section { margin-top: 2.5rem; border-top: 1px solid; }
h3 { margin-bottom: .2rem; } h4 { margin: 1.2rem 0 .2rem; } nav li { margin: .15rem 0; }
table { width: 100%; border-collapse: collapse; } th { text-align: left; font-weight: 600; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--soft); vertical-align: top; }
td:first-child { white-space: nowrap; } td:first-child code { overflow-wrap: normal; }
.method { font-weight: 700; } .wide { overflow-x: auto; }
"""


def _operations(document: _Object) -> Iterator[tuple[str, str, _Object]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _entry(method: str, path: str, operation: _Object) -> str:
    return (
        f'<li><a href="#{escape(operation["operationId"])}"><code>{_call(method, path)}</code></a> '
        f"{inline(operation['summary'])}</li>"
    )


def _call(method: str, path: str) -> str:
    return f'<span class="method">{escape(method)}</span> {escape(path)}'


def _section(method: str, path: str, operation: _Object) -> str:
    told = [f"<p>{inline(operation['summary'])} {inline(operation.get('description', ''))}</p>"]
    if not operation["security"]:
        told.append("<p>Needs no token.</p>")
    if parameters := operation.get("parameters"):
        rows = [
            (f"<code>{escape(given['name'])}</code>", escape(given["in"]), _type(given["schema"]),
             inline(given.get("description", "")))
            for given in parameters
        ]  # fmt: skip
        told.append("<h4>Parameters</h4>" + _table(("Name", "In", "Type", "Meaning"), rows))
    if body := operation.get("requestBody"):
        need = "required" if body["required"] else "may be absent"
        told += [f"<h4>Body ({need})</h4>", _content(body["content"])]
    rows = [
        (
            f"<code>{escape(status)}</code>",
            inline(answer["description"]) + _headers(answer),
            _content(answer.get("content", {})),
        )
        for status, answer in operation["responses"].items()
    ]
    told.append("<h4>Answers</h4>" + _table(("Status", "Meaning", "Body"), rows))
    heading = f"<h3><code>{_call(method, path)}</code></h3>"
    return f'<section id="{escape(operation["operationId"])}">\n{heading}\n' + "\n".join(told) + "\n</section>\n"


def _schema(name: str, schema: _Object) -> str:
    told = f'<section id="schema-{escape(name)}">\n<h3>{escape(name)}</h3>\n'
    if description := schema.get("description"):
        told += "".join(f"<p>{inline(paragraph)}</p>\n" for paragraph in description.split("\n\n"))
    members: _Object = schema.get("properties", {})
    if not members:
        return told + f"<p>{_type(schema, by_name=False)}</p>\n</section>\n"
    needed: Sequence[str] = schema.get("required", ())
    rows = [
        (f"<code>{escape(member)}</code>", _type(type_), "always" if member in needed else "")
        for member, type_ in members.items()
    ]
    return told + _table(("Member", "Type", "There"), rows) + "</section>\n"


def _headers(answer: _Object) -> str:
    told = ", ".join(f"<code>{escape(name)}</code>" for name in answer.get("headers", ()))
    return f" <small>With the header {told}.</small>" if told else ""


def _content(content: _Object) -> str:
    return ", ".join(f"{_type(given['schema'])} <small>{escape(kind)}</small>" for kind, given in content.items())


def _type(schema: _Object, *, by_name: bool = True) -> str:
    """A schema in a few words; one that has a name is a link to where it is told."""
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if choices := schema.get("anyOf"):
        return " or ".join(_type(choice) for choice in choices)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    if "value" in (members := schema.get("properties", {})) and "title" not in schema:
        return _type(members["value"])
    if by_name and "title" in schema:
        name = escape(schema["title"])
        return f'<a href="#schema-{name}">{name}</a>'
    words = [str(schema.get("type", "anything"))]
    if "format" in schema:
        words.append(f"({schema['format']})")
    return escape(" ".join(words))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    lines = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>\n'
