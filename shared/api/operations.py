"""What a route takes and answers, declared once beside it: served by the same models that ``/openapi.json`` tells of.

Models are named by functions: no declaration loads one, for no process needs all (``shared.triggers.rooms``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from shared.models.base import WireModel
from shared.models.errors import ApiError

Model_co = TypeVar("Model_co", bound=WireModel, covariant=True)


@dataclass(frozen=True, slots=True)
class Body(Generic[Model_co]):
    """A JSON body of this model; an absent one reads as ``{}``."""

    model: Callable[[], type[Model_co]]


class Form(Enum):
    """How an answer's model travels."""

    ENTITY = "an entity"
    LIST = "the members value and @odata.nextLink around entities"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error.

    Attributes:
        status: Its status.
        media_type: What its body is; None without one.
        model: The model of an entity, if the body is JSON.
        form: How the entity travels.
        annotated: Whether ``@odata.context`` goes with it, and ``@odata.count`` with a list, if asked for.
        expands: The model of ``schema``, where $expand may ask for it.
        headers: Headers of its own that the answer always has.
    """

    status: int = 200
    media_type: str | None = "application/json"
    model: Callable[[], type[WireModel]] | None = None
    form: Form = Form.ENTITY
    annotated: bool = False
    expands: Callable[[], type[WireModel]] | None = None
    headers: tuple[str, ...] = ()


DONE = Answer(204, None)
"""Nothing is left to say."""
NUMBER = Answer(200, "text/plain")
"""Plain digits."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter that is not OData's, with its greatest length and what it is for."""

    name: str
    longest: int
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one path takes and answers.

    Attributes:
        answers: The answers that are no errors.
        body: What is read of a body; None where none is.
        options: The query options, without ``$``; any other is refused. None where no query is looked at.
        parameters: Query parameters that are not OData's.
        errors: The errors beside those that follow from the above, from the path and from protection.
    """

    answers: Sequence[Answer]
    body: Body[WireModel] | None = None
    options: tuple[str, ...] | None = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[ApiError], ...] = ()
