"""Nobody gets in who should not: tokens of every wrong kind, and the permissions of right ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

import function_app
from local.host.metadata import read_functions
from local.tenant import TenantServer
from local.tenant.issuer import LOGIN, READ, READ_WRITE, STS
from tests.api.support import check_error, check_headers, rows, small_tenant
from tests.api.tokens import (
    API,
    OTHER_TENANT,
    bearer,
    claims,
    key_fetches,
    protected_application,
    raw_token,
    reader,
    token,
    writer,
)
from tests.application import NAME, Application
from tests.databases import Databases

ROOT = Path(__file__).parents[2]
FUNCTIONS = read_functions(function_app.app, {"SYNC_SCHEDULE": "0 * * * * *"})
HTTP_FUNCTIONS = [function for function in FUNCTIONS if function.trigger.type == "httpTrigger"]
OPEN = {
    "get_docs",
    "get_health",
    "get_openapi",
    "get_troubleshooting",
    "receive_lifecycle_notifications",
    "receive_notifications",
}
"""The functions that everybody may call; every other one asks for a token."""
STATE = f"/organizations/{NAME}/syncState"
FAR = 86_400 * 365


@pytest.fixture(scope="module")
def issuer() -> Iterator[TenantServer]:
    """A tenant whose token service keeps its key for the whole module."""
    with small_tenant() as tenant:
        yield tenant


@pytest.fixture(scope="module")
def product(issuer: TenantServer, databases: Databases) -> Iterator[Application]:
    """One product for all attacks, with an organization that is the operator's."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        databases.fresh("sqlite") as url,
        protected_application(monkeypatch, url, issuer) as application,
    ):
        answer = application.client.post("/organizations", json=application.registration(), headers=writer(issuer))
        answer.raise_for_status()
        yield application


@pytest.fixture
def changing(issuer: TenantServer, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Application]:
    """A product of the test's own, and a tenant whose token service may be changed."""
    with small_tenant(seed=6) as tenant, protected_application(monkeypatch, sqlite_url, tenant) as application:
        yield application


def challenge(answer: httpx.Response) -> dict[str, str]:
    """The parameters of the answer's Bearer challenge."""
    scheme, _, parameters = answer.headers["WWW-Authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', parameters))


# --- Every route ---------------------------------------------------------------------------------------------------


def filled(template: str) -> str:
    """A path of the template, whatever its parameters stand for."""
    return "/" + re.sub(r"\{\*?(\w+)\}", lambda name: "v1.0" if name[1] == "version" else "x", template)


@pytest.mark.parametrize("function", HTTP_FUNCTIONS, ids=lambda function: function.name)
def test_every_function_asks_for_a_token_unless_it_is_declared_open(product: Application, function: Any) -> None:
    properties = function.trigger.properties
    for method in properties["methods"]:
        answer = product.client.request(method, filled(properties["route"]))

        assert (answer.status_code != 401) == (function.name in OPEN)
        if function.name not in OPEN and method != "HEAD":
            check_error(answer, 401, "InvalidAuthenticationToken")


@pytest.mark.parametrize(
    "path", ["/health", "/docs/troubleshooting/x", "/notifications/graph", "/openapi.json", "/docs"]
)
def test_who_uses_the_wrong_method_on_an_open_path_is_told_so_and_not_sent_for_a_token(
    product: Application, path: str
) -> None:
    answer = product.client.put(path)

    check_error(answer, 405)
    assert answer.headers["Allow"] in ("GET", "POST")


def test_no_function_asks_for_a_key_beside_the_token() -> None:
    assert {function.trigger.properties["authLevel"] for function in HTTP_FUNCTIONS} == {"ANONYMOUS"}


# --- Tokens of every wrong kind ------------------------------------------------------------------------------------


def public_key(tenant: TenantServer, kind: serialization.PublicFormat, encoding: serialization.Encoding) -> bytes:
    return tenant.tenant.issuer.key()[1].public_key().public_bytes(encoding, kind)


def signed_with_the_public_key(tenant: TenantServer, kind: str = "pem") -> str:
    """HS256, with what everybody knows for a secret: what an API accepts that believes the header's algorithm."""
    key_id, _ = tenant.tenant.issuer.key()
    secret = {
        "pem": public_key(tenant, serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM),
        "der": public_key(tenant, serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER),
        "jwk": orjson.dumps(tenant.tenant.issuer.published()["keys"][0]),
    }[kind]
    unsigned = raw_token({"alg": "HS256", "typ": "JWT", "kid": key_id}, claims(tenant)).rpartition(".")[0]
    signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def without_signature(tenant: TenantServer, algorithm: str | None) -> str:
    header = {"typ": "JWT", "kid": tenant.tenant.issuer.key()[0], "alg": algorithm}
    return raw_token({name: value for name, value in header.items() if value is not None}, claims(tenant))


def signed_by_somebody_else(tenant: TenantServer, **header: Any) -> str:
    """The right claims, the right key's id, another key."""
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    headers = {"kid": tenant.tenant.issuer.key()[0], **header}
    return jwt.encode(claims(tenant), own, algorithm="RS256", headers=headers)


def with_own_key_inside(tenant: TenantServer) -> str:
    """As above, and the header offers the key that it can be checked with."""
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    offered = RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)
    headers = {"kid": tenant.tenant.issuer.key()[0], "jwk": offered, "jku": "https://attacker.example/keys"}
    return jwt.encode(claims(tenant), own, algorithm="RS256", headers=headers)


def changed_afterwards(tenant: TenantServer) -> str:
    header, _, signature = token(tenant, READ).split(".")
    return ".".join((header, raw_token({}, claims(tenant, READ_WRITE)).split(".")[1], signature))


def signed_otherwise(tenant: TenantServer, algorithm: str) -> str:
    key_id, key = tenant.tenant.issuer.key()
    return jwt.encode(claims(tenant), key, algorithm=algorithm, headers={"kid": key_id})


def now() -> int:
    return int(time.time())


ATTACKS: dict[str, Callable[[TenantServer], str]] = {
    "garbage": lambda tenant: "garbage",
    "garbage in three parts": lambda tenant: "a.b.c",
    "five parts, as if it were encrypted": lambda tenant: "a.b.c.d.e",
    "no UTF-8 inside": lambda tenant: base64.urlsafe_b64encode(b"\xff\xfe").decode() + ".e30.e30",
    "a header that is a list": lambda tenant: base64.urlsafe_b64encode(b"[]").decode() + ".e30.e30",
    "a header of depth": lambda tenant: base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".e30.e30",
    "claims that are a list": lambda tenant: tenant.tenant.issuer.sign(cast("dict[str, Any]", [claims(tenant)])),
    "alg none": lambda tenant: without_signature(tenant, "none"),
    "alg None": lambda tenant: without_signature(tenant, "None"),
    "alg empty": lambda tenant: without_signature(tenant, ""),
    "no alg": lambda tenant: without_signature(tenant, None),
    "RS256 without a signature": lambda tenant: without_signature(tenant, "RS256"),
    "HS256 with the public key, PEM": signed_with_the_public_key,
    "HS256 with the public key, DER": lambda tenant: signed_with_the_public_key(tenant, "der"),
    "HS256 with the public key, JWK": lambda tenant: signed_with_the_public_key(tenant, "jwk"),
    "another algorithm of the same key": lambda tenant: signed_otherwise(tenant, "PS256"),
    "a longer hash with the same key": lambda tenant: signed_otherwise(tenant, "RS512"),
    "signed by somebody else": signed_by_somebody_else,
    "signed by somebody else, key inside": with_own_key_inside,
    "changed afterwards": changed_afterwards,
    "a critical extension": lambda tenant: tenant.tenant.issuer.sign(claims(tenant), crit=["x"], x="1"),
    "an unknown key": lambda tenant: signed_by_somebody_else(tenant, kid="unknown"),
    "another issuer": lambda tenant: token(tenant, iss="https://login.attacker.example/v2.0"),
    "another cloud": lambda tenant: token(
        tenant, iss=f"https://login.microsoftonline.us/{tenant.directory.tenant_id}/v2.0"
    ),
    "the issuer of another tenant": lambda tenant: token(tenant, iss=f"{LOGIN}/{OTHER_TENANT}/v2.0"),
    "the issuer with more behind it": lambda tenant: token(
        tenant, iss=f"{LOGIN}/{tenant.directory.tenant_id}/v2.0.attacker.example"
    ),
    "a list of issuers": lambda tenant: token(tenant, iss=[f"{LOGIN}/{tenant.directory.tenant_id}/v2.0"]),
    "another tenant than the issuer's": lambda tenant: token(tenant, tid=OTHER_TENANT),
    "a tenant in braces": lambda tenant: token(tenant, tid=f"{{{tenant.directory.tenant_id}}}", iss="x"),
    "a tenant that is none": lambda tenant: token(tenant, tid="common", iss=f"{LOGIN}/common/v2.0"),
    "a tenant that is a number": lambda tenant: token(tenant, tid=5),
    "no tenant": lambda tenant: token(tenant, tid=None),
    "no issuer": lambda tenant: token(tenant, iss=None),
    "another audience": lambda tenant: token(tenant, aud="00000003-0000-0000-c000-000000000000"),
    "Graph's audience": lambda tenant: token(tenant, aud="https://graph.microsoft.com"),
    "an audience that begins alike": lambda tenant: token(tenant, aud=f"{API}0"),
    "no audience": lambda tenant: token(tenant, aud=None),
    "an audience that is a number": lambda tenant: token(tenant, aud=5),
    "expired": lambda tenant: token(tenant, exp=now() - 300),
    "expired long ago": lambda tenant: token(tenant, exp=now() - FAR),
    "no end": lambda tenant: token(tenant, exp=None),
    "an end that is a text": lambda tenant: token(tenant, exp=str(now() + 3600)),
    "an end that is no number": lambda tenant: token(tenant, exp=float("nan")),
    "an end that is true": lambda tenant: token(tenant, exp=True),
    "not valid yet": lambda tenant: token(tenant, nbf=now() + 300),
    "a beginning that is a text": lambda tenant: token(tenant, nbf="0"),
    "an ID token": lambda tenant: token(tenant, azp=None, azpacr=None, nonce="n", ver="2.0"),
    "a token for the simulated Graph": lambda tenant: tenant.access_token(),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("method", "path"), [("GET", STATE), ("DELETE", f"/organizations/{NAME}")])
def test_a_token_that_cannot_be_trusted_is_refused(
    product: Application, issuer: TenantServer, attack: str, method: str, path: str
) -> None:
    given, before = ATTACKS[attack](issuer), rows(product)

    answer = product.client.request(method, path, headers=bearer(given))

    message = check_error(answer, 401, "InvalidAuthenticationToken")
    told = challenge(answer)
    assert told["error"] == "invalid_token"
    assert told["error_description"] == message
    assert rows(product) == before
    for part in given.split("."):
        assert len(part) < 6 or part not in answer.text + answer.headers["WWW-Authenticate"]


def test_what_is_attacked_is_open_to_the_right_token(product: Application, issuer: TenantServer) -> None:
    assert product.client.get(STATE, headers=reader(issuer)).status_code == 200


NO_TOKEN: dict[str, dict[str, str]] = {
    "no header": {},
    "an empty header": {"Authorization": ""},
    "no token": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
    "another scheme's name before": {"Authorization": "NotBearer abc"},
}


@pytest.mark.parametrize("headers", NO_TOKEN.values(), ids=NO_TOKEN)
def test_who_brings_no_token_is_told_where_to_get_one(product: Application, headers: dict[str, str]) -> None:
    answer = product.client.get(STATE, headers=headers)

    check_error(answer, 401, "InvalidAuthenticationToken")
    assert challenge(answer) == {"realm": "", "authorization_uri": f"{LOGIN}/common/oauth2/v2.0/authorize"}


def test_a_token_in_the_address_is_no_token(product: Application, issuer: TenantServer) -> None:
    given = token(issuer)
    for name in ("access_token", "code", "token"):
        answer = product.client.get(STATE, params={name: given})

        check_error(answer, 401)
        assert given not in answer.text


def test_two_tokens_are_none(product: Application, issuer: TenantServer) -> None:
    twice = [("Authorization", f"Bearer {token(issuer)}"), ("Authorization", f"Bearer {token(issuer)}")]

    check_error(product.client.get(STATE, headers=twice), 401)


def test_a_large_body_is_not_looked_at_before_the_token(product: Application, issuer: TenantServer) -> None:
    body = b'{"name": "' + b"a" * 2_000_000 + b'"}'
    sent: dict[str, Any] = {"content": body}

    without = product.client.post("/organizations", **sent, headers={"Content-Type": "application/json"})
    with_one = product.client.post(
        "/organizations", **sent, headers={"Content-Type": "application/json", **writer(issuer)}
    )

    check_error(without, 401)
    check_error(with_one, 413)


# --- Right tokens --------------------------------------------------------------------------------------------------


def v1(tenant: TenantServer, **changed: Any) -> str:
    """A token as Entra issues it for APIs that ask for version 1.0."""
    older = {"iss": f"{STS}/{tenant.directory.tenant_id}/", "aud": f"api://{API}", "ver": "1.0"}
    return token(tenant, **{**older, "appid": API, "azp": None, "azpacr": None, **changed})


RIGHT: dict[str, Callable[[TenantServer], str]] = {
    "version 2.0": lambda tenant: token(tenant),
    "version 2.0, the audience as a URI": lambda tenant: token(tenant, aud=f"api://{API}"),
    "version 1.0": v1,
    "version 1.0, the audience bare": lambda tenant: v1(tenant, aud=API),
    "delegated": lambda tenant: token(tenant, scp=f"openid {READ_WRITE} profile", roles=None),
    "a clock that is a minute behind": lambda tenant: token(tenant, exp=now() - 60),
    "a clock that is a minute ahead": lambda tenant: token(tenant, nbf=now() + 60, iat=now() + 60),
    "the permission among others": lambda tenant: token(tenant, "Other.Role", READ_WRITE),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_token_of_entra_is_taken(product: Application, issuer: TenantServer, kind: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {RIGHT[kind](issuer)}"}

        answer = product.client.get(STATE, headers=headers)

        assert answer.status_code == 200, answer.text
        check_headers(answer)


@pytest.mark.parametrize(
    ("region", "newer", "older"),
    [
        ("USGovernment", "https://login.microsoftonline.us/{}/v2.0", "https://sts.windows.net/{}/"),
        ("USDefence", "https://login.microsoftonline.us/{}/v2.0", "https://sts.windows.net/{}/"),
        ("China", "https://login.partner.microsoftonline.cn/{}/v2.0", "https://sts.chinacloudapi.cn/{}/"),
    ],
)
def test_a_national_clouds_tokens_are_taken_where_the_settings_say_so(
    issuer: TenantServer, monkeypatch: pytest.MonkeyPatch, sqlite_url: str, region: str, newer: str, older: str
) -> None:
    own = issuer.directory.tenant_id
    with protected_application(monkeypatch, sqlite_url, issuer, AUTH_REGION=region) as application:
        answers = [
            application.client.get("/organizations", headers=bearer(given))
            for given in (token(issuer, iss=newer.format(own)), v1(issuer, iss=older.format(own)), token(issuer))
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert challenge(answers[2])["authorization_uri"].startswith(newer.partition("/{}")[0])


def test_several_audiences_are_taken_and_no_form_of_them_that_entra_does_not_use(
    issuer: TenantServer, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    audiences = f"api://{API}, https://cache.contoso.example"
    with protected_application(monkeypatch, sqlite_url, issuer, AUTH_AUDIENCE=audiences) as application:
        told = {
            audience: application.client.get("/organizations", headers=bearer(token(issuer, aud=audience))).status_code
            for audience in (
                API,
                f"api://{API}",
                "https://cache.contoso.example",
                "api://https://cache.contoso.example",
            )
        }

    assert list(told.values()) == [200, 200, 200, 401]


# --- Permissions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reads", "writes"),
    [
        ({"roles": [READ]}, True, False),
        ({"roles": [READ_WRITE]}, True, True),
        ({"roles": [READ, READ_WRITE]}, True, True),
        ({"roles": []}, False, False),
        ({"roles": None}, False, False),
        ({"roles": ["Synchronization.Read", "synchronization.readwrite.all", "User.Read.All"]}, False, False),
        ({"roles": f"{READ} {READ_WRITE}"}, False, False),
        ({"roles": {READ_WRITE: True}}, False, False),
        ({"roles": None, "scp": READ}, True, False),
        ({"roles": None, "scp": f"{READ} {READ_WRITE}"}, True, True),
        ({"roles": None, "scp": [READ_WRITE]}, False, False),
        ({"roles": [READ_WRITE], "scp": "User.Read"}, False, False),
        ({"roles": [READ_WRITE], "scp": ""}, False, False),
        ({"roles": [READ_WRITE], "scp": READ}, True, False),
    ],
    ids=str,
)
def test_a_token_permits_what_its_roles_or_scopes_say(
    product: Application, issuer: TenantServer, given: dict[str, Any], reads: bool, writes: bool
) -> None:
    headers = bearer(token(issuer, **given))

    asked = product.client.get(STATE, headers=headers)
    done = product.client.post(f"/organizations/{NAME}/sync", headers=headers)

    assert (asked.status_code == 200, done.status_code == 202) == (reads, writes)
    for answer, permitted, needed in ((asked, reads, READ), (done, writes, READ_WRITE)):
        if not permitted:
            assert needed in check_error(answer, 403, "Authorization_RequestDenied")
            assert challenge(answer)["error"] == "insufficient_scope"
            assert challenge(answer)["scope"] == needed


@pytest.mark.parametrize("function", HTTP_FUNCTIONS, ids=lambda function: function.name)
def test_every_function_that_is_no_get_needs_the_permission_to_write(
    product: Application, issuer: TenantServer, function: Any
) -> None:
    for method in function.trigger.properties["methods"]:
        answer = product.client.request(method, filled(function.trigger.properties["route"]), headers=reader(issuer))

        assert (answer.status_code == 403) == (method != "GET" and function.name not in OPEN)


# --- The issuer's keys ---------------------------------------------------------------------------------------------


def test_the_keys_are_fetched_once_for_many_requests(changing: Application) -> None:
    assert changing.tenant
    for _ in range(20):
        assert changing.client.get("/organizations", headers=reader(changing.tenant)).status_code == 200

    assert key_fetches(changing.tenant) == 1


def test_a_flood_of_unknown_keys_makes_no_flood_of_questions(changing: Application) -> None:
    assert changing.tenant
    right, wrong = reader(changing.tenant), signed_by_somebody_else(changing.tenant, kid="first")
    changing.client.get("/organizations", headers=right)
    headers, _, rest = wrong.partition(".")
    for number in range(200):
        header = raw_token({"alg": "RS256", "kid": f"unknown-{number}"}, {}).partition(".")[0]
        answer = changing.client.get("/organizations", headers=bearer(f"{header}.{rest}"))
        assert answer.status_code == 401
        changing.clock.forward(seconds=1)

    # Two hundred seconds have passed since the first fetch.
    assert key_fetches(changing.tenant) <= 1 + 200 // 60 + 1
    assert changing.client.get("/organizations", headers=right).status_code == 200
    assert headers


def test_a_key_that_is_new_is_found_and_one_that_is_older_goes_on_being_good(changing: Application) -> None:
    assert changing.tenant
    older = reader(changing.tenant)
    assert changing.client.get("/organizations", headers=older).status_code == 200
    changing.tenant.tenant.issuer.rotate()
    newer = reader(changing.tenant)
    changing.clock.forward(minutes=2)

    assert changing.client.get("/organizations", headers=newer).status_code == 200
    assert changing.client.get("/organizations", headers=older).status_code == 200
    assert key_fetches(changing.tenant) == 2


def test_a_key_that_was_withdrawn_is_trusted_for_an_hour_at_most_and_its_client_told_to_ask_for_a_new_token(
    changing: Application,
) -> None:
    assert changing.tenant
    older = bearer(token(changing.tenant, exp=now() + 86_400))
    assert changing.client.get("/organizations", headers=older).status_code == 200
    changing.tenant.tenant.issuer.rotate(withdraw=True)
    changing.clock.forward(minutes=61)

    answer = changing.client.get("/organizations", headers=older)

    check_error(answer, 401)
    asked = json.loads(base64.b64decode(challenge(answer)["claims"]))
    since = int(asked["access_token"]["nbf"]["value"])
    assert asked == {"access_token": {"nbf": {"essential": True, "value": str(since)}}}
    assert abs(since - (now() + 61 * 60)) < 300


def silence(tenant: TenantServer, **rule: Any) -> None:
    """Lets the token service fail until the faults are lifted."""
    rules = [{"path": "/discovery/", "kind": "status", "status": 503, **rule}]
    httpx.post(f"{tenant.url}/control/faults", json=rules).raise_for_status()


def lift(tenant: TenantServer) -> None:
    httpx.delete(f"{tenant.url}/control/faults").raise_for_status()


UNUSABLE: dict[str, dict[str, Any]] = {
    "an error": {},
    "no answer": {"kind": "disconnect"},
    "half an answer": {"kind": "truncate"},
    "no JSON": {"kind": "malformed"},
    "no keys": {"kind": "rewrite", "find": '"keys":\\[.*\\]', "replace": '"keys":[]'},
    "keys for something else": {"kind": "rewrite", "find": '"use":"sig"', "replace": '"use":"enc"'},
    "something else": {"kind": "rewrite", "find": "^.*$", "replace": "[1, 2]"},
}


@pytest.mark.parametrize("rule", UNUSABLE.values(), ids=UNUSABLE)
def test_while_the_keys_cannot_be_had_the_answer_is_to_ask_again_and_not_that_the_token_is_wrong(
    changing: Application, rule: dict[str, Any]
) -> None:
    assert changing.tenant
    headers = reader(changing.tenant)
    silence(changing.tenant, **rule)
    for _ in range(5):
        answer = changing.client.get("/organizations", headers=headers)
        check_error(answer, 503, "serviceNotAvailable")
        assert answer.headers["Retry-After"] == "10"
    assert key_fetches(changing.tenant) == 1
    lift(changing.tenant)
    changing.clock.forward(seconds=11)

    assert changing.client.get("/organizations", headers=headers).status_code == 200


def test_known_keys_are_good_for_a_day_while_the_issuer_does_not_answer(changing: Application) -> None:
    assert changing.tenant
    headers = bearer(token(changing.tenant, exp=now() + 3 * 86_400))
    assert changing.client.get("/organizations", headers=headers).status_code == 200
    silence(changing.tenant)
    changing.clock.forward(hours=23)
    assert changing.client.get("/organizations", headers=headers).status_code == 200
    unknown = signed_by_somebody_else(changing.tenant, kid="unknown")
    assert changing.client.get("/organizations", headers=bearer(unknown)).status_code == 503
    changing.clock.forward(hours=2)

    check_error(changing.client.get("/organizations", headers=headers), 503)


def test_a_key_for_the_tokens_of_one_tenant_signs_no_others(changing: Application) -> None:
    assert changing.tenant
    own = changing.tenant.directory.tenant_id
    only = {"path": "/discovery/", "kind": "rewrite", "find": r"\{tenantid\}", "replace": OTHER_TENANT}
    httpx.post(f"{changing.tenant.url}/control/faults", json=[only]).raise_for_status()

    refused = changing.client.get("/organizations", headers=reader(changing.tenant, own))
    taken = changing.client.get("/organizations", headers=reader(changing.tenant, OTHER_TENANT))

    check_error(refused, 401)
    assert taken.status_code == 200


def test_the_clock_that_ends_tokens_is_the_services_own(changing: Application) -> None:
    assert changing.tenant
    headers = reader(changing.tenant)
    assert changing.client.get("/organizations", headers=headers).status_code == 200
    changing.clock.forward(hours=1, minutes=3)

    assert "expired" in check_error(changing.client.get("/organizations", headers=headers), 401)


# --- What is told, and to whom -------------------------------------------------------------------------------------


def test_logs_tell_who_changed_what_and_no_token(
    product: Application, issuer: TenantServer, caplog: pytest.LogCaptureFixture
) -> None:
    right, wrong = token(issuer, oid="3f3f3f3f-0000-4000-8000-000000000001", name="Adele Vance"), "a-wrong-token"
    with caplog.at_level(logging.DEBUG):
        done = product.client.post(f"/organizations/{NAME}/sync", headers=bearer(right))
        refused = product.client.post(f"/organizations/{NAME}/sync", headers=bearer(wrong))

    told = [line for line in caplog.text.splitlines() if done.headers["request-id"] in line]
    assert any(
        f"start_synchronization({NAME}) by application" in line
        and issuer.directory.tenant_id in line
        and line.endswith(": 202")
        for line in told
    )
    assert any("refused (401)" in line for line in caplog.text.splitlines() if refused.headers["request-id"] in line)
    for secret in (*right.split("."), wrong, "Adele Vance", "3f3f3f3f-0000-4000-8000-000000000001"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/docs/troubleshooting/TooManyDeletes", 200), (STATE, 200), (STATE, 401), ("/nothing", 404)],
)
def test_every_answer_has_the_headers_that_keep_browsers_from_mischief(
    product: Application, issuer: TenantServer, path: str, status: int
) -> None:
    answer = product.client.get(path, headers={} if status == 401 else reader(issuer))

    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy


def test_only_http_functions_have_an_address(product: Application, issuer: TenantServer) -> None:
    for function in FUNCTIONS:
        if function.trigger.type != "httpTrigger":
            for method in ("GET", "POST"):
                for path in (f"/{function.name}", f"/api/{function.name}", f"/runtime/webhooks/{function.name}"):
                    check_error(product.client.request(method, path, headers=writer(issuer)), 404)


# --- The start -----------------------------------------------------------------------------------------------------

ENTRA = {"AUTH_TENANT_ID": OTHER_TENANT, "AUTH_AUDIENCE": API}


def start(**settings: str) -> subprocess.CompletedProcess[str]:
    """What becomes of ``function_app.py`` where it is loaded as the worker does it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTH_", "WEBSITE_"))}
    program = [sys.executable, "-c", "import function_app"]
    return subprocess.run(program, cwd=ROOT, env={**kept, **settings}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "WEBSITE_POD_NAME", "CONTAINER_APP_NAME"])
def test_a_service_without_tokens_does_not_start_in_azure(name: str) -> None:
    done = start(AUTH_MODE="none", **{name: "x"}, **ENTRA)

    assert done.returncode != 0
    assert "AUTH_MODE=none" in done.stderr.splitlines()[-1]
    assert name in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("missing", [{"AUTH_TENANT_ID"}, {"AUTH_AUDIENCE"}, {"AUTH_TENANT_ID", "AUTH_AUDIENCE"}])
def test_a_service_that_does_not_know_whose_tokens_to_take_does_not_start(missing: set[str]) -> None:
    done = start(**{name: value for name, value in ENTRA.items() if name not in missing})

    assert done.returncode != 0
    assert "AUTH_TENANT_ID and AUTH_AUDIENCE must be set" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("settings", [ENTRA, {**ENTRA, "WEBSITE_SITE_NAME": "cache"}, {"AUTH_MODE": "none"}])
def test_a_service_that_is_protected_or_local_starts(settings: dict[str, str]) -> None:
    assert start(**settings).returncode == 0
