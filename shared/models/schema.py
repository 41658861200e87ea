"""Microsoft Graph's synchronizationSchema and synchronizationTemplate and what they are made of (graph.md §1.11).

The types are member for member Graph's own; a member that has but one value here has the type of that value. Those
whose names end in Update are what clients send: everything may be absent, and members that mean nothing here are
ignored, such as ``@odata.type`` and the ``directories`` that msgraph-sdk sends back as it read them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StrictBool, StrictInt

from shared.models.base import WireModel
from shared.models.parts import Part

RULE_ID = "M365OrgCache"
SOURCE_DIRECTORY = "Microsoft 365"
TARGET_DIRECTORY = "Organization cache"
FLOW_TYPES = "Add, Update, Delete"
"""objectFlowTypes, all of them: flags travel as one string."""

NothingListed = tuple[()]
"""A list that Graph has and that holds nothing here, whatever its elements would be."""


def object_name(part: Part) -> str:
    """The name of a part's objects, the same in both directories."""
    return part.entry_type.partition(" to ")[0]


class AttributeType(StrEnum):
    """attributeType."""

    STRING = "String"
    INTEGER = "Integer"
    REFERENCE = "Reference"
    BINARY = "Binary"
    BOOLEAN = "Boolean"
    DATE_TIME = "DateTime"


class Mutability(StrEnum):
    """mutability."""

    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"
    IMMUTABLE = "Immutable"
    WRITE_ONLY = "WriteOnly"


class AttributeMappingSource(WireModel):
    """attributeMappingSource: a plain attribute, whose expression is its name in brackets."""

    expression: str
    name: str
    type: Literal["Attribute"] = "Attribute"
    parameters: NothingListed = ()


class AttributeMapping(WireModel):
    """attributeMapping; ``matching_priority`` is above 0 for the attribute by which objects are matched."""

    target_attribute_name: str
    source: AttributeMappingSource
    default_value: None = None
    export_missing_references: Literal[False] = False
    flow_behavior: Literal["FlowWhenChanged"] = "FlowWhenChanged"
    flow_type: Literal["Always"] = "Always"
    matching_priority: int = 0


class ObjectMapping(WireModel):
    """objectMapping; ``scope`` is null because every object is synchronized."""

    name: str
    enabled: bool
    flow_types: str = FLOW_TYPES
    source_object_name: str
    target_object_name: str
    scope: None = None
    attribute_mappings: list[AttributeMapping]
    metadata: NothingListed = ()


class SynchronizationRule(WireModel):
    """synchronizationRule; neither containers nor groups narrow it down."""

    id: str = RULE_ID
    name: str
    source_directory_name: str = SOURCE_DIRECTORY
    target_directory_name: str = TARGET_DIRECTORY
    editable: bool = True
    priority: int = 1
    object_mappings: list[ObjectMapping]
    metadata: NothingListed = ()
    container_filter: None = None
    group_filter: None = None


class ReferencedObject(WireModel):
    """referencedObject: what an attribute of type Reference may point at."""

    referenced_object_name: str
    referenced_property: None = None


class AttributeDefinition(WireModel):
    """attributeDefinition; ``anchor`` marks the attribute that identifies the object."""

    name: str
    type: AttributeType
    mutability: Mutability
    anchor: bool = False
    required: bool = False
    case_exact: bool = False
    multivalued: bool = False
    flow_null_values: bool = True
    default_value: None = None
    api_expressions: NothingListed = ()
    referenced_objects: list[ReferencedObject] = Field(default_factory=list[ReferencedObject])
    metadata: NothingListed = ()


class ObjectDefinition(WireModel):
    """objectDefinition."""

    name: str
    attributes: list[AttributeDefinition]
    supported_apis: NothingListed = ()
    metadata: NothingListed = ()


class DirectoryDefinition(WireModel):
    """directoryDefinition; it is given whole and for good, so there is nothing to discover and nothing to write."""

    id: str
    name: str
    objects: list[ObjectDefinition]
    read_only: bool = True
    version: None = None
    discovery_date_time: None = None
    discoverabilities: Literal["None"] = "None"


class SynchronizationSchema(WireModel):
    """synchronizationSchema; ``version`` is another one whenever the rule says something else."""

    id: str
    version: str
    synchronization_rules: list[SynchronizationRule]
    directories: list[DirectoryDefinition]


class SynchronizationTemplate(WireModel):
    """synchronizationTemplate; its navigation property ``schema`` has a route of its own."""

    id: str
    application_id: UUID
    default: bool
    description: str | None = None
    discoverable: bool
    factory_tag: str | None = None
    metadata: NothingListed = ()


class _Update(WireModel):
    model_config = ConfigDict(extra="ignore")


class AttributeSourceUpdate(_Update):
    """An attributeMappingSource as clients send it."""

    expression: str | None = None
    name: str | None = None
    type: str | None = None
    parameters: list[Any] | None = None


class AttributeMappingUpdate(_Update):
    """An attributeMapping as clients send it."""

    target_attribute_name: str | None = None
    source: AttributeSourceUpdate | None = None
    default_value: str | None = None
    export_missing_references: StrictBool | None = None
    flow_behavior: str | None = None
    flow_type: str | None = None
    matching_priority: StrictInt | None = None


class ObjectMappingUpdate(_Update):
    """An objectMapping as clients send it; msgraph-sdk leaves ``flowTypes`` out (graph.md §2.2)."""

    name: str | None = None
    enabled: StrictBool | None = None
    flow_types: str | None = None
    source_object_name: str | None = None
    target_object_name: str | None = None
    scope: dict[str, Any] | None = None
    attribute_mappings: list[AttributeMappingUpdate] | None = None


class RuleUpdate(_Update):
    """A synchronizationRule as clients send it."""

    id: str | None = None
    source_directory_name: str | None = None
    target_directory_name: str | None = None
    object_mappings: list[ObjectMappingUpdate] | None = None
    container_filter: dict[str, Any] | None = None
    group_filter: dict[str, Any] | None = None


class SchemaUpdate(_Update):
    """Body of a change of the schema (graph.md §2.1)."""

    synchronization_rules: list[RuleUpdate] | None = None
