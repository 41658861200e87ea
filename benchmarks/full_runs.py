"""Full runs of one part: against a script that uses the SDK's own objects, against the bare limit, and run again."""

from __future__ import annotations

import subprocess
import sys

from sqlalchemy import func, select

from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import KINDS, ROOT, TITLES, Tenant, Workbench, seconds
from shared.cache.database import Database
from shared.cache.tables import objects
from tests.databases import Kind

_SCRIPT_SHARE = 20
"""The script's speed does not depend on how many users there are, so it reads one in so many."""


def measure(bench: Workbench) -> list[Result]:
    against_script = Result(1, "A full run against the script that a user would write")
    against_limit = Result(2, "A full run against the bare limit")
    again = Result(3, "A full run again, with nothing changed")
    speeds: dict[str, list[float]] = {"product": [], "product, run again": [], "bare limit": [], "script": []}
    with bench.tenant(bench.users) as tenant:
        for kind in KINDS:
            title = TITLES[kind]
            first, second, rewritten = _product(bench, tenant, kind)
            limit = _other(bench, tenant, kind, "bare_limit")
            script = _other(bench, tenant, kind, "script", bench.users // _SCRIPT_SHARE)
            for name, value in zip(speeds, (first, second, limit, script), strict=True):
                speeds[name].append(value)
            against_script.figures.append(Figure(f"{title}, product", first, "objects/s"))
            against_script.figures.append(Figure(f"{title}, script", script, "objects/s"))
            against_script.judge_at_least(f"{title}: product / script", first / script, 100, "×")
            against_limit.figures += [Figure(f"{title}, bare limit", limit, "objects/s")]
            against_limit.judge_at_least(f"{title}: product / bare limit", first / limit, 0.6, "%")
            again.figures += [Figure(f"{title}, run again", second, "objects/s")]
            again.judge_at_least(f"{title}: run again / first run", second / first, 2.5, "×")
            again.judge_at_most(f"{title}: rows rewritten", rewritten, 0.01, "%")
    labels = [TITLES[kind] for kind in KINDS]
    against_limit.plots.append(Plot(f"{bench.users:,} users, full run", "objects/s", labels, speeds))
    return [against_script, against_limit, again]


def _product(bench: Workbench, tenant: Tenant, kind: Kind) -> tuple[float, float, float]:
    """Objects a second of the first run and of the same again, and the share of rows that the second one wrote."""
    with bench.databases.fresh(kind) as url, bench.product(url, tenant) as product:
        product.register(tenant.tenant_id, ["users"])
        first = product.run("Full")
        second = product.run("Full")
        database = Database(url)
        with database.read() as connection:
            kept = connection.execute(select(func.count()).select_from(objects)).scalar_one()
        database.close()
    assert kept == bench.users
    return kept / seconds(first), kept / seconds(second), second["counts"]["countExported"] / kept


def _other(bench: Workbench, tenant: Tenant, kind: Kind, program: str, *arguments: int) -> float:
    """Objects a second of one of the programs beside this one."""
    with bench.databases.fresh(kind) as url:
        command = [sys.executable, "-m", f"benchmarks.{program}", tenant.url, tenant.token(), url, *map(str, arguments)]
        printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    read, taken = printed.split()
    return int(read) / float(taken)
