"""The schema tells what is synchronized, and an unmodified msgraph-sdk reads every member of it."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
from msgraph.generated.models.channel import Channel
from msgraph.generated.models.group import Group
from msgraph.generated.models.mailbox_settings import MailboxSettings
from msgraph.generated.models.site import Site
from msgraph.generated.models.synchronization_schema import SynchronizationSchema
from msgraph.generated.models.synchronization_template import SynchronizationTemplate
from msgraph.generated.models.user import User
from pydantic.alias_generators import to_snake

from shared.api.views.schema import synchronization_schema, synchronization_template
from shared.models.jobs import TEMPLATE_ID
from shared.models.parts import CATALOGUE, Part, PartName, selectable

USERS, GROUPS, SITES = PartName.USERS, PartName.GROUPS, PartName.SITES
PARTS = pytest.mark.parametrize("part", CATALOGUE.values(), ids=lambda part: part.name)
MODELS = {"users": User, "groups": Group, "sites": Site}
DERIVED = {
    "mailboxes": {"userPurpose": MailboxSettings().get_field_deserializers()["userPurpose"]},
    "channels": {**Channel().get_field_deserializers(), "teamId": Group().get_field_deserializers()["id"]},
}
TYPES = {
    "get_str_value": ("String", False),
    "get_enum_value": ("String", False),
    "get_object_value": ("String", False),
    "get_bool_value": ("Boolean", False),
    "get_datetime_value": ("DateTime", False),
    "get_collection_of_primitive_values": ("String", True),
    "get_collection_of_object_values": ("String", True),
}


def schema(parts: dict[PartName, Part] | None = None, enabled: Any = CATALOGUE) -> dict[str, Any]:
    return synchronization_schema("job", {**CATALOGUE, **(parts or {})}, enabled).wire()


def mapping(document: dict[str, Any], part: PartName) -> dict[str, Any]:
    mappings = document["synchronizationRules"][0]["objectMappings"]
    return next(found for found in mappings if found["name"] == CATALOGUE[part].entry_type)


def definitions(document: dict[str, Any], directory: int, part: Part) -> dict[str, dict[str, Any]]:
    name = part.entry_type.split()[0]
    found = next(found for found in document["directories"][directory]["objects"] if found["name"] == name)
    return {attribute["name"]: attribute for attribute in found["attributes"]}


def read_by_sdk(document: dict[str, Any], model: Any) -> Any:
    node = JsonParseNodeFactory().get_root_parse_node("application/json", json.dumps(document).encode())
    return node.get_object_value(model)


def check_read(found: Any, document: Any, path: str = "") -> None:
    """What the SDK read is what was sent, member for member at every depth, with nothing left over on either side."""
    if isinstance(document, dict):
        assert found.additional_data == {}, path
        assert set(found.get_field_deserializers()) - {"@odata.type", "schema"} == set(document), path
        for name, value in document.items():
            check_read(getattr(found, to_snake(name)), value, f"{path}.{name}")
    elif isinstance(document, list):
        assert len(found) == len(document), path
        for index, (one, value) in enumerate(zip(found, document, strict=True)):
            check_read(one, value, f"{path}[{index}]")
    elif isinstance(found, list):
        assert ", ".join(one.value for one in found) == document, path
    else:
        told = found.value if isinstance(found, Enum) else str(found) if isinstance(found, UUID) else found
        assert told == document, path


def test_the_sdk_reads_every_member_of_a_schema_at_every_depth() -> None:
    everything = {name: dataclasses.replace(part, select=selectable(part)) for name, part in CATALOGUE.items()}
    document = schema(everything, {USERS, SITES})
    check_read(read_by_sdk(document, SynchronizationSchema), document)


def test_the_sdk_reads_every_member_of_the_template() -> None:
    application = UUID("0b9f4c1e-52d7-4f38-8a6b-7e1d0c2f3a45")
    document = synchronization_template(application).wire()
    found = read_by_sdk(document, SynchronizationTemplate)
    check_read(found, document)
    assert (found.id, found.application_id, found.default) == (TEMPLATE_ID, application, True)


def test_the_one_rule_maps_every_part_in_the_catalogues_order_and_leaves_nothing_out_of_scope() -> None:
    (rule,) = schema()["synchronizationRules"]
    assert rule["id"] == "M365OrgCache"
    assert rule["editable"] is True
    assert (rule["containerFilter"], rule["groupFilter"]) == (None, None)
    mappings = rule["objectMappings"]
    assert [found["name"] for found in mappings] == [part.entry_type for part in CATALOGUE.values()]
    assert [found["sourceObjectName"] for found in mappings] == [
        "User",
        "Group",
        "GroupMember",
        "Site",
        "Mailbox",
        "Team",
        "Channel",
    ]
    assert all(found["targetObjectName"] == found["sourceObjectName"] for found in mappings)
    assert all((found["flowTypes"], found["scope"]) == ("Add, Update, Delete", None) for found in mappings)


def test_the_rule_connects_the_directories_and_the_directories_define_what_the_mappings_name() -> None:
    document = schema()
    (rule,) = document["synchronizationRules"]
    source, target = document["directories"]
    assert (rule["sourceDirectoryName"], rule["targetDirectoryName"]) == (source["name"], target["name"])
    assert source["id"] != target["id"]
    for part in CATALOGUE.values():
        mapped = {found["targetAttributeName"] for found in mapping(document, part.name)["attributeMappings"]}
        assert mapped <= definitions(document, 0, part).keys()
        assert definitions(document, 0, part).keys() == definitions(document, 1, part).keys()


@PARTS
def test_a_mapping_is_enabled_when_its_part_is_switched_on(part: Part) -> None:
    document = schema(enabled={part.name})
    assert [name for name in CATALOGUE if mapping(document, name)["enabled"]] == [part.name]


@PARTS
def test_a_mapping_copies_each_selected_attribute_and_matches_by_the_id(part: Part) -> None:
    selection = (*part.required, *part.optional)
    chosen = {part.name: dataclasses.replace(part, select=selection)}
    attributes = mapping(schema(chosen), part.name)["attributeMappings"]
    assert [found["targetAttributeName"] for found in attributes] == list(selection)
    assert [found["source"]["expression"] for found in attributes] == [f"[{name}]" for name in selection]
    assert [found["source"]["name"] for found in attributes] == list(selection)
    assert [found["matchingPriority"] for found in attributes] == [1] + [0] * (len(selection) - 1)


@PARTS
def test_the_directories_list_all_that_can_be_selected_whatever_is_selected_now(part: Part) -> None:
    chosen = {part.name: dataclasses.replace(part, select=part.required)}
    assert list(definitions(schema(chosen), 0, part)) == [*part.select, *part.optional]


def test_what_an_older_catalogue_offered_is_still_defined_while_it_is_selected() -> None:
    part = CATALOGUE[SITES]
    chosen = {SITES: dataclasses.replace(part, select=(*part.select, "formerly"))}
    assert "formerly" in definitions(schema(chosen), 0, part)
    assert "formerly" not in definitions(schema(), 0, part)


@PARTS
def test_attributes_have_the_types_that_graph_gives_them(part: Part) -> None:
    # msgraph-sdk is generated from Graph's metadata, so the way in which it reads a property tells the type.
    readers = {**MODELS[part.collection]().get_field_deserializers(), **DERIVED.get(part.name, {})}
    for name, definition in definitions(schema(), 0, part).items():
        told = (definition["type"], definition["multivalued"])
        if name in part.relations:
            assert told == ("Reference", True), name
        else:
            assert told == TYPES[called(readers[name])], name


def called(reader: Any) -> str:
    """The name of the method of a parse node by which the SDK reads a property."""
    names: list[str] = []

    class Node:
        def __getattr__(self, name: str) -> Any:
            names.append(name)
            return lambda *_: None

    reader(Node())
    return names[0]


@PARTS
def test_the_id_is_each_objects_one_anchor_and_what_cannot_be_deselected_is_required(part: Part) -> None:
    for directory in (0, 1):
        found = definitions(schema(), directory, part)
        assert [name for name, definition in found.items() if definition["anchor"]] == ["id"]
        assert {name for name, definition in found.items() if definition["required"]} == set(part.required)


def test_the_source_is_only_read_and_the_target_keeps_an_objects_id() -> None:
    document, part = schema(), CATALOGUE[USERS]
    assert {found["mutability"] for found in definitions(document, 0, part).values()} == {"ReadOnly"}
    target = {name: found["mutability"] for name, found in definitions(document, 1, part).items()}
    assert target.pop("id") == "Immutable"
    assert set(target.values()) == {"ReadWrite"}


@pytest.mark.parametrize(
    ("part", "relation", "objects"),
    [(GROUPS, "owners", ["User"]), (PartName.GROUP_MEMBERS, "members", ["User", "Group"])],
)
def test_relations_say_what_they_point_at(part: PartName, relation: str, objects: list[str]) -> None:
    referenced = definitions(schema(), 0, CATALOGUE[part])[relation]["referencedObjects"]
    assert [found["referencedObjectName"] for found in referenced] == objects


def test_the_version_changes_when_a_part_is_switched_off_or_another_attribute_is_selected_and_only_then() -> None:
    part = CATALOGUE[USERS]
    select = part.select
    others = [
        schema(enabled=set(CATALOGUE) - {USERS}),
        schema(enabled=set(CATALOGUE) - {GROUPS}),
        schema({USERS: dataclasses.replace(part, select=select[:-1])}),
        schema({USERS: dataclasses.replace(part, select=(*select, "state"))}),
        schema({GROUPS: dataclasses.replace(CATALOGUE[GROUPS], select=(*CATALOGUE[GROUPS].select, "theme"))}),
    ]
    versions = [schema()["version"], *(other["version"] for other in others)]
    assert len(set(versions)) == len(versions)
    same = synchronization_schema(
        "other", {**CATALOGUE, USERS: dataclasses.replace(part, select=select[::-1])}, CATALOGUE
    )
    assert same.version == versions[0]
