"""App settings: what holds without any, and how an unusable one is refused."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from shared.settings import Settings


def test_nothing_has_to_be_set() -> None:
    settings = Settings.of({})
    assert settings.database_url == "sqlite:///organization-cache.db"
    assert settings.graph_url is None
    assert settings.sync_interval == timedelta(minutes=40)
    assert settings.slice_seconds == 60
    assert settings.lease == timedelta(minutes=2)
    assert settings.requeue_after == timedelta(minutes=5)


def test_an_app_setting_is_read_by_its_name_in_upper_case() -> None:
    settings = Settings.of({"DATABASE_URL": "postgresql+psycopg://cache@server/cache", "SYNC_INTERVAL_MINUTES": "5"})
    assert settings.database_url == "postgresql+psycopg://cache@server/cache"
    assert settings.sync_interval == timedelta(minutes=5)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:hunter2@server/cache",
        "postgresql://cache:hunter2@server/cache",
        "postgresql+psycopg2://hunter2",
        "sqlite://hunter2",
        "hunter2",
        "",
    ],
)
def test_an_unknown_database_is_refused_by_the_settings_name_and_without_its_value(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.of({"DATABASE_URL": url})
    assert "database_url" in str(refused.value).lower()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRAPH_PAGE_SIZE", "0"),
        ("GRAPH_PAGE_SIZE", "1000"),
        ("SLICE_SECONDS", "0"),
        ("LEASE_SECONDS", "-1"),
        ("SYNC_INTERVAL_MINUTES", "0"),
        ("SLICE_ATTEMPTS", "none"),
        ("GRAPH_URL", "graph.microsoft.com"),
        ("GRAPH_MAX_WAIT_SECONDS", "-1"),
        ("PUBLIC_URL", "http://cache.contoso.com"),
        ("PUBLIC_URL", "http://localhost.contoso.com"),
        ("PUBLIC_URL", "https://user:password@cache.contoso.com"),
        ("PUBLIC_URL", "https://cache.contoso.com?x=1"),
        ("PUBLIC_URL", "cache.contoso.com"),
        ("NOTIFICATION_DEBOUNCE_SECONDS", "-1"),
        ("NOTIFICATION_DEBOUNCE_SECONDS", "301"),
        ("AUTH_MODE", "no"),
        ("AUTH_TENANT_ID", "contoso.onmicrosoft.com"),
        ("AUTH_AUDIENCE", ""),
        ("AUTH_AUDIENCE", "api://one,,"),
        ("AUTH_REGION", "Germany"),
        ("AUTH_JWKS_URL", "http://keys.example.com/keys"),
        ("AUTH_JWKS_URL", "http://localhost.example.com/keys"),
        ("AUTH_JWKS_URL", "file:///etc/keys"),
    ],
)
def test_an_unusable_value_is_refused_by_the_settings_name(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.of({name: value})
    assert name in str(refused.value).upper()


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("https://cache.contoso.com/", "https://cache.contoso.com"),
        ("https://contoso.com/cache/", "https://contoso.com/cache"),
        ("http://127.0.0.1:7071", "http://127.0.0.1:7071"),
        ("http://localhost:7071", "http://localhost:7071"),
        ("http://[::1]:7071/", "http://[::1]:7071"),
    ],
)
def test_the_public_address_is_https_or_of_this_machine(given: str, root: str) -> None:
    assert Settings.of({"PUBLIC_URL": given}).public_root == root


def test_several_audiences_are_separated_by_commas() -> None:
    assert Settings.of({"AUTH_AUDIENCE": "api://one, https://two.example"}).auth_audience == (
        "api://one",
        "https://two.example",
    )


@pytest.mark.parametrize(
    "url", ["https://keys.example.com/keys", "http://127.0.0.1:7072/keys", "http://localhost/keys", "http://[::1]/keys"]
)
def test_keys_of_tokens_come_over_tls_or_from_this_machine(url: str) -> None:
    assert str(Settings.of({"AUTH_JWKS_URL": url}).auth_jwks_url) == url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///cache.db",
        "postgresql+psycopg://server/cache",
        "postgresql+psycopg://cache:hunter2@server/cache",
        "postgresql+psycopg://cache:@server/cache",
    ],
)
def test_tokens_log_a_user_in_to_postgresql_who_has_no_password(url: str) -> None:
    resource = "https://ossrdbms-aad.database.windows.net"
    with pytest.raises(ValidationError) as refused:
        Settings.of({"DATABASE_URL": url, "DATABASE_TOKEN_RESOURCE": resource})
    assert "database_token_resource" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    good = Settings.of({"DATABASE_URL": "postgresql+psycopg://cache@server/cache", "DATABASE_TOKEN_RESOURCE": resource})
    assert good.database_tokens_for == resource


@pytest.mark.parametrize("resource", ["http://database.example.com", "database.example.com", "https://x.example/y"])
def test_tokens_are_asked_for_a_host_by_https(resource: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.of({"DATABASE_URL": "postgresql+psycopg://cache@server/cache", "DATABASE_TOKEN_RESOURCE": resource})
    assert "database_token_resource" in str(refused.value)
