"""The API as an OpenAPI 3.1 document, made from the routes that serve and the models that they serve with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from shared.api.odata import FILTER_PATTERN, GREATEST_NUMBER
from shared.api.operations import Answer, Form, Operation
from shared.api.routing import CLOSED_SEGMENTS, Route, routes
from shared.models.base import WireModel
from shared.models.callers import Permission
from shared.models.error_entity import ErrorDocument
from shared.models.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
)

JsonObject = dict[str, Any]
_ModeledAs = tuple[type[WireModel], JsonSchemaMode]

_REFERENCE = "#/components/schemas/{model}"
_BEARER = "bearer"
_HEADERS: Mapping[type[ApiError], str] = {Unauthorized: "WWW-Authenticate", ServiceUnavailable: "Retry-After"}
_NUMBER: JsonObject = {"type": "integer", "minimum": 0, "maximum": GREATEST_NUMBER}
_OPTIONS: Mapping[str, JsonObject] = {
    "top": {**_NUMBER, "description": "At most so many in the answer."},
    "skip": {**_NUMBER, "description": "Those after so many."},
    "count": {"type": "boolean", "description": "Whether the number of all of them is told as well."},
    "filter": {
        "type": "string",
        "pattern": f"^{FILTER_PATTERN}$",
        "description": "`id eq '…'` or `templateId eq '…'`.",
    },
    "expand": {"type": "string", "enum": ["schema"], "description": "`schema` shows the schema with the entity."},
}
_IDS = {
    "organizations": "The organization's name or its tenant's id.",
    "synchronization": "The object id of the application or service principal that organizations are registered with.",
}
_SEGMENTS = {
    "version": "Graph's versions, which are the same here.",
    "owner": "What the id is of.",
    "jobId": "The job's id.",
    "templateId": "The template's id.",
    "activityIdentifier": "The run's id.",
    "code": "The error's code.",
}


@cache
def document() -> JsonObject:
    """The whole document. It is made when it is first asked for and kept: routes are the same for good."""
    schemas = _Schemas(routes())
    paths: dict[str, JsonObject] = {}
    for route in sorted(routes(), key=lambda route: route.template):
        paths.setdefault(f"/{route.template}", {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Organization cache for Microsoft 365",
            "version": "v1.0",
            "description": "Keeps a database in step with Microsoft 365 organizations, and tells and drives their "
            "synchronization.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                _BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"Needed: a token of Microsoft Entra that permits {Permission.READ} for GET and "
                    f"{Permission.READ_WRITE}, which includes it, for everything else.",
                }
            },
        },
    }


class _WithoutTitlesOfMembers(GenerateJsonSchema):
    """Members have names; titles that are made of these say nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Schemas:
    """The models' JSON schemas: requests as they are read, answers as they are written."""

    def __init__(self, told: Sequence[Route]) -> None:
        used: set[_ModeledAs] = {(ErrorDocument, "serialization")}
        for route in told:
            used.update(_models(route.operation))
        ordered: list[_ModeledAs] = sorted(used, key=lambda one: (one[0].__name__, one[1]))
        adapters: list[tuple[type[WireModel], JsonSchemaMode, TypeAdapter[Any]]] = [
            (model, mode, TypeAdapter(model)) for model, mode in ordered
        ]
        made, definitions = TypeAdapter.json_schemas(
            adapters, ref_template=_REFERENCE, schema_generator=_WithoutTitlesOfMembers
        )
        self._references = {(model, mode): schema for (model, mode), schema in made.items()}
        self.components: JsonObject = definitions["$defs"]
        for schema in self.components.values():
            if "description" in schema:
                schema["description"] = _markdown(schema["description"])

    def reference(self, model: type[WireModel], mode: JsonSchemaMode) -> JsonObject:
        """What points at a model's schema."""
        return self._references[(model, mode)]

    def whole(self, model: type[WireModel], mode: JsonSchemaMode = "serialization") -> JsonObject:
        """A copy of a model's schema, to be added to."""
        name = self.reference(model, mode)["$ref"].rpartition("/")[2]
        schema = self.components[name]
        return {**schema, "properties": dict(schema["properties"])}


def _models(operation: Operation) -> Iterator[_ModeledAs]:
    if operation.body is not None:
        yield operation.body.model(), "validation"
    for answer in operation.answers:
        for model in (answer.model, answer.expands):
            if model is not None:
                yield model(), "serialization"


def _operation(route: Route, schemas: _Schemas) -> JsonObject:
    summary, _, rest = route.description.partition("\n\n")
    told: JsonObject = {"operationId": route.name, "summary": _one_line(summary), "tags": [_tag(route)]}
    if rest:
        told["description"] = _one_line(rest)
    if parameters := [*_path_parameters(route), *_query_parameters(route.operation, schemas)]:
        told["parameters"] = parameters
    if route.operation.body is not None:
        model = route.operation.body.model()
        told["requestBody"] = {
            # An absent body reads as {}; with a parameter of their own, routes answer without it.
            "required": bool(schemas.whole(model, "validation").get("required")) and not route.operation.parameters,
            "content": {"application/json": {"schema": schemas.reference(model, "validation")}},
        }
    answers = {str(answer.status): _answer(answer, route.operation, schemas) for answer in route.operation.answers}
    for error in _errors(route):
        # Where several errors have one status, they look alike.
        answers.setdefault(str(error.status), _error(error, schemas))
    told["responses"] = dict(sorted(answers.items()))
    told["security"] = [{_BEARER: []}] if route.protected else []
    return told


def _tag(route: Route) -> str:
    """What a route is about: its first segment that stands for itself."""
    return next(segment for segment in route.template.split("/") if "{" not in segment)


def _path_parameters(route: Route) -> Iterator[JsonObject]:
    for name in re.findall(r"\{(\w+)\}", route.template):
        values = CLOSED_SEGMENTS.get(name)
        schema: JsonObject = {"type": "string", "enum": list(values)} if values else {"type": "string", "minLength": 1}
        description = _IDS[_tag(route)] if name == "id" else _SEGMENTS[name]
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _query_parameters(operation: Operation, schemas: _Schemas) -> Iterator[JsonObject]:
    for parameter in operation.parameters:
        yield {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": {"type": "string", "maxLength": parameter.longest},
        }
    for name in operation.options or ():
        if name == "select":
            yield _select(operation.answers[0], schemas)
            continue
        schema = dict(_OPTIONS[name])
        yield {"name": f"${name}", "in": "query", "description": schema.pop("description"), "schema": schema}


def _select(answer: Answer, schemas: _Schemas) -> JsonObject:
    assert answer.model is not None
    members = list(schemas.whole(answer.model())["properties"])
    return {
        "name": "$select",
        "in": "query",
        "description": "The members that are wanted, separated by commas.",
        "explode": False,
        "schema": {"type": "array", "items": {"type": "string", "enum": members}, "minItems": 1},
    }


def _answer(answer: Answer, operation: Operation, schemas: _Schemas) -> JsonObject:
    told: JsonObject = {"description": _PHRASES[answer.status]}
    if answer.headers:
        told["headers"] = {name: {"required": True, "schema": {"type": "string"}} for name in answer.headers}
    if answer.media_type is not None:
        schema = _body(answer, operation, schemas) if answer.model is not None else _NO_MODEL[answer.media_type]
        told["content"] = {answer.media_type: {"schema": schema}}
    return told


def _body(answer: Answer, operation: Operation, schemas: _Schemas) -> JsonObject:
    assert answer.model is not None
    options = operation.options or ()
    entity = schemas.reference(answer.model(), "serialization")
    own = answer.annotated and answer.form is Form.ENTITY
    if own or "select" in options or answer.expands is not None:
        entity = schemas.whole(answer.model())
        if "select" in options:
            entity["required"] = ["id"]
        if answer.expands is not None:
            entity["properties"]["schema"] = schemas.reference(answer.expands(), "serialization")
        if own:
            entity["properties"]["@odata.context"] = {"type": "string"}
            entity["required"] = ["@odata.context", *entity.get("required", ())]
    if answer.form is Form.ENTITY:
        return entity
    members: JsonObject = {"value": {"type": "array", "items": entity}}
    if answer.annotated:
        members["@odata.context"] = {"type": "string"}
    if "count" in options:
        members["@odata.count"] = {"type": "integer"}
    if "skip" in options:
        members["@odata.nextLink"] = {"type": "string"}
    always = [name for name in ("@odata.context", "value") if name in members]
    return {"type": "object", "properties": members, "required": always, "additionalProperties": False}


def _errors(route: Route) -> Iterator[type[ApiError]]:
    """What a route may refuse or fail with."""
    operation = route.operation
    yield from operation.errors
    if operation.body is not None:
        yield from (BadRequest, PayloadTooLarge, UnsupportedMediaType)
    if operation.options is not None:
        yield BadRequest
    if "{" in route.template:
        yield NotFound
    if route.protected:
        yield from (Unauthorized, Forbidden)
    yield from (ApiError, ServiceUnavailable)


def _error(error: type[ApiError], schemas: _Schemas) -> JsonObject:
    told: JsonObject = {
        "description": _one_line(error.__doc__ or "") if error is not ApiError else "The request could not be served.",
        "content": {"application/json": {"schema": schemas.reference(ErrorDocument, "serialization")}},
    }
    if name := _HEADERS.get(error):
        told["headers"] = {name: {"required": True, "schema": {"type": "string"}}}
    return told


_NO_MODEL: Mapping[str, JsonObject] = {
    "application/json": {"type": "object"},
    "text/html": {"type": "string"},
    "text/plain": {"type": "string"},
}
_PHRASES = {
    200: "It is as asked for.",
    201: "It was created.",
    202: "It was accepted, and is done in the background.",
    204: "It was done; there is nothing more to say.",
    503: "The service does not work.",
}


def _one_line(text: str) -> str:
    """A docstring's paragraph as one line."""
    return re.sub(r"\s+", " ", _markdown(text)).strip()


def _markdown(text: str) -> str:
    """A docstring with its literals as Markdown has them, without the sources that it names for who reads the code."""
    return re.sub(r"\s\([\w/-]+\.md[^)]*\)", "", text).replace("``", "`")
