"""What can be registered as an organization, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.models.organizations import AuthenticationType, CredentialKind, OrganizationRegistration, Region
from shared.models.parts import CATALOGUE, PartName
from tests.application import APPLICATION, NAME

REQUIRED = {"tenantId": "5F0C2A1E-9D7B-4C3A-8E6F-102938475665", "name": NAME, "application": APPLICATION}


def register(**changed: Any) -> OrganizationRegistration:
    return OrganizationRegistration.model_validate({**REQUIRED, **changed})


def test_tenant_name_and_application_are_enough() -> None:
    registration = register()
    assert registration.region is Region.WORLDWIDE
    assert registration.authentication_type is AuthenticationType.APPLICATION_ONLY
    assert registration.credential.kind is CredentialKind.MANAGED_IDENTITY
    assert registration.parts == list(CATALOGUE)
    assert registration.wire()["tenantId"] == "5f0c2a1e-9d7b-4c3a-8e6f-102938475665"


@pytest.mark.parametrize("member", REQUIRED)
def test_without_tenant_name_or_application_it_is_refused(member: str) -> None:
    with pytest.raises(ValidationError, match=member):
        OrganizationRegistration.model_validate({name: value for name, value in REQUIRED.items() if name != member})


def test_a_domain_name_has_no_case() -> None:
    assert register(name="Contoso.OnMicrosoft.COM").name == NAME


@pytest.mark.parametrize(
    "name",
    [
        "",
        "contoso",
        "contoso.",
        ".com",
        "con toso.com",
        "contoso..com",
        "contoso.com\n",
        "a/b.com",
        "é.com",
        "a" * 250 + ".com",
        None,
        5,
    ],
)
def test_what_is_no_domain_name_is_refused(name: Any) -> None:
    with pytest.raises(ValidationError, match="name"):
        register(name=name)


@pytest.mark.parametrize("kind", ["certificate", "secret"])
def test_a_stored_credential_names_its_key_vault_secret(kind: str) -> None:
    assert register(credential={"kind": kind, "keyVaultSecret": "contoso-1"}).credential.key_vault_secret == "contoso-1"
    with pytest.raises(ValidationError, match="keyVaultSecret is required"):
        register(credential={"kind": kind})


@pytest.mark.parametrize("kind", ["managedIdentity", "federated"])
def test_a_credential_without_a_secret_takes_no_key_vault_secret(kind: str) -> None:
    assert register(credential={"kind": kind}).credential.key_vault_secret is None
    with pytest.raises(ValidationError, match="keyVaultSecret does not belong"):
        register(credential={"kind": kind, "keyVaultSecret": "contoso-1"})


@pytest.mark.parametrize("value", ["top secret value!", "a" * 128, "", "under_score"])
def test_a_secret_value_in_place_of_its_name_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        register(credential={"kind": "secret", "keyVaultSecret": value})
    assert not value or value not in str(refused.value)


@given(st.lists(st.sampled_from(PartName), min_size=1))
def test_parts_are_kept_once_each_in_the_catalogues_order(parts: list[PartName]) -> None:
    parts += [source for name in parts if (source := CATALOGUE[name].source) is not None]
    assert register(parts=parts).parts == [name for name in CATALOGUE if name in parts]


@pytest.mark.parametrize(("part", "source"), [("mailboxes", "users"), ("channels", "teams")])
def test_a_derived_part_without_its_source_is_refused_by_name(part: str, source: str) -> None:
    with pytest.raises(ValidationError, match=f"{part} is derived from {source}"):
        register(parts=["groups", part])


@pytest.mark.parametrize("parts", [[], ["mailbox"], ["Users"], "users", None])
def test_no_parts_and_unknown_parts_are_refused(parts: Any) -> None:
    with pytest.raises(ValidationError, match="parts"):
        register(parts=parts)


@pytest.mark.parametrize(
    "changed",
    [
        {"region": "Mars"},
        {"authenticationType": "applicationOnly"},
        {"tenantId": "contoso"},
        {"application": {**APPLICATION, "secret": "x"}},
        {"application": {"clientId": APPLICATION["clientId"]}},
        {"credential": {"kind": "password"}},
        {"clientSecret": "x"},
    ],
)
def test_unknown_members_and_values_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        register(**changed)
