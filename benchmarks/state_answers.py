"""How long requests about state take in the functions that answer them, in a process that does nothing else.

``python -m benchmarks.state_answers WARM_UP COUNT`` asks the database of DATABASE_URL, in no particular order, for the
state of its organizations: so many requests of each kind. It prints as JSON, by kind, the milliseconds of each; and of
as many queries and transactions that read nothing.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator

import azure.functions as func
from sqlalchemy import text

import function_app
from local.host.metadata import read_functions
from shared.cache import organizations
from shared.models.callers import EVERY_ORGANIZATION
from shared.models.organizations import Organization
from shared.services import services

KINDS = {"job": "get_synchronization_job", "syncState": "get_organization_sync_state"}


def request(kind: str, organization: Organization) -> func.HttpRequest:
    owner, job_id = str(organization.entity.application.object_id), organization.entity.job_id
    if kind == "job":
        route = {"version": "v1.0", "owner": "applications", "id": owner, "jobId": job_id}
        path = f"/v1.0/applications/{owner}/synchronization/jobs/{job_id}"
    else:
        route = {"id": organization.name}
        path = f"/organizations/{organization.name}/syncState"
    url = f"http://localhost:7071{path}"
    return func.HttpRequest(method="GET", url=url, headers={}, params={}, route_params=route, body=b"")


def timings(answer: Callable[..., func.HttpResponse], asked: list[func.HttpRequest]) -> Iterator[float]:
    for one in asked:
        began = time.perf_counter()
        status = answer(req=one).status_code
        yield (time.perf_counter() - began) * 1000
        assert status == 200


def queries(count: int) -> Iterator[float]:
    database, nothing = services().database, text("SELECT 1")
    for _ in range(count):
        began = time.perf_counter()
        database.rows(nothing, {})
        yield (time.perf_counter() - began) * 1000


def transactions(count: int) -> Iterator[float]:
    database, nothing = services().database, text("SELECT 1")
    for _ in range(count):
        began = time.perf_counter()
        with database.read() as connection:
            connection.execute(nothing)
        yield (time.perf_counter() - began) * 1000


def main() -> None:
    warm_up, count = int(sys.argv[1]), int(sys.argv[2])
    functions = {
        function.name: function.call for function in read_functions(function_app.app, {"SYNC_SCHEDULE": "0 0 0 1 1 *"})
    }
    with services().database.read() as connection:
        registered = organizations.list_all(connection, EVERY_ORGANIZATION)
    found: dict[str, list[float]] = {}
    for kind, name in KINDS.items():
        asked = [request(kind, one) for one in random.Random(kind).choices(registered, k=warm_up + count)]
        found[kind] = list(timings(functions[name], asked))[warm_up:]
    found["query"] = list(queries(count))
    found["transaction"] = list(transactions(count))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
