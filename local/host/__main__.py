"""The command line: `python -m local.host --app /path/to/root --port 7071`."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import azure.functions as func

from .host import FunctionsHost
from .metadata import HostStartupError

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Runs a function app on this machine.")
    parser.add_argument("--app", type=Path, default=Path.cwd(), help="the directory of function_app.py")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=7071, help="0 takes any free port")
    parser.add_argument("--instances", type=int, default=1, help="simulated instances (queue consumers)")
    parser.add_argument("--function-key", action="append", default=[], help="demand this key; may be repeated")
    parser.add_argument("--no-timers", action="store_true", help="leave the schedules alone")
    parser.add_argument("--timer-state", type=Path, help="a file that keeps timer status across restarts (past due)")
    parser.add_argument("--in-process-queues", action="store_true", help="queues in memory whatever the settings say")
    parser.add_argument("--route-order", choices=("name", "specificity"), default="name", help="see local.host")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds for running invocations at the end")
    parser.add_argument("--log-level", choices=sorted(_LEVELS), default="info")
    parser.add_argument("-v", "--verbose", action="store_true", help="the same as --log-level debug")
    return parser.parse_args(arguments)


def load_settings(root: Path) -> None:
    """Put the Values of local.settings.json into the environment, which wins over them."""
    path = root / "local.settings.json"
    if not path.exists():
        return
    content = _read_json(path)
    if content.get("IsEncrypted"):
        raise HostStartupError(f"{path} is encrypted, which the local host cannot read")
    for name, value in (content.get("Values") or {}).items():
        os.environ.setdefault(name, str(value))


def load_app(root: Path) -> func.FunctionApp:
    """Import function_app.py and find its app, which may have any name, as for the worker."""
    if not (root / "function_app.py").exists():
        raise HostStartupError(f"there is no function_app.py in {root}")
    sys.path.insert(0, str(root))
    module = importlib.import_module("function_app")
    apps = {id(value): value for value in vars(module).values() if isinstance(value, func.FunctionRegister)}
    if len(apps) != 1:
        raise HostStartupError(f"function_app.py must have exactly one FunctionApp, it has {len(apps)}")
    app: Any = next(iter(apps.values()))
    return app


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise HostStartupError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise HostStartupError(f"{path} is not a JSON object")
    return content


def describe(host: FunctionsHost) -> str:
    """The functions as `func start` lists them."""
    lines = ["", "Functions:", ""]
    routes = {route.function.name: route for route in host.router.routes}
    for function in host.functions:
        route = routes.get(function.name)
        suffix = " (disabled)" if function.disabled else ""
        if route is None:
            lines.append(f"        {function.name}: {function.trigger.type}{suffix}")
        else:
            methods = ",".join(sorted(route.methods)) or "ALL"
            lines.append(f"        {function.name}: [{methods}] {host.url}/{route.template}{suffix}")
        lines.append("")
    return "\n".join(lines)


async def run(options: argparse.Namespace, app: func.FunctionApp, root: Path) -> int:
    """Run until a signal comes; gives the number of invocations that did not end in time."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ended.set)
        except NotImplementedError:
            # Windows has no signal handlers on its event loop.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ended.set))
    host = FunctionsHost(
        app,
        host_json=_read_json(root / "host.json"),
        timers=not options.no_timers,
        instances=options.instances,
        bind_address=options.host,
        port=options.port,
        function_keys=options.function_key,
        route_order=options.route_order,
        in_process_queues=options.in_process_queues,
        timer_state=options.timer_state,
        grace_seconds=options.grace,
        directory=str(root),
    )
    await host.start()
    print(describe(host))
    print(f"host listening on {host.url}", flush=True)
    await ended.wait()
    logging.getLogger("local.host").info("stopping, running invocations have %.0f s to end", options.grace)
    await host.stop()
    return host.running


def set_up_logging(level: int) -> None:
    """One line per record on stderr, in UTC; the libraries' own chatter from warnings on."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter("[%(asctime)s.%(msecs)03dZ] %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("azure", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a signal, 1 where the host could not start."""
    options = parse_arguments(arguments)
    set_up_logging(logging.DEBUG if options.verbose else _LEVELS[options.log_level])
    root = options.app.resolve()
    try:
        load_settings(root)
        app = load_app(root)
        # The worker runs in the app's directory.
        os.chdir(root)
        unfinished = asyncio.run(run(options, app, root))
    except HostStartupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        print("error: the function app could not be loaded", file=sys.stderr)
        return 1
    if unfinished:
        # A sync function that still runs cannot be cancelled, and the interpreter would wait for its thread.
        sys.stdout.flush()
        logging.shutdown()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
