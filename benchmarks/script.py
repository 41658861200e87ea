"""The script that a user would write: msgraph-sdk's objects, next links, one upsert per object, a commit per page.

``python -m benchmarks.script TENANT_URL TOKEN DATABASE_URL USERS`` reads so many users and prints how many
it read, and the seconds that took.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from typing import Any

import httpx
import psycopg
from kiota_abstractions.authentication.api_key_authentication_provider import (
    ApiKeyAuthenticationProvider,
    KeyLocation,
)
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph.generated.users.delta.delta_request_builder import DeltaRequestBuilder
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory
from sqlalchemy import make_url

from shared.models.parts import CATALOGUE, PartName

_COLUMNS = ("id", "display_name", "mail", "user_principal_name", "account_enabled", "job_title", "department")
_TABLE = f"CREATE TABLE people ({', '.join(f'{name} TEXT' for name in _COLUMNS)}, PRIMARY KEY (id))"


async def synchronize(tenant: str, token: str, database: Any, mark: str, wanted: int) -> int:
    adapter = GraphRequestAdapter(
        ApiKeyAuthenticationProvider(KeyLocation.Header, f"Bearer {token}", "Authorization"),
        GraphClientFactory.create_with_default_middleware(client=httpx.AsyncClient(timeout=100)),
    )
    adapter.base_url = f"{tenant}/v1.0"
    client = GraphServiceClient(request_adapter=adapter)
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
    marks = ", ".join(mark for _ in _COLUMNS)
    upsert = f"INSERT INTO people VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {updates}"
    options = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(select=list(CATALOGUE[PartName.USERS].select))
    request = RequestConfiguration(query_parameters=options)
    request.headers.add("Prefer", "odata.maxpagesize=999")
    page = await client.users.delta.get(request_configuration=request)
    read = 0
    while True:
        assert page is not None
        assert page.value is not None
        for user in page.value:
            values = [getattr(user, name) for name in _COLUMNS]
            database.execute(upsert, [None if value is None else str(value) for value in values])
        database.commit()
        read += len(page.value)
        if page.odata_next_link is None or read >= wanted:
            return read
        page = await client.users.delta.with_url(page.odata_next_link).get(request_configuration=request)


def main() -> None:
    tenant, token, url, wanted = sys.argv[1], sys.argv[2], make_url(sys.argv[3]), int(sys.argv[4])
    if url.get_backend_name() == "sqlite":
        database, mark = sqlite3.connect(str(url.database)), "?"
    else:
        database = psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
        mark = "%s"
    database.execute(_TABLE)
    database.commit()
    began = time.perf_counter()
    read = asyncio.run(synchronize(tenant, token, database, mark, wanted))
    print(read, time.perf_counter() - began)


if __name__ == "__main__":
    main()
