"""Each kind of credential signs in to the organization's tenant in its cloud; what goes wrong is told for what it is.

azure-identity's own classes talk to an authority, an identity endpoint and a vault that check what they are shown.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.graph.client import GraphClient
from shared.graph.clients import GraphClients
from shared.graph.clouds import CLOUDS
from shared.models.errors import GraphRefused, GraphUnavailable, SynchronizationFailure
from shared.models.organizations import CredentialKind, Organization, Region
from shared.settings import Settings
from tests.application import APPLICATION
from tests.graph.app_service import HOME
from tests.graph.signing import AUDIENCES, NAME, SignIn, certificate, pem, pfx, sign_in
from tests.graph.support import GROUPS, USERS, Graph

MANAGED, FEDERATED, CERTIFICATE, SECRET = CredentialKind
EACH_KIND = pytest.mark.parametrize("kind", CredentialKind)
STORED = pytest.mark.parametrize("kind", [CERTIFICATE, SECRET])
AT_THE_AUTHORITY = pytest.mark.parametrize("kind", [FEDERATED, CERTIFICATE, SECRET])


@pytest.fixture(params=[Region.WORLDWIDE])
def world(request: pytest.FixtureRequest, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignIn]:
    with sign_in(graph.tenant, monkeypatch, request.param) as world:
        yield world


def client_of(graph: Graph, world: SignIn, kind: CredentialKind, **stored: str) -> GraphClient:
    clients = graph.clients(**world.settings)
    return clients.get(graph.organization(**world.prepare(kind, **stored)))


def failure(graph: Graph, client: GraphClient) -> SynchronizationFailure:
    """What keeps a page from coming, told without any value and without Entra's own words."""
    with pytest.raises(SynchronizationFailure) as failed:
        graph.run(client.first_page(USERS))
    assert "contoso.example" not in failed.value.message
    assert HOME not in failed.value.message
    assert len(failed.value.message) < 200
    return failed.value


# --- Each kind ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", Region, indirect=True)
@EACH_KIND
def test_each_kind_reads_the_tenant_in_each_cloud(graph: Graph, world: SignIn, kind: CredentialKind) -> None:
    client = client_of(graph, world, kind)
    assert len(graph.run(client.first_page(USERS)).read().records) == 50
    cloud = CLOUDS[world.region]
    if kind is MANAGED:
        assert world.identity.requests == [cloud.graph]
        assert world.authority.requests == []
        return
    ((path, form),) = world.authority.requests
    assert path == f"/{graph.tenant.directory.tenant_id}/oauth2/v2.0/token"
    assert (form["client_id"], form["scope"]) == (APPLICATION["clientId"], f"{cloud.graph}/.default")
    assert ("client_secret" in form) is (kind is SECRET)
    assert world.vault.reads == ([NAME] if kind in (CERTIFICATE, SECRET) else [])
    if kind is FEDERATED:
        assert world.identity.requests == [AUDIENCES[world.region]]


FORMS: dict[str, Callable[[x509.Certificate, rsa.RSAPrivateKey], str]] = {
    "PFX": pfx,
    "PEM": pem,
    "PEM in base64": lambda made, key: b64encode(pem(made, key).encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_certificate_is_taken_as_key_vault_keeps_it(graph: Graph, world: SignIn, form: Callable[..., str]) -> None:
    client = client_of(graph, world, CERTIFICATE, stored=form(*certificate()))
    assert graph.run(client.first_page(USERS)).read().records


@STORED
def test_without_a_vault_the_value_is_an_app_setting(
    graph: Graph, world: SignIn, kind: CredentialKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = world.prepare(kind)
    monkeypatch.setenv("ORGANIZATION_SECRET_CONTOSO_1", world.vault.values.pop(NAME))
    client = graph.clients().get(graph.organization(**registered))
    assert graph.run(client.first_page(USERS)).read().records
    assert world.identity.requests == []


def test_with_a_vault_an_app_setting_is_not_looked_at(
    graph: Graph, world: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(graph, world, SECRET)
    monkeypatch.setenv("ORGANIZATION_SECRET_CONTOSO_1", world.vault.values.pop(NAME))
    assert failure(graph, client).message == "The secret contoso-1 in Key Vault is missing."


# --- What Entra refuses -------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[CredentialKind, Callable[[SignIn], None], int]] = {
    "a wrong secret": (SECRET, lambda world: world.vault.values.update({NAME: "hunter2"}), 7000215),
    "a certificate that was not uploaded": (CERTIFICATE, lambda world: world.authority.certificates.clear(), 700027),
    "a certificate of another key": (
        CERTIFICATE,
        lambda world: world.vault.values.update({NAME: pem(certificate()[0], certificate(number=1)[1])}),
        50013,
    ),
    "a certificate that has expired": (
        CERTIFICATE,
        lambda world: (
            world.vault.values.update({NAME: pfx(*certificate(-1))}),
            world.authority.certificates.append(certificate(-1)[0]),
        )[0],
        1000502,
    ),
    "a federation of another issuer": (
        FEDERATED,
        lambda world: setattr(world.authority, "federations", [world.federation(issuer="https://other.example")]),
        700211,
    ),
    "a federation of another identity": (
        FEDERATED,
        lambda world: setattr(world.authority, "federations", [world.federation(subject=HOME)]),
        700213,
    ),
    "a federation of another cloud": (
        FEDERATED,
        lambda world: setattr(world.authority, "federations", [world.federation(audience="api://Another")]),
        700212,
    ),
    "an assertion that somebody else signed": (
        FEDERATED,
        lambda world: setattr(world.authority, "federations", [world.federation(key=certificate()[1].public_key())]),
        50013,
    ),
    "an application that the tenant does not know": (
        FEDERATED,
        lambda world: setattr(world.authority, "application", HOME),
        700016,
    ),
}


@pytest.mark.parametrize(("kind", "spoil", "number"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_entra_refuses_is_for_the_tenant_to_repair_and_told_by_entras_number(
    graph: Graph,
    world: SignIn,
    kind: CredentialKind,
    spoil: Callable[[SignIn], None],
    number: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    client = client_of(graph, world, kind)
    spoil(world)

    told = failure(graph, client)

    assert isinstance(told, GraphRefused)
    assert (told.code, told.tenant_actionable) == ("EncounteredCredentialError", True)
    assert told.message == f"No token for GET /users/delta was issued to the application (AADSTS{number})."
    assert graph.asked() == {}
    for value in (*world.vault.values.values(), *world.identity.issued.values(), "somebody@contoso.example"):
        assert value not in caplog.text


def test_a_tenant_that_is_not_there_is_for_the_tenant_to_repair(graph: Graph, world: SignIn) -> None:
    elsewhere = {"id": HOME, "tenantId": HOME}
    client = graph.clients(**world.settings).get(graph.organization(**world.prepare(SECRET), **elsewhere))
    told = failure(graph, client)
    assert (told.code, told.tenant_actionable) == ("EncounteredCredentialError", True)
    assert "AADSTS90002" in told.message


OUTAGES = {
    "busy": (503, b"<html>Our services aren't available right now</html>", {"Content-Type": "text/html"}),
    "broken": (500, {"error": "server_error", "error_description": "AADSTS90033: A transient error occurred."}, {}),
    "throttled": (429, {"error": "temporarily_unavailable"}, {"Retry-After": "7"}),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
@EACH_KIND
def test_an_outage_of_the_authority_or_the_identity_endpoint_passes_by_itself(
    graph: Graph, world: SignIn, kind: CredentialKind, outage: Any
) -> None:
    client = client_of(graph, world, kind)
    (world.identity if kind is MANAGED else world.authority).outage = outage
    assert isinstance(failure(graph, client), GraphUnavailable)
    world.identity.outage = world.authority.outage = None
    assert graph.run(client.first_page(USERS)).read().records


# --- What the app lacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MANAGED, FEDERATED])
@pytest.mark.parametrize(
    "changed",
    [{"azure_client_id": HOME}, {"azure_client_id": None}],
    ids=["not the identity's client id", "no client id"],
)
def test_an_identity_that_the_app_lacks_is_not_the_tenants_to_repair(
    graph: Graph, world: SignIn, kind: CredentialKind, changed: dict[str, Any]
) -> None:
    clients = graph.clients(**world.settings | changed)
    told = failure(graph, clients.get(graph.organization(**world.prepare(kind))))
    assert isinstance(told, GraphRefused)
    assert (told.code, told.tenant_actionable) == ("CredentialUnavailable", False)
    assert told.message == "The app's managed identity got no token (status 400)."


def test_the_identity_is_not_taken_for_one_of_another_tenant(graph: Graph, world: SignIn) -> None:
    elsewhere = {"id": HOME, "tenantId": HOME}
    clients = graph.clients(**world.settings)
    client = clients.get(graph.organization(**world.prepare(MANAGED), **elsewhere))
    told = failure(graph, client)
    assert (told.code, told.tenant_actionable) == ("CredentialUnavailable", False)
    assert "another tenant" in told.message
    assert graph.asked() == {}


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_an_identitys_token_that_tells_no_tenant_is_not_sent(
    graph: Graph, world: SignIn, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph.tenant, "access_token", lambda: token)
    told = failure(graph, client_of(graph, world, MANAGED))
    assert told.code == "CredentialUnavailable"
    assert graph.asked() == {}


def _encrypted(made: x509.Certificate, key: rsa.RSAPrivateKey) -> str:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"p")
    )
    return (private + made.public_bytes(serialization.Encoding.PEM)).decode()


def _with_curve_key(made: x509.Certificate, key: rsa.RSAPrivateKey) -> str:
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + made.public_bytes(serialization.Encoding.PEM)).decode()


NO_CERTIFICATES: dict[str, Callable[[x509.Certificate, rsa.RSAPrivateKey], str]] = {
    "no base64": lambda made, key: "hunter2",
    "no file": lambda made, key: b64encode(b"hunter2").decode(),
    "no key": lambda made, key: made.public_bytes(serialization.Encoding.PEM).decode(),
    "no PEM": lambda made, key: "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----",
    "encrypted": _encrypted,
    "no RSA key": _with_curve_key,
}


@pytest.mark.parametrize("form", NO_CERTIFICATES.values(), ids=NO_CERTIFICATES.keys())
def test_what_is_no_certificate_is_told_by_its_name_and_not_shown(
    graph: Graph, world: SignIn, form: Callable[..., str]
) -> None:
    told = failure(graph, client_of(graph, world, CERTIFICATE, stored=form(*certificate())))
    assert (told.code, told.tenant_actionable) == ("CredentialUnavailable", False)
    assert told.message.startswith("The secret contoso-1 in Key Vault holds no certificate with its RSA key")
    assert "hunter2" not in told.message


LACKING: dict[str, tuple[Callable[[SignIn], Any], str]] = {
    "no secret": (lambda world: world.vault.values.clear(), "is missing"),
    "an empty one": (lambda world: world.vault.values.update({NAME: ""}), "is empty"),
    "one that is not enabled": (lambda world: world.vault.disabled.add(NAME), "(SecretDisabled)"),
    "no role": (lambda world: setattr(world.vault, "may_read", False), "(ForbiddenByRbac)"),
    "a reason that is no name": (
        lambda world: setattr(
            world.vault, "outage", (403, {"error": {"code": "x", "innererror": {"code": "contoso.example"}}}, {})
        ),
        "(status 403)",
    ),
    "a redirect": (
        lambda world: setattr(world.vault, "outage", (307, {}, {"Location": f"{world.vault.url}/secrets/b/"})),
        "(status 307)",
    ),
    "a vault that asks for tokens of another host": (
        lambda world: setattr(world.vault, "resource", "https://vault.evil.example"),
        "KEY_VAULT_URL names no Key Vault",
    ),
}  # fmt: skip


@STORED
@pytest.mark.parametrize(("spoil", "words"), LACKING.values(), ids=LACKING.keys())
def test_a_value_that_the_vault_does_not_give_is_the_operators_to_repair(
    graph: Graph, world: SignIn, kind: CredentialKind, spoil: Callable[[SignIn], Any], words: str
) -> None:
    client = client_of(graph, world, kind)
    world.vault.values["b"] = world.vault.values[NAME]
    spoil(world)
    told = failure(graph, client)
    assert isinstance(told, GraphRefused)
    assert (told.code, told.tenant_actionable) == ("CredentialUnavailable", False)
    assert words in told.message
    assert (NAME in told.message) is ("KEY_VAULT_URL" not in words)
    assert world.vault.reads.count("b") == 0
    assert world.authority.requests == []


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
@pytest.mark.parametrize("at", ["vault", "identity"])
def test_an_outage_on_the_way_to_the_vault_passes_by_itself(graph: Graph, world: SignIn, at: str, outage: Any) -> None:
    client = client_of(graph, world, SECRET)
    getattr(world, at).outage = outage
    assert isinstance(failure(graph, client), GraphUnavailable)
    world.vault.outage = world.identity.outage = None
    assert graph.run(client.first_page(USERS)).read().records


@pytest.mark.parametrize("host", ["vault", "identity"])
def test_a_host_that_is_not_there_may_be_there_later(
    graph: Graph, world: SignIn, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.settings
    if host == "vault":
        settings["key_vault_url"] = "https://127.0.0.1:1"
    else:
        monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    client = graph.clients(**settings).get(graph.organization(**world.prepare(SECRET)))
    told = failure(graph, client)
    assert isinstance(told, GraphUnavailable)
    assert told.code == "NoAnswer"


# --- Rotation -----------------------------------------------------------------------------------------------------


def rotate(world: SignIn, kind: CredentialKind, *, in_the_vault: bool) -> None:
    """The application's credential is replaced at Entra, and in the vault or not yet."""
    if kind is SECRET:
        world.authority.secret = "another-secret"
        replaced = world.authority.secret
    else:
        world.authority.certificates = [certificate(number=1)[0]]
        replaced = pfx(*certificate(number=1))
    if in_the_vault:
        world.vault.values[NAME] = replaced


@STORED
def test_a_value_that_was_replaced_is_read_anew_when_the_old_one_is_refused(
    graph: Graph, world: SignIn, kind: CredentialKind
) -> None:
    world.authority.lifetime = 0
    client = client_of(graph, world, kind)
    graph.run(client.first_page(USERS))
    rotate(world, kind, in_the_vault=True)
    assert graph.run(client.first_page(GROUPS)).read().records
    assert graph.run(client.first_page(GROUPS)).read().records
    assert world.vault.reads == [NAME] * 2
    assert len(world.authority.requests) == 4


@STORED
def test_a_value_that_is_still_the_old_one_is_not_shown_to_entra_again(
    graph: Graph, world: SignIn, kind: CredentialKind
) -> None:
    world.authority.lifetime = 0
    client = client_of(graph, world, kind)
    graph.run(client.first_page(USERS))
    rotate(world, kind, in_the_vault=False)
    assert failure(graph, client).code == "EncounteredCredentialError"
    assert len(world.authority.requests) == 2
    assert world.vault.reads == [NAME] * 2
    rotate(world, kind, in_the_vault=True)
    assert graph.run(client.first_page(USERS)).read().records


@AT_THE_AUTHORITY
def test_a_token_that_graph_refuses_is_replaced_by_one_of_what_is_stored_now(
    graph: Graph, world: SignIn, kind: CredentialKind
) -> None:
    client = client_of(graph, world, kind)
    graph.run(client.first_page(USERS))
    if kind is not FEDERATED:
        rotate(world, kind, in_the_vault=True)
    graph.fault(status=401, times=1)
    assert graph.run(client.first_page(USERS)).read().records
    assert len(world.authority.requests) == 2


# --- One for each organization ------------------------------------------------------------------------------------


@AT_THE_AUTHORITY
def test_an_organization_signs_in_once(graph: Graph, world: SignIn, kind: CredentialKind) -> None:
    organization = graph.organization(**world.prepare(kind))
    clients = graph.clients(**world.settings)
    for part in (USERS, GROUPS, USERS):
        graph.run(clients.get(organization).first_page(part))
    assert len(world.authority.requests) == 1


def test_the_identity_vouches_for_all_organizations_with_one_token(graph: Graph, world: SignIn) -> None:
    clients = graph.clients(**world.settings)
    registered = graph.organization(**world.prepare(FEDERATED))
    for key in range(3):
        graph.run(clients.get(Organization(key, registered.entity)).first_page(USERS))
    assert len(world.authority.requests) == 3
    assert world.identity.requests == [AUDIENCES[world.region]]


def test_a_registration_that_says_something_else_signs_in_anew(graph: Graph, world: SignIn) -> None:
    clients = graph.clients(**world.settings)
    by_secret = graph.organization(**world.prepare(SECRET))
    first = clients.get(by_secret)
    graph.run(first.first_page(USERS))
    renamed = graph.organization(**world.prepare(SECRET), name="fabrikam.com", parts=["users"])
    assert clients.get(renamed) is first
    world.vault.values["another"] = world.authority.secret
    changes: list[dict[str, Any]] = [
        {"credential": {"kind": "secret", "keyVaultSecret": "another"}},
        {"application": {**APPLICATION, "clientId": HOME}},
        {"region": "China"},
        {"id": HOME, "tenantId": HOME},
        world.prepare(FEDERATED),
    ]
    known = [first]
    for change in changes:
        known.append(clients.get(graph.organization(**{**world.prepare(SECRET), **change})))
        assert len(set(known)) == len(known)
    # Whoever was reading with the old one reads on.
    assert graph.run(first.first_page(GROUPS)).read().records
    world.prepare(FEDERATED)
    assert graph.run(known[-1].first_page(USERS)).read().records


def test_the_clients_can_be_closed_and_used_again(graph: Graph, world: SignIn) -> None:
    settings = {"graph_url": graph.tenant.url, **world.settings}
    clients = GraphClients(Settings.model_validate(settings), lambda: datetime.now(UTC))
    for kind in (FEDERATED, SECRET):
        organization = graph.organization(**world.prepare(kind))
        for _ in range(2):
            assert graph.run(clients.get(organization).first_page(USERS)).read().records
            graph.run(clients.close())
