"""Reads which parts a client's provisionOnDemand is about. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from shared.models.errors import BadRequest
from shared.models.job_changes import ApplicationParameters
from shared.models.parts import CATALOGUE, PartName
from shared.models.schema import RULE_ID, object_name

_TYPE_NAMES = tuple(object_name(part) for part in CATALOGUE.values() if part.source is None)
_PARTS_OF: Mapping[str, tuple[PartName, ...]] = {
    object_name(part).lower(): (name,) for name, part in CATALOGUE.items() if part.source is None
} | {"group": (PartName.GROUPS, PartName.GROUP_MEMBERS)}


def parts_to_provision(asked: ApplicationParameters) -> tuple[PartName, ...]:
    """The parts that the subject belongs to.

    Raises:
        BadRequest: There is no such rule, or no such type of objects; the message names what there is.
    """
    if asked.rule_id is not None and asked.rule_id.lower() != RULE_ID.lower():
        raise BadRequest(f"parameters.0.ruleId: the only rule is {RULE_ID}.")
    names = _PARTS_OF.get(asked.subjects[0].object_type_name.lower())
    if names is None:
        raise BadRequest(f"parameters.0.subjects.0.objectTypeName takes {', '.join(_TYPE_NAMES)}.")
    return names
