"""A large organization: memory and speed of a full run of users, groups and memberships, by size."""

from __future__ import annotations

from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import TITLES, Workbench, seconds

_PARTS = ["users", "groups", "groupMembers"]
_KIND = "sqlite"
_ARENAS = "2"
"""App setting of the platform's memory allocator: with as many arenas as it likes, threads that come and go hold some
thirty MiB that nobody uses."""
_GROUPS_SHARE = 0.078
"""With so many groups the simulated tenant has two memberships for each object."""


def measure(bench: Workbench) -> list[Result]:
    result = Result(5, f"Full runs of users, groups and memberships, by size ({TITLES[_KIND]})")
    sizes = [bench.users // 10, bench.users, bench.users * 5]
    peaks: list[float] = []
    speeds: list[float] = []
    for size in sizes:
        groups = int(size * _GROUPS_SHARE)
        with (
            bench.tenant(size - groups, groups=groups) as tenant,
            bench.databases.fresh(_KIND) as url,
            bench.product(url, tenant, MALLOC_ARENA_MAX=_ARENAS) as product,
        ):
            product.register(tenant.tenant_id, _PARTS)
            run = product.run("Full")
            peaks.append(product.peak_rss() / 2**20)
            rows = run["counts"]["countExported"]
            speeds.append(rows / seconds(run))
        told = f"{size:,} objects and {rows - size:,} memberships and ownerships"
        result.figures += [
            Figure(f"{told}: peak RSS of the worker", peaks[-1], "MiB"),
            Figure(told, speeds[-1], "rows/s"),
        ]
    result.remarks.append(f"The worker runs with the app setting MALLOC_ARENA_MAX={_ARENAS}.")
    result.judge_at_most("peak RSS of the worker", max(peaks), 200, "MiB")
    result.judge_at_most("peak RSS, largest / smallest", peaks[-1] / peaks[0], 1.2, "×")
    result.judge_at_least("speed, largest / middle", speeds[-1] / speeds[1], 0.8, "%")
    labels = [f"{size:,}" for size in sizes]
    result.plots.append(Plot("Peak RSS of the worker, by objects", "MiB", labels, {"worker": peaks}, lines=True))
    return [result]
