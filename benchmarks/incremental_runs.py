"""Incremental runs: what 100 changes cost in organizations of different sizes, beyond Graph's own answers."""

from __future__ import annotations

import statistics
import time

import httpx
from sqlalchemy import select

from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import KINDS, TITLES, Product, Tenant, Workbench, seconds
from shared.cache.database import Database
from shared.cache.tables import parts
from tests.databases import Kind

_CHANGES = 100
_ROUNDS = 7
_PARTS = ["users", "groups", "groupMembers"]


def measure(bench: Workbench) -> list[Result]:
    result = Result(4, f"An incremental run with {_CHANGES} changes, by the size of the organization")
    sizes = [bench.users // 10, bench.users, bench.users * 5]
    costs: dict[str, list[float]] = {TITLES[kind]: [] for kind in KINDS}
    for size in sizes:
        with bench.tenant(size, groups=max(10, size // 1000)) as tenant:
            for kind in KINDS:
                run, graph = _cost(bench, tenant, kind)
                beyond = run - graph
                costs[TITLES[kind]].append(beyond)
                told = f"{TITLES[kind]}, {size:,} users"
                result.figures += [Figure(told, run, "s"), Figure(f"{told}: Graph's own answers", graph, "s")]
    for kind in KINDS:
        beyond = costs[TITLES[kind]]
        result.judge_at_most(f"{TITLES[kind]}: largest / smallest organization", beyond[-1] / beyond[0], 1.2, "×")
        result.judge_at_most(f"{TITLES[kind]}: beyond Graph's own answers", max(beyond), 0.5, "s")
    labels = [f"{size:,}" for size in sizes]
    result.plots.append(Plot("Incremental run beyond Graph's answers, by users", "s", labels, costs, lines=True))
    return [result]


def _cost(bench: Workbench, tenant: Tenant, kind: Kind) -> tuple[float, float]:
    """Seconds of a run, and of Graph's answers to the same queries asked one after the other; medians."""
    with bench.databases.fresh(kind) as url, bench.product(url, tenant) as product:
        product.register(tenant.tenant_id, _PARTS)
        product.run("Full")
        database = Database(url)
        rounds: list[tuple[float, float]] = []
        number = 0
        while len(rounds) < _ROUNDS:
            number += 1
            if (found := _round(product, tenant, database, number)) is not None:
                rounds.append(found)
        database.close()
    return statistics.median(run for run, _ in rounds), statistics.median(graph for _, graph in rounds)


def _round(product: Product, tenant: Tenant, database: Database, number: int) -> tuple[float, float] | None:
    """One run and Graph's answers; None where a group was restored, for which its kind of links is read in full."""
    tenant.mutate(_CHANGES, seed=number)
    with database.read() as connection:
        links = connection.execute(select(parts.c.delta_link).where(parts.c.delta_link.is_not(None))).scalars().all()
    headers = {"Authorization": f"Bearer {tenant.token()}"}
    with httpx.Client(headers=headers) as client:
        began = time.perf_counter()
        for link in links:
            client.get(link).raise_for_status()
        graph = time.perf_counter() - began
    run = product.run("Incremental")
    if any(part["type"] == "Full" for part in run["parts"]):
        return None
    return seconds(run), graph
