"""A tenant that answers late: how much of the waiting for one page happens while others are waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from benchmarks.results import Figure, Result
from benchmarks.workbench import KINDS, TITLES, Product, Tenant, Workbench
from shared.cache.database import Database
from shared.cache.tables import organizations, run_parts, runs
from shared.models.parts import CATALOGUE, Part, PartName
from tests.databases import Kind

_LATENCY = 0.3
_PAGE_SIZE = 200
_USERS, _GROUPS, _SITES = 6_000, 400, 400
_AT_ONCE = 4
_INSTANCES = 16
"""Of each worker, and more than an organization has parts: a slice that waits for one would not wait for Graph."""
_PARTS = (PartName.USERS, PartName.GROUPS, PartName.GROUP_MEMBERS, PartName.SITES, PartName.TEAMS)


@dataclass(frozen=True, slots=True)
class _Chain:
    """Requests that need each other's answers: how many, and how long a loop took that made them."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Whole:
    """One organization's run: from the request for it to its end, and the parts' own times, in seconds."""

    began: datetime
    ended: datetime
    parts: dict[str, float]

    @property
    def seconds(self) -> float:
        return (self.ended - self.began).total_seconds()


def measure(bench: Workbench) -> list[Result]:
    result = Result(9, f"Waiting for Graph: {_LATENCY * 1000:.0f} ms an answer, pages of {_PAGE_SIZE}")
    users = min(bench.users, _USERS)
    with bench.tenant(users, _GROUPS, _SITES, latencyMs=round(_LATENCY * 1000)) as tenant:
        chains = _sequential(tenant)
        result.figures += [
            Figure(f"{name}: {chain.requests} requests one after the other", chain.seconds, "s")
            for name, chain in chains.items()
        ]
        alone = sum(chain.seconds for chain in chains.values())
        # The first token comes before everything else.
        least = (1 + max(chain.requests for chain in chains.values())) * _LATENCY
        result.figures += [
            Figure("an organization's parts one after the other", alone, "s"),
            Figure(f"{_AT_ONCE} organizations one after the other", alone * _AT_ONCE, "s"),
            Figure("a token and the longest part's requests, waiting alone", least, "s"),
        ]
        for kind in KINDS:
            title = TITLES[kind]
            (one,) = _runs(bench, tenant, kind, 1)
            several = _runs(bench, tenant, kind, _AT_ONCE)
            longest = max(one.parts, key=lambda name: one.parts[name])
            slowest = max(several, key=lambda run: run.seconds)
            together = max(run.ended for run in several) - min(run.began for run in several)
            result.figures += [
                Figure(f"{title}, its longest part, {longest}", one.parts[longest], "s"),
                Figure(f"{title}, one organization", one.seconds, "s"),
                Figure(f"{title}, {_AT_ONCE} organizations at once", together.total_seconds(), "s"),
            ]
            result.judge_at_most(
                f"{title}: one organization / its longest part", one.seconds / one.parts[longest], 1.1, "×"
            )
            result.judge_at_most(f"{title}: one organization / waiting alone", one.seconds / least, 1.1, "×")
            result.judge_at_most(
                f"{title}: the slowest of {_AT_ONCE} at once / its longest part",
                slowest.seconds / max(slowest.parts.values()),
                1.1,
                "×",
            )
            result.judge_at_most(
                f"{title}: {_AT_ONCE} organizations / one", together.total_seconds() / one.seconds, 1.1, "×"
            )
    result.remarks += [
        f"{users:,} users, {_GROUPS} groups and {_SITES} sites, first full runs of {', '.join(_PARTS)}; "
        f"each organization at a worker of its own, a process of {_INSTANCES} instances, so that no slice waits. "
        "An organization's time runs from the request for its run to the run's end: its longest part, and what the run "
        "takes before and after.",
        f"Organizations that began together wait in step: what is done with a page falls on the same moment for all of "
        f"them. That, on {len(os.sched_getaffinity(0))} cores which the tenant and the database use as well, is "
        "what several take longer than one.",
    ]
    return [result]


def _sequential(tenant: Tenant) -> dict[PartName, _Chain]:
    """Each part's pages and soft-deleted objects, read by a loop that waits for each answer."""
    with httpx.Client(base_url=f"{tenant.url}/v1.0", timeout=60) as client:
        client.headers["Authorization"] = f"Bearer {tenant.token()}"
        client.headers["Prefer"] = f"odata.maxpagesize={_PAGE_SIZE}"
        return {name: _chain(client, CATALOGUE[name]) for name in _PARTS}


def _chain(client: httpx.Client, part: Part) -> _Chain:
    began, requests = time.perf_counter(), 0
    starts = [f"/{part.collection}/delta?$select={','.join(part.select)}"]
    if part.deleted_items:
        starts.append(f"/directory/deletedItems/microsoft.graph.{part.deleted_items}?$select=id")
    for link in starts:
        while link:
            page = client.get(link).raise_for_status().json()
            requests += 1
            link = page.get("@odata.nextLink")
    return _Chain(requests, time.perf_counter() - began)


def _runs(bench: Workbench, tenant: Tenant, kind: Kind, number: int) -> Sequence[_Whole]:
    """First full runs of so many organizations, started at once, each at a worker of its own."""
    settings = {"GRAPH_PAGE_SIZE": str(_PAGE_SIZE)}
    with bench.databases.fresh(kind) as url, ExitStack() as opened:
        workers: dict[str, Product] = {}
        for index in range(number):
            product = opened.enter_context(
                bench.product(url, tenant, instances=_INSTANCES, many_tenants=True, **settings)
            )
            _warm_up(tenant, product, index)
            workers[f"contoso{index}.com"] = product
            product.register(str(UUID(int=index + 1)), list(_PARTS), f"contoso{index}.com")
        started = {name: product.start("Full", name) for name, product in workers.items()}
        for name, run_id in started.items():
            workers[name].finished(run_id, name)
        return [_read(url, name) for name in workers]


def _warm_up(tenant: Tenant, product: Product, number: int) -> None:
    """Has the process load everything: how long that takes is another benchmark's question."""
    product.register(str(UUID(int=1000 + number)), list(_PARTS), f"warm-up{number}.com")
    tenant.set_options(latencyMs=0)
    product.run("Full", f"warm-up{number}.com")
    tenant.set_options(latencyMs=round(_LATENCY * 1000))


def _read(url: str, name: str) -> _Whole:
    database = Database(url)
    mine = (
        runs.c.organization_id
        == select(organizations.c.organization_id).where(organizations.c.name == name).scalar_subquery()
    )
    with database.read() as connection:
        run: Any = connection.execute(select(runs).where(mine)).one()
        of_run = run_parts.c.organization_id == run.organization_id, run_parts.c.run_id == run.run_id
        parts = connection.execute(select(run_parts).where(*of_run)).all()
    database.close()
    return _Whole(
        run.queued_at, run.ended_at, {part.part: (part.ended_at - part.started_at).total_seconds() for part in parts}
    )
