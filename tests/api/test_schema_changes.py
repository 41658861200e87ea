"""What a client's schema selects, from the SDK's round trip to everything that is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory
from msgraph.generated.models.attribute_mapping import AttributeMapping
from msgraph.generated.models.attribute_mapping_source import AttributeMappingSource
from msgraph.generated.models.attribute_mapping_source_type import AttributeMappingSourceType
from msgraph.generated.models.filter import Filter
from msgraph.generated.models.object_flow_types import ObjectFlowTypes
from msgraph.generated.models.object_mapping import ObjectMapping
from msgraph.generated.models.synchronization_schema import SynchronizationSchema
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient

from shared.api.views.schema import synchronization_schema
from shared.models.errors import BadRequest
from shared.models.parts import CATALOGUE, Part, PartName, selectable
from shared.models.schema import SchemaUpdate
from shared.models.selection import read_selection

Document = dict[str, Any]
Selection = dict[PartName, tuple[str, ...]]

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
EVERYTHING: Selection = {name: part.select for name, part in CATALOGUE.items()}


def document(parts: dict[PartName, Part] | None = None, enabled: Any = CATALOGUE) -> Document:
    """The schema as it is served."""
    return synchronization_schema("job", parts or CATALOGUE, enabled).wire()


def read(sent: Document, parts: dict[PartName, Part] | None = None, enabled: Any = CATALOGUE) -> Selection | None:
    schema = SchemaUpdate.model_validate(sent, by_alias=True, by_name=False)
    return read_selection(schema, parts or CATALOGUE, enabled)


def refusal(sent: Document) -> str:
    with pytest.raises(BadRequest) as refused:
        read(sent)
    return refused.value.message


def rule(sent: Document) -> Document:
    return sent["synchronizationRules"][0]


def mapping(sent: Document, part: PartName) -> Document:
    return rule(sent)["objectMappings"][list(CATALOGUE).index(part)]


def attribute(sent: Document, name: str, part: PartName = USERS) -> Document:
    return next(found for found in mapping(sent, part)["attributeMappings"] if found["targetAttributeName"] == name)


def only(*mappings: Document) -> Document:
    return {"synchronizationRules": [{"objectMappings": list(mappings)}]}


def plain(name: str) -> Document:
    return {"source": {"expression": f"[{name}]"}, "targetAttributeName": name}


def read_by_sdk(served: Document) -> SynchronizationSchema:
    node = JsonParseNodeFactory().get_root_parse_node("application/json", json.dumps(served).encode())
    found = node.get_object_value(SynchronizationSchema)
    assert found is not None
    return found


def sent_by_sdk(schema: SynchronizationSchema) -> Document:
    """The body of the PATCH that the SDK makes of the schema."""
    client = GraphServiceClient(request_adapter=GraphRequestAdapter(AnonymousAuthenticationProvider()))
    job = client.applications.by_application_id("application").synchronization.jobs.by_synchronization_job_id("job")
    content = job.schema.to_patch_request_information(schema).content
    assert content is not None
    return json.loads(content)


def sdk_mapping(schema: SynchronizationSchema, part: PartName) -> ObjectMapping:
    assert schema.synchronization_rules
    mappings = schema.synchronization_rules[0].object_mappings
    assert mappings
    return next(found for found in mappings if found.name == CATALOGUE[part].entry_type)


def part_with(name: PartName, chosen: frozenset[str]) -> Part:
    part = CATALOGUE[name]
    names = tuple(found for found in selectable(part) if found in chosen or found in part.required)
    return dataclasses.replace(part, select=names)


PARTS_IN_FORCE = st.fixed_dictionaries(
    {
        name: st.frozensets(st.sampled_from(selectable(part))).map(lambda chosen, name=name: part_with(name, chosen))
        for name, part in CATALOGUE.items()
    }
)
SWITCHED_ON = st.frozensets(st.sampled_from(PartName), min_size=1).map(
    lambda names: names | {source for name in names if (source := CATALOGUE[name].source) is not None}
)


@given(PARTS_IN_FORCE, SWITCHED_ON)
def test_any_schema_that_is_sent_back_as_it_was_served_reads_as_what_is_in_force(
    parts: dict[PartName, Part], enabled: frozenset[PartName]
) -> None:
    in_force = {name: parts[name].select for name in CATALOGUE if name in enabled}
    found = read(document(parts, enabled), parts, enabled)
    assert found == in_force
    assert list(found or ()) == list(in_force)


@settings(max_examples=25, deadline=None)
@given(PARTS_IN_FORCE, SWITCHED_ON)
def test_any_schema_that_the_sdk_read_and_writes_back_reads_as_what_is_in_force(
    parts: dict[PartName, Part], enabled: frozenset[PartName]
) -> None:
    # Without the directories, which take the SDK most of its time; the next test has them.
    served = document(parts, enabled) | {"directories": []}
    sent = sent_by_sdk(read_by_sdk(served))
    assert "flowTypes" not in rule(sent)["objectMappings"][0]
    assert read(sent, parts, enabled) == {name: parts[name].select for name in CATALOGUE if name in enabled}


def test_a_whole_schema_that_the_sdk_read_and_writes_back_reads_as_what_is_in_force() -> None:
    sent = sent_by_sdk(read_by_sdk(document()))
    assert len(sent["directories"]) == 2
    assert read(sent) == EVERYTHING


def test_the_sdks_typed_objects_deselect_an_attribute_and_select_an_optional_one() -> None:
    schema = read_by_sdk(document())
    users = sdk_mapping(schema, USERS)
    assert users.attribute_mappings
    kept = [found for found in users.attribute_mappings if found.target_attribute_name != "jobTitle"]
    source = AttributeMappingSource(name="streetAddress", type=AttributeMappingSourceType.Attribute)
    users.attribute_mappings = [*kept, AttributeMapping(source=source, target_attribute_name="streetAddress")]
    chosen = tuple(name for name in CATALOGUE[USERS].select if name != "jobTitle")
    assert read(sent_by_sdk(schema)) == EVERYTHING | {USERS: (*chosen, "streetAddress")}


def test_the_sdks_typed_objects_switch_a_part_off_and_on() -> None:
    schema = read_by_sdk(document(enabled={USERS, SITES}))
    sdk_mapping(schema, SITES).enabled = False
    sdk_mapping(schema, TEAMS).enabled = True
    found = read(sent_by_sdk(schema), enabled={USERS, SITES})
    assert found == {USERS: EVERYTHING[USERS], TEAMS: EVERYTHING[TEAMS]}


def test_a_filter_of_the_sdk_passes_only_when_it_is_empty() -> None:
    schema = read_by_sdk(document())
    sdk_mapping(schema, USERS).scope = Filter(groups=[], odata_type="#microsoft.graph.filter")
    assert read(sent_by_sdk(schema)) == EVERYTHING


def test_a_single_flow_type_of_the_sdk_is_refused() -> None:
    schema = read_by_sdk(document())
    flow_types: Any = ObjectFlowTypes.Add
    sdk_mapping(schema, USERS).flow_types = flow_types
    assert "User to User: flowTypes takes only" in refusal(sent_by_sdk(schema))


@pytest.mark.parametrize("sent", [{}, {"synchronizationRules": None}, {"directories": [], "version": "1"}])
def test_a_schema_without_rules_changes_nothing(sent: Document) -> None:
    assert read(sent) is None


def test_a_rule_without_mappings_and_a_mapping_without_members_keep_what_is_in_force() -> None:
    parts = {**CATALOGUE, USERS: part_with(USERS, frozenset({"mail"}))}
    enabled = {USERS, TEAMS}
    in_force = {USERS: ("id", "mail", "userType"), TEAMS: EVERYTHING[TEAMS]}
    assert read({"synchronizationRules": [{}]}, parts, enabled) == in_force
    everything = only(*({"name": part.entry_type, "attributeMappings": None} for part in CATALOGUE.values()))
    assert read(everything, parts, enabled) == in_force


def test_a_mapping_that_is_left_out_or_disabled_switches_its_part_off() -> None:
    sent = only({"name": "User to User"}, {"name": "Site to Site", "enabled": False})
    assert read(sent) == {USERS: EVERYTHING[USERS]}


def test_a_part_that_is_switched_on_again_has_the_selection_in_force_if_none_is_sent() -> None:
    parts = {**CATALOGUE, SITES: part_with(SITES, frozenset({"webUrl"}))}
    found = read(only({"name": "Site to Site", "enabled": True}), parts, {USERS})
    assert found == {SITES: ("id", "webUrl", "isPersonalSite")}


@pytest.mark.parametrize(
    "names",
    [
        {"name": "groupmember TO GroupMember"},
        {"sourceObjectName": "GROUPMEMBER"},
        {"name": "GroupMember to GroupMember", "sourceObjectName": "groupMember", "targetObjectName": "groupMember"},
        {"name": "Who is in which group", "sourceObjectName": "GroupMember"},
    ],
)
def test_a_mapping_is_known_by_its_name_or_its_source_in_any_case(names: Document) -> None:
    assert read(only(names)) == {MEMBERS: ("id", "members")}


@pytest.mark.parametrize(
    "source",
    [
        {"expression": "[mail]"},
        {"name": "mail"},
        {"name": "MAIL", "expression": " [ Mail ] "},
        {"name": "mail", "expression": "", "type": "attribute", "parameters": []},
        {"@odata.type": "#microsoft.graph.attributeMappingSource", "expression": "[mail]", "surprise": 1},
    ],
)
@pytest.mark.parametrize("target", [{}, {"targetAttributeName": None}, {"targetAttributeName": "Mail"}])
def test_an_attribute_is_known_by_expression_or_name_and_needs_no_target(source: Document, target: Document) -> None:
    sent = only(
        {"name": "User to User", "attributeMappings": [plain("userType"), {"source": source, **target}, plain("id")]}
    )
    assert read(sent) == {USERS: ("id", "mail", "userType")}


@given(st.randoms())
def test_the_order_in_which_a_client_sends_mappings_and_attributes_does_not_matter(random: Any) -> None:
    sent = document()
    random.shuffle(rule(sent)["objectMappings"])
    for found in rule(sent)["objectMappings"]:
        random.shuffle(found["attributeMappings"])
    found = read(sent)
    assert found == EVERYTHING
    assert list(found or ()) == list(EVERYTHING)


def test_members_that_mean_nothing_here_are_ignored() -> None:
    sent = document() | {"@odata.context": "…", "id": "another", "version": None, "directories": None}
    rule(sent).update({"@odata.type": "#microsoft.graph.synchronizationRule", "priority": 7, "name": "Mine"})
    mapping(sent, USERS)["metadata"] = [{"key": "Disposition", "value": "Normal"}]
    attribute(sent, "mail").update({"@odata.type": "#microsoft.graph.attributeMapping", "defaultValue": ""})
    assert read(sent) == EVERYTHING


def test_what_an_older_catalogue_offered_can_be_kept_and_given_up() -> None:
    parts = {**CATALOGUE, SITES: dataclasses.replace(CATALOGUE[SITES], select=(*EVERYTHING[SITES], "formerly"))}
    assert read(document(parts), parts) == EVERYTHING | {SITES: (*EVERYTHING[SITES], "formerly")}
    assert read(document(), parts) == EVERYTHING
    assert "'formerly'" in refusal(document(parts))


Change = Callable[[Document], object]

REFUSED: dict[str, tuple[Change, str]] = {
    "no rule": (lambda sent: sent.update(synchronizationRules=[]), "exactly one rule"),
    "two rules": (lambda sent: sent.update(synchronizationRules=[rule(sent), rule(sent)]), "exactly one rule"),
    "another rule": (lambda sent: rule(sent).update(id="Other"), 'id takes only "M365OrgCache"'),
    "another source": (lambda sent: rule(sent).update(sourceDirectoryName="SAP"), 'takes only "Microsoft 365"'),
    "another target": (lambda sent: rule(sent).update(targetDirectoryName="SAP"), 'takes only "Organization cache"'),
    "containers": (lambda sent: rule(sent).update(containerFilter={"includedContainers": ["x"]}), "containerFilter"),
    "groups": (lambda sent: rule(sent).update(groupFilter={"includedGroups": ["x"]}), "groupFilter"),
    "nothing left": (lambda sent: rule(sent).update(objectMappings=[]), "at least one mapping"),
    "all disabled": (
        lambda sent: [found.update(enabled=False) for found in rule(sent)["objectMappings"]],
        "at least one mapping",
    ),
    "unknown mapping": (
        lambda sent: mapping(sent, USERS).update(name="Device to Device", sourceObjectName="Device"),
        "objectMappings[0]: nothing is called 'Device'; the mappings are User to User, Group to Group",
    ),
    "unknown source": (lambda sent: mapping(sent, SITES).update(sourceObjectName="Page"), "nothing is called 'Page'"),
    "nameless mapping": (
        lambda sent: mapping(sent, TEAMS).update(name=None, sourceObjectName=None),
        "objectMappings[5]: name or sourceObjectName is missing",
    ),
    "two mappings in one": (lambda sent: mapping(sent, USERS).update(sourceObjectName="Group"), "about two mappings"),
    "a mapping twice": (
        lambda sent: rule(sent)["objectMappings"].append({"sourceObjectName": "user"}),
        "User to User: objectMappings takes this mapping only once",
    ),
    "another object": (
        lambda sent: mapping(sent, USERS).update(targetObjectName="Person"),
        'User to User: targetObjectName takes only "User"',
    ),
    "two flow types": (lambda sent: mapping(sent, SITES).update(flowTypes="Add, Update"), 'only "Add, Update, Delete"'),
    "no flow type": (lambda sent: mapping(sent, SITES).update(flowTypes="None"), "Site to Site: flowTypes"),
    "scope": (
        lambda sent: mapping(sent, USERS).update(scope={"groups": [{"clauses": [{"sourceOperandName": "mail"}]}]}),
        "User to User: scope takes only null or an empty filter",
    ),
    "unknown attribute": (
        lambda sent: mapping(sent, SITES)["attributeMappings"].append(plain("mail")),
        "Site to Site: attributeMappings[10]: there is no attribute 'mail'; the schema's directories",
    ),
    "an attribute twice": (
        lambda sent: mapping(sent, SITES)["attributeMappings"].append(plain("WEBURL")),
        "Site to Site: attributeMappings[10]: webUrl is mapped already",
    ),
    "no source": (lambda sent: attribute(sent, "mail").update(source=None), "source takes only a plain attribute"),
    "empty source": (lambda sent: attribute(sent, "mail").update(source={}), "source takes only a plain attribute"),
    "function": (
        lambda sent: attribute(sent, "mail").update(source={"expression": "Trim([mail])"}),
        "User to User: attributeMappings[5]: source takes only a plain attribute, such as [mail]",
    ),
    "function by its type": (
        lambda sent: attribute(sent, "mail").update(source={"name": "Trim", "type": "Function"}),
        "source takes only a plain attribute",
    ),
    "parameters": (
        lambda sent: attribute(sent, "mail").update(source={"name": "mail", "parameters": [{"key": "source"}]}),
        "source takes only a plain attribute",
    ),
    "two attributes in one source": (
        lambda sent: attribute(sent, "mail").update(source={"name": "mail", "expression": "[jobTitle]"}),
        "one attribute as its expression and another as its name",
    ),
    "renamed attribute": (
        lambda sent: attribute(sent, "mail").update(targetAttributeName="email"),
        'targetAttributeName takes only "mail"',
    ),
    "default value": (
        lambda sent: attribute(sent, "mail").update(defaultValue="nobody"),
        "User to User: attributeMappings[5]: defaultValue takes only null",
    ),
    "flow behaviour": (
        lambda sent: attribute(sent, "mail").update(flowBehavior="FlowAlways"),
        'flowBehavior takes only "FlowWhenChanged"',
    ),
    "flow type": (
        lambda sent: attribute(sent, "mail").update(flowType="ObjectAddOnly"),
        'flowType takes only "Always"',
    ),
    "missing references": (
        lambda sent: attribute(sent, "mail").update(exportMissingReferences=True),
        "exportMissingReferences takes only false",
    ),
    "another match": (lambda sent: attribute(sent, "mail").update(matchingPriority=2), "matchingPriority takes only 0"),
    "no match": (lambda sent: attribute(sent, "id").update(matchingPriority=0), "matchingPriority takes only 1"),
    "wrong and disabled": (
        lambda sent: mapping(sent, SITES).update(enabled=False, scope={"groups": [{}]}),
        "Site to Site: scope",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_with_the_mapping_the_member_and_what_can_be(case: str) -> None:
    change, words = REFUSED[case]
    sent = document()
    change(sent)
    untouched = copy.deepcopy(sent)
    assert words in refusal(sent)
    assert sent == untouched


@pytest.mark.parametrize("part", CATALOGUE.values(), ids=lambda part: part.name)
def test_what_every_selection_must_hold_cannot_be_deselected(part: Part) -> None:
    for name in part.required:
        sent = document()
        kept = [found for found in mapping(sent, part.name)["attributeMappings"] if found["source"]["name"] != name]
        mapping(sent, part.name)["attributeMappings"] = kept
        assert refusal(sent).startswith(f"{part.entry_type}: attributeMappings must keep {name},")


@pytest.mark.parametrize(
    "change",
    [
        lambda sent, name: mapping(sent, USERS).update(sourceObjectName=name),
        lambda sent, name: mapping(sent, USERS).update(name=name, sourceObjectName=None),
        lambda sent, name: attribute(sent, "mail").update(source={"name": name}),
    ],
)
def test_a_name_that_a_client_gave_is_repeated_only_up_to_64_characters(change: Any) -> None:
    sent = document()
    change(sent, "x" * 65)
    message = refusal(sent)
    assert f"'{'x' * 64}'" in message


@pytest.mark.parametrize(
    "change",
    [
        {"defaultValue": "jane.doe"},
        {"source": {"expression": 'IIF([mail] = "jane.doe", "", [mail])'}},
        {"source": {"name": "jane.doe", "type": "Constant"}},
        {"targetAttributeName": "jane.doe"},
        {"flowType": "jane.doe"},
    ],
)
def test_values_that_a_client_gave_are_not_repeated(change: Document) -> None:
    sent = document()
    attribute(sent, "mail").update(change)
    assert "jane.doe" not in refusal(sent)
