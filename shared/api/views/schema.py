"""What is synchronized as a Microsoft Graph synchronizationSchema, and the template it begins with (graph.md §1.11)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from uuid import UUID

import orjson

from shared.models.jobs import TEMPLATE_ID
from shared.models.parts import CATALOGUE, Part, PartName, Relation, selectable
from shared.models.schema import (
    SOURCE_DIRECTORY,
    TARGET_DIRECTORY,
    AttributeDefinition,
    AttributeMapping,
    AttributeMappingSource,
    AttributeType,
    DirectoryDefinition,
    Mutability,
    ObjectDefinition,
    ObjectMapping,
    ReferencedObject,
    SynchronizationRule,
    SynchronizationSchema,
    SynchronizationTemplate,
    object_name,
)

# Every other property is a string, or has members of its own, for which attributeType has no word.
_BOOLEANS = {
    "accountEnabled", "isArchived", "isAssignableToRole", "isPersonalSite", "mailEnabled", "onPremisesSyncEnabled",
    "securityEnabled",
}  # fmt: skip
_DATE_TIMES = {
    "createdDateTime", "employeeHireDate", "expirationDateTime", "lastModifiedDateTime", "lastPasswordChangeDateTime",
    "onPremisesLastSyncDateTime", "renewedDateTime",
}  # fmt: skip
_COLLECTIONS = {
    "assignedLabels", "assignedLicenses", "assignedPlans", "businessPhones", "groupTypes", "imAddresses", "members",
    "otherMails", "owners", "provisionedPlans", "proxyAddresses", "resourceBehaviorOptions",
    "resourceProvisioningOptions",
}  # fmt: skip
# Devices and service principals can be members and owners too, but are no objects of these directories.
_REFERENCED: Mapping[Relation, Sequence[PartName]] = {
    "members": (PartName.USERS, PartName.GROUPS),
    "owners": (PartName.USERS,),
}


def synchronization_schema(
    schema_id: str, parts: Mapping[PartName, Part], enabled: Collection[PartName]
) -> SynchronizationSchema:
    """The schema of a job, or with the catalogue's own parts that of the template.

    Args:
        schema_id: The id of the job or template it belongs to.
        parts: Every part with the selection in force.
        enabled: The parts that are switched on.
    """
    chosen = [parts[name] for name in CATALOGUE]
    return SynchronizationSchema(
        id=schema_id,
        version=_version(chosen, enabled),
        synchronization_rules=[
            SynchronizationRule(
                name=f"{SOURCE_DIRECTORY} to {TARGET_DIRECTORY}",
                object_mappings=[_object_mapping(part, enabled=part.name in enabled) for part in chosen],
            )
        ],
        directories=[
            _directory("microsoft365", SOURCE_DIRECTORY, chosen, Mutability.READ_ONLY),
            _directory("organizationCache", TARGET_DIRECTORY, chosen, Mutability.READ_WRITE),
        ],
    )


def synchronization_template(application_id: UUID) -> SynchronizationTemplate:
    """The one template, as it belongs to an application; its default schema switches every part on."""
    return SynchronizationTemplate(
        id=TEMPLATE_ID,
        application_id=application_id,
        default=True,
        description="Keeps an organization cache database in step with Microsoft 365.",
        discoverable=True,
        factory_tag=TEMPLATE_ID,
    )


def _version(parts: Sequence[Part], enabled: Collection[PartName]) -> str:
    """The same for the same selection, in whatever order it is given; another one for any other."""
    said = [(part.name, part.name in enabled, sorted(part.select)) for part in parts]
    return blake2b(orjson.dumps(said), digest_size=8).hexdigest()


def _object_mapping(part: Part, *, enabled: bool) -> ObjectMapping:
    return ObjectMapping(
        name=part.entry_type,
        enabled=enabled,
        source_object_name=object_name(part),
        target_object_name=object_name(part),
        attribute_mappings=[
            AttributeMapping(
                target_attribute_name=name,
                source=AttributeMappingSource(expression=f"[{name}]", name=name),
                matching_priority=1 if name == "id" else 0,
            )
            for name in part.select
        ],
    )


def _directory(directory_id: str, name: str, parts: Sequence[Part], mutability: Mutability) -> DirectoryDefinition:
    return DirectoryDefinition(
        id=directory_id,
        name=name,
        objects=[
            ObjectDefinition(
                name=object_name(part),
                attributes=[_attribute(part, attribute, mutability) for attribute in selectable(part)],
            )
            for part in parts
        ],
    )


def _attribute(part: Part, name: str, mutability: Mutability) -> AttributeDefinition:
    kind = _type(part, name)
    anchor = name == "id"
    return AttributeDefinition(
        name=name,
        type=kind,
        mutability=Mutability.IMMUTABLE if anchor and mutability is Mutability.READ_WRITE else mutability,
        anchor=anchor,
        required=name in part.required,
        # A name that changes only in case is a change; ids are compared without case.
        case_exact=kind is AttributeType.STRING and not anchor,
        multivalued=name in _COLLECTIONS,
        flow_null_values=not anchor,
        referenced_objects=[
            ReferencedObject(referenced_object_name=object_name(CATALOGUE[referenced]))
            for relation in part.relations
            if relation == name
            for referenced in _REFERENCED[relation]
        ],
    )


def _type(part: Part, name: str) -> AttributeType:
    if name in part.relations:
        return AttributeType.REFERENCE
    if name in _BOOLEANS:
        return AttributeType.BOOLEAN
    return AttributeType.DATE_TIME if name in _DATE_TIMES else AttributeType.STRING
