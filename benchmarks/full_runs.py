"""Full runs of one part: against a script that uses the SDK's own objects, against the bare limit, and run again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import KINDS, ROOT, TITLES, Product, Tenant, Workbench, processor_seconds, seconds
from shared.cache.database import Database
from shared.cache.tables import objects
from tests.databases import Kind

_Measured = tuple[float, list[Figure]]
"""Objects a second, and what each of them took of the processors."""
_SCRIPT_SHARE = 20
"""The script's speed does not depend on how many users there are, so it reads one in so many."""


def measure(bench: Workbench) -> list[Result]:
    against_script = Result(1, "A full run against the script that a user would write")
    against_limit = Result(2, "A full run against the bare limit")
    again = Result(3, "A full run again, with nothing changed")
    speeds: dict[str, list[float]] = {"product": [], "product, run again": [], "bare limit": [], "script": []}
    with bench.tenant(bench.users) as tenant:
        fetching = _printed_speed("bare_limit", tenant)
        again.figures.append(Figure("fetching and decoding the same pages, and no more", fetching, "objects/s"))
        for kind in KINDS:
            title = TITLES[kind]
            (first, first_costs), (second, second_costs), rewritten = _product(bench, tenant, kind)
            limit = _other(bench, tenant, kind, "bare_limit")
            script = _other(bench, tenant, kind, "script", bench.users // _SCRIPT_SHARE)
            for name, value in zip(speeds, (first, second, limit, script), strict=True):
                speeds[name].append(value)
            against_script.figures.append(Figure(f"{title}, product", first, "objects/s"))
            against_script.figures.append(Figure(f"{title}, script", script, "objects/s"))
            against_script.judge_at_least(f"{title}: product / script", first / script, 100, "×")
            against_limit.figures += [Figure(f"{title}, bare limit", limit, "objects/s")]
            against_limit.judge_at_least(f"{title}: product / bare limit", first / limit, 0.6, "%")
            against_limit.figures += first_costs
            again.figures += [Figure(f"{title}, run again", second, "objects/s"), *second_costs]
            again.judge_at_least(f"{title}: run again / first run", second / first, 2.5, "×")
            again.judge_at_most(f"{title}: rows rewritten", rewritten, 0.01, "%")
            again.remarks.append(
                f"{title}: 2.5 times the first run would be {2.5 * first / fetching:.0%} of what one gets who fetches "
                f"and decodes the pages and does no more; the product gets {second / fetching:.0%}."
            )
    labels = [TITLES[kind] for kind in KINDS]
    against_limit.plots.append(Plot(f"{bench.users:,} users, full run", "objects/s", labels, speeds))
    return [against_script, against_limit, again]


def _product(bench: Workbench, tenant: Tenant, kind: Kind) -> tuple[_Measured, _Measured, float]:
    """The first run and the same again, and the share of rows that the second one wrote."""
    with bench.databases.fresh(kind) as url, bench.product(url, tenant) as product:
        product.register(tenant.tenant_id, ["users"])
        product.load_libraries()
        processes = {"worker": product.process.pid, "tenant": tenant.pid}
        if kind == "postgresql":
            processes["server"] = bench.server_pid
        _, first = _run(bench, product, processes, TITLES[kind])
        run, second = _run(bench, product, processes, TITLES[kind])
        database = Database(url)
        with database.read() as connection:
            kept = connection.execute(select(func.count()).select_from(objects)).scalar_one()
        database.close()
    assert kept == bench.users
    return first, second, run["counts"]["countExported"] / kept


def _run(
    bench: Workbench, product: Product, processes: Mapping[str, int], title: str
) -> tuple[dict[str, Any], _Measured]:
    before = {name: processor_seconds(pid) for name, pid in processes.items()}
    run = product.run("Full")
    costs: list[Figure] = []
    for name, pid in processes.items():
        taken = processor_seconds(pid) - before[name]
        costs.append(Figure(f"{title}: processor time of the {name}", taken / bench.users * 1e6, "µs/object"))
    return run, (bench.users / seconds(run), costs)


def _other(bench: Workbench, tenant: Tenant, kind: Kind, program: str, *arguments: int) -> float:
    """Objects a second of one of the programs beside this one."""
    with bench.databases.fresh(kind) as url:
        return _printed_speed(program, tenant, url, *map(str, arguments))


def _printed_speed(program: str, tenant: Tenant, *arguments: str) -> float:
    command = [sys.executable, "-m", f"benchmarks.{program}", tenant.url, tenant.token(), *arguments]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    read, taken = printed.split()
    return int(read) / float(taken)
