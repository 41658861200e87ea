"""The command `python -m local.tenant`: serve one simulated tenant until interrupted."""

from __future__ import annotations

import argparse
import gc
import socket

import uvicorn

from local.tenant.directory import Directory
from local.tenant.options import Options
from local.tenant.server import DEFAULT_IDENTITY_HEADER, configure, create_app, listen


class _AnnouncingServer(uvicorn.Server):
    """Says where it listens once a request would be answered, which callers wait for."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"tenant listening on {self.url}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.tenant",
        description="A simulated Microsoft 365 tenant that speaks Graph's delta protocol.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7072, help="0 = any free port")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--groups", type=int, help="default: users/20, at least 10")
    parser.add_argument(
        "--sites", type=int, help="shared ones, half as many personal ones are added; default: users/50"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed and sizes give the same tenant")
    parser.add_argument("--page-size", type=int, default=200, help="of delta pages without odata.maxpagesize")
    parser.add_argument("--latency-ms", type=int, default=0, help="added to every answer of Graph")
    parser.add_argument("--identity-header", default=DEFAULT_IDENTITY_HEADER, help="what X-IDENTITY-HEADER must say")
    return parser.parse_args()


def main() -> None:
    given = _arguments()
    directory = Directory(given.users, given.seed, given.groups, given.sites)
    options = Options()
    options.change({"pageSize": given.page_size, "latencyMs": given.latency_ms})
    bound = listen(given.host, given.port)
    server = _AnnouncingServer(configure(create_app(directory, given.identity_header, options)))
    server.url = f"http://{given.host}:{bound.getsockname()[1]}"
    # What exists now stays for good: no need for the collector to look at it again and again.
    gc.freeze()
    server.run([bound])


if __name__ == "__main__":
    main()
