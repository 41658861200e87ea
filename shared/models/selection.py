"""Reads from a client's synchronizationSchema what is to be synchronized; whatever cannot be done is refused.

A member that is absent or null changes nothing, for clients drop members that they do not know (graph.md §2.2); what is
missing from a list that is there is switched off or given up (graph.md §2.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

import orjson

from shared.models.errors import BadRequest
from shared.models.parts import CATALOGUE, Part, PartName, lacks_source, selectable
from shared.models.schema import (
    FLOW_TYPES,
    RULE_ID,
    SOURCE_DIRECTORY,
    TARGET_DIRECTORY,
    AttributeMappingUpdate,
    AttributeSourceUpdate,
    ObjectMappingUpdate,
    RuleUpdate,
    SchemaUpdate,
    object_name,
)

_PLAIN_ATTRIBUTE = re.compile(r"\s*\[\s*(\w+)\s*\]\s*", re.ASCII)
_NAME_LENGTH = 64
_BY_NAME = {part.entry_type.lower(): name for name, part in CATALOGUE.items()}
_BY_OBJECT = {object_name(part).lower(): name for name, part in CATALOGUE.items()}


def read_selection(
    schema: SchemaUpdate, current: Mapping[PartName, Part], enabled: Collection[PartName]
) -> dict[PartName, tuple[str, ...]] | None:
    """The parts that are then switched on, each with the Graph names it selects, both in the catalogue's order.

    Args:
        schema: What the client sent.
        current: Every part with the selection in force.
        enabled: The parts that are switched on.

    Returns:
        None when the schema has no synchronizationRules, and so changes nothing.

    Raises:
        BadRequest: The schema asks for what is not supported; the message names the mapping and the member.
    """
    if schema.synchronization_rules is None:
        return None
    if len(schema.synchronization_rules) != 1:
        raise BadRequest(f"synchronizationRules takes exactly one rule: {RULE_ID}.")
    rule = schema.synchronization_rules[0]
    _check_rule(rule)
    mappings = _by_part(rule.object_mappings)
    chosen: dict[PartName, tuple[str, ...]] = {}
    for name in CATALOGUE:
        if (mapping := mappings.get(name)) is not None:
            # A mapping that is switched off must be right too, so that nothing is dropped in silence.
            selection = _selection(current[name], mapping)
            switched_on = name in enabled if mapping.enabled is None else mapping.enabled
            if switched_on:
                chosen[name] = selection
            elif set(selection) != set(current[name].select):
                raise BadRequest(f"{current[name].entry_type}: enable the mapping to change its attributes.")
    if not chosen:
        raise BadRequest("objectMappings must keep at least one mapping enabled; pause stops the whole job.")
    if missing := lacks_source(chosen):
        raise BadRequest(f"objectMappings: {missing}.")
    return chosen


def _check_rule(rule: RuleUpdate) -> None:
    place = "synchronizationRules[0]"
    _takes_only(place, "id", rule.id, RULE_ID)
    _takes_only(place, "sourceDirectoryName", rule.source_directory_name, SOURCE_DIRECTORY)
    _takes_only(place, "targetDirectoryName", rule.target_directory_name, TARGET_DIRECTORY)
    _is_empty(place, "containerFilter", rule.container_filter)
    _is_empty(place, "groupFilter", rule.group_filter)


def _by_part(mappings: Sequence[ObjectMappingUpdate] | None) -> dict[PartName, ObjectMappingUpdate]:
    if mappings is None:
        return {name: ObjectMappingUpdate() for name in CATALOGUE}
    found: dict[PartName, ObjectMappingUpdate] = {}
    for index, mapping in enumerate(mappings):
        name = _part_of(f"objectMappings[{index}]", mapping)
        if name in found:
            raise BadRequest(f"{CATALOGUE[name].entry_type}: objectMappings takes this mapping only once.")
        found[name] = mapping
    return found


def _part_of(place: str, mapping: ObjectMappingUpdate) -> PartName:
    """The part that a mapping is about; its name is for people, so another one is no mistake beside the source."""
    by_name = _BY_NAME.get((mapping.name or "").lower())
    source = mapping.source_object_name
    found = _BY_OBJECT.get(source.lower()) if source else by_name
    known = ", ".join(part.entry_type for part in CATALOGUE.values())
    if found is None:
        told = source or mapping.name
        complaint = f"nothing is called '{_shortened(told)}'" if told else "name or sourceObjectName is missing"
        raise BadRequest(f"{place}: {complaint}; the mappings are {known}.")
    if by_name not in (None, found):
        raise BadRequest(f"{place}: name and sourceObjectName are about two mappings; the mappings are {known}.")
    return found


def _selection(part: Part, mapping: ObjectMappingUpdate) -> tuple[str, ...]:
    place = part.entry_type
    _takes_only(place, "targetObjectName", mapping.target_object_name, object_name(part))
    if mapping.flow_types is not None and _flags(mapping.flow_types) != _flags(FLOW_TYPES):
        raise BadRequest(f'{place}: flowTypes takes only "{FLOW_TYPES}".')
    _is_empty(place, "scope", mapping.scope)
    if mapping.attribute_mappings is None:
        return part.select
    spellings = {name.lower(): name for name in selectable(part)}
    chosen: set[str] = set()
    for index, attribute in enumerate(mapping.attribute_mappings):
        at = f"{place}: attributeMappings[{index}]"
        name = _attribute(at, attribute, spellings)
        if name in chosen:
            raise BadRequest(f"{at}: {name} is mapped already.")
        chosen.add(name)
    if missing := [name for name in part.required if name not in chosen]:
        raise BadRequest(f"{place}: attributeMappings must keep {', '.join(missing)}, which cannot be deselected.")
    return tuple(name for name in spellings.values() if name in chosen)


def _attribute(place: str, mapping: AttributeMappingUpdate, spellings: Mapping[str, str]) -> str:
    """The attribute that a mapping copies; ``spellings`` has those that can be selected by their lower-case names."""
    named = _source_name(place, mapping.source)
    name = spellings.get(named.lower())
    if name is None:
        raise BadRequest(
            f"{place}: there is no attribute '{_shortened(named)}'; the schema's directories list those that can be "
            "selected."
        )
    _takes_only(place, "targetAttributeName", mapping.target_attribute_name, name)
    _takes_only(place, "defaultValue", mapping.default_value or None, None)
    _takes_only(place, "flowBehavior", mapping.flow_behavior, "FlowWhenChanged")
    _takes_only(place, "flowType", mapping.flow_type, "Always")
    _takes_only(place, "exportMissingReferences", mapping.export_missing_references, False)
    _takes_only(place, "matchingPriority", mapping.matching_priority, 1 if name == "id" else 0)
    return name


def _source_name(place: str, source: AttributeSourceUpdate | None) -> str:
    """The one attribute that the source's expression and name stand for, whichever of them is there."""
    if source is None or _caseless(source.type) not in (None, "attribute") or source.parameters:
        _refuse_source(place)
    names = [source.name] if source.name else []
    if source.expression:
        plain = _PLAIN_ATTRIBUTE.fullmatch(source.expression)
        names.append(plain[1] if plain else _refuse_source(place))
    if not names:
        _refuse_source(place)
    if len({name.lower() for name in names}) > 1:
        raise BadRequest(f"{place}: source has one attribute as its expression and another as its name.")
    return names[0]


def _refuse_source(place: str) -> NoReturn:
    raise BadRequest(f"{place}: source takes only a plain attribute, such as [mail], no constant and no function.")


def _takes_only(place: str, member: str, given: object, supported: object) -> None:
    """Refuses another value than the supported one; names and words are compared without case."""
    if given is not None and _caseless(given) != _caseless(supported):
        raise BadRequest(f"{place}: {member} takes only {orjson.dumps(supported).decode()}.")


def _caseless(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _is_empty(place: str, member: str, given: Mapping[str, Any] | None) -> None:
    if any(value for name, value in (given or {}).items() if not name.startswith("@")):
        raise BadRequest(f"{place}: {member} takes only null or an empty filter; every object is synchronized.")


def _flags(words: str) -> set[str]:
    return {word.strip().lower() for word in words.split(",")}


def _shortened(name: str) -> str:
    return name[:_NAME_LENGTH]
