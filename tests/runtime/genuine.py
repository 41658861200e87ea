"""The Functions host as the genuine runtime meets it: messages to the worker, and its outputs brought to the queues."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from azure.functions.meta import Datum

from local.host.invocation import queue_messages
from local.host.metadata import FunctionInfo
from local.host.routing import Router
from tests.runtime.environment import Environment

PROGRAM = Path(__file__).parent / "worker.py"
HOST = "https://cache.azurewebsites.net"


class InvocationFailed(Exception):
    """The function raised; the message is what the runtime tells the host of it."""


@dataclass(frozen=True)
class HttpAnswer:
    """What an HTTP function answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return orjson.loads(self.body)


class Worker:
    """A running worker; every call is a message of the host's protocol and gives the answer to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, content: str, **fields: Any) -> dict[str, Any]:
        """Sends a message with this content and waits for the response.

        Raises:
            InvocationFailed: The runtime says that it failed.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(orjson.dumps({content: fields}) + b"\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        assert told, "the worker ended; what it said is in the captured output"
        response = orjson.loads(told)
        # Protobuf's JSON leaves out what is zero, which of a status is Failure.
        if response["result"].get("status", "Failure") != "Success":
            raise InvocationFailed(response["result"]["exception"]["message"])
        return response


class GenuineApp:
    """The deployed app in a worker, with queues in memory.

    Attributes:
        functions: What the runtime has indexed, by name.
        queues: The messages on the queues.
    """

    def __init__(self, worker: Worker, router: Router, folder: Path) -> None:
        self._worker = worker
        self._router = router
        worker.ask("worker_init_request", host_version="4.0.0", function_app_directory=str(folder))
        indexed = worker.ask("functions_metadata_request", function_app_directory=str(folder))
        self.functions: dict[str, dict[str, Any]] = {
            function["name"]: function for function in indexed["function_metadata_results"]
        }
        for function in self.functions.values():
            worker.ask("function_load_request", function_id=function["function_id"], metadata=function)
        self.queues: defaultdict[str, deque[str]] = defaultdict(deque)

    def request(
        self, method: str, target: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """Has the function that the path leads to answer."""
        url = urlsplit(target)
        found = self._router.find(method, url.path)
        assert found, f"{method} {url.path} leads to no function"
        route, values = found
        http: dict[str, Any] = {
            "method": method,
            "url": HOST + target,
            "headers": {"host": urlsplit(HOST).netloc, **(headers or {})},
            "query": dict(parse_qsl(url.query)),
            "params": values,
        }
        if body is not None:
            http["headers"]["content-type"] = "application/json"
            http["body"] = {"bytes": base64.b64encode(orjson.dumps(body)).decode()}
        returned = self.invoke(route.function, {"http": http})
        answer = returned["http"]
        content = base64.b64decode(answer["body"]["bytes"]) if "bytes" in answer.get("body", {}) else b""
        return HttpAnswer(int(answer["status_code"]), answer["headers"], content)

    def fire(self, function: FunctionInfo) -> None:
        """What the host does when a timer's time has come."""
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        self.invoke(function, {"json": json.dumps(timer)})

    def deliver(self, function: FunctionInfo, body: str) -> None:
        """Hands a queue's message to the function that the queue triggers."""
        now = datetime.now(UTC)
        metadata = {
            "Id": {"string": str(uuid.uuid4())},
            "PopReceipt": {"string": "AgAAAAMAAAAAAAAA"},
            # What is neither text nor bytes is sent as JSON.
            "DequeueCount": {"json": "1"},
            "InsertionTime": {"json": json.dumps(now.isoformat())},
            "ExpirationTime": {"json": json.dumps((now + timedelta(days=7)).isoformat())},
            "NextVisibleTime": {"json": json.dumps((now + timedelta(minutes=10)).isoformat())},
        }
        self.invoke(function, {"string": body}, metadata)

    def invoke(
        self, function: FunctionInfo, trigger: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Runs a function; what it has put on queues is there afterwards, what it returned is given back."""
        response = self._worker.ask(
            "invocation_request",
            invocation_id=str(uuid.uuid4()),
            function_id=self.functions[function.name]["function_id"],
            input_data=[{"name": function.trigger.name, "data": trigger}],
            trigger_metadata=metadata or {},
        )
        queues = {
            output.name: str(output.properties["queueName"]) for output in function.outputs if output.type == "queue"
        }
        for output in response.get("output_data", ()):
            ((kind, value),) = output["data"].items()
            messages = queue_messages(Datum(value, kind))
            self.queues[queues[output["name"]]].extend(str(message) for message in messages)
        return response.get("return_value", {})


@contextmanager
def worker(environment: Environment, folder: Path, settings: Mapping[str, str]) -> Iterator[Worker]:
    """The genuine runtime on the package in this folder; of the machine's environment it knows what it must."""
    known = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    process = subprocess.Popen(
        [environment.python, PROGRAM, folder, environment.worker],
        cwd=folder,
        env={**known, **settings},
        stdin=PIPE,
        stdout=PIPE,
    )
    with process:
        yield Worker(process)
