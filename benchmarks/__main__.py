"""``python -m benchmarks [NAME ...]``: measures, keeps what was found in results/, and writes the report anew."""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from benchmarks import report
from benchmarks.results import save
from benchmarks.workbench import Workbench

NAMES = (
    "full_runs", "incremental_runs", "sizes", "cold_start", "state_requests", "planner", "latency", "workers",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the product.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; default: all")
    parser.add_argument("--users", type=int, default=200_000, help="the size of most benchmarks' tenant")
    given = parser.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    for name in given.names or NAMES:
        began = time.monotonic()
        with Workbench(given.users) as bench:
            for result in importlib.import_module(f"benchmarks.{name}").measure(bench):
                save(result, report.machine(bench))
                print(report.told(result), flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s\n", flush=True)
    report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
