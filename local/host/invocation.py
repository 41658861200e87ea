"""Runs one function once: arguments and outputs as the Python worker and the host treat them."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum

from .metadata import Binding, FunctionInfo, HostStartupError
from .queues import MessageQueue

log = logging.getLogger("local.host")

_thread_local = threading.local()


class InvocationFailed(Exception):
    """The function raised, or what it gave could not be delivered; already logged with its traceback."""


class OutValue(func.Out[Any]):
    """The value that a function sets on an output parameter."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value


class InvocationContext(func.Context):
    """The `context` argument; tracing and retries are there in form only."""

    def __init__(self, function: FunctionInfo, invocation_id: str) -> None:
        self._function = function
        self._invocation_id = invocation_id

    @property
    def invocation_id(self) -> str:
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        return _thread_local

    @property
    def function_name(self) -> str:
        return self._function.name

    @property
    def function_directory(self) -> str:
        return self._function.directory

    @property
    def trace_context(self) -> Any:
        parent = f"00-{uuid.UUID(self._invocation_id).hex}-{self._invocation_id[:8]}{self._invocation_id[-8:]}-00"
        return SimpleNamespace(trace_parent=parent, trace_state="", attributes={})

    @property
    def retry_context(self) -> Any:
        return SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)


def thread_count(settings: Mapping[str, str]) -> int:
    """The worker's number of threads for sync functions."""
    text = settings.get("PYTHON_THREADPOOL_THREAD_COUNT")
    if text is None:
        return min(32, (os.cpu_count() or 1) + 4)
    if not text.isdigit() or not 1 <= int(text) <= 32:
        raise HostStartupError(f"PYTHON_THREADPOOL_THREAD_COUNT must be a number from 1 to 32, not {text!r}")
    return int(text)


def decode_trigger(function: FunctionInfo, datum: Datum, metadata: Mapping[str, Datum] | None = None) -> Any:
    """The trigger argument, made by azure.functions' own converter."""
    converter: Any = _converter(function.trigger.type)
    return converter.decode(datum, trigger_metadata=dict(metadata or {}))


def queue_messages(datum: Datum) -> list[str | bytes]:
    """The messages that the host writes for one queue output: text that is a JSON array is one message per item."""
    value: Any = datum.value
    if datum.type == "bytes":
        return [value]
    if datum.type == "string":
        text = value.strip()
        if (text[:1], text[-1:]) not in (("{", "}"), ("[", "]")):
            return [value]
        parsed = json.loads(text)
        return [_message_text(item) for item in parsed] if isinstance(parsed, list) else [value]
    parsed = json.loads(value)
    items = parsed if isinstance(parsed, list) else [parsed]
    return [_message_text(item["body"] if isinstance(item, dict) and "body" in item else item) for item in items]


def _message_text(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item)


def _converter(binding_type: str) -> Any:
    registry: Any = func.get_binding_registry()
    return registry.get(binding_type)


def _encode(binding: Binding, value: Any) -> Datum:
    try:
        return _converter(binding.type).encode(value, expected_type=None)
    except NotImplementedError:
        raise TypeError(
            f'unable to encode outgoing TypedData: unsupported type "{binding.type}" '
            f'for Python type "{type(value).__name__}"'
        ) from None


class Invoker:
    """Invokes functions and delivers what they give."""

    def __init__(
        self, queue_of: Callable[[Binding], MessageQueue], threads: int, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.running = 0
        self._queue_of = queue_of
        self._on_change = on_change
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="function")

    def close(self) -> None:
        """Let the threads end; one that still runs after the grace period is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def invoke(self, function: FunctionInfo, trigger_value: Any, reason: str) -> Datum | None:
        """Run a function and deliver its queue outputs; gives its HTTP output where it has one."""
        invocation_id = str(uuid.uuid4())
        started = time.perf_counter()
        outcome = "Failed"
        self.running += 1
        log.debug("Executing '%s' (Reason='%s', Id=%s)", function.name, reason, invocation_id)
        try:
            result = await self._run(function, trigger_value, invocation_id)
            outcome = "Succeeded"
            return result
        except asyncio.CancelledError:
            outcome = "Cancelled"
            raise
        except Exception as error:
            log.exception("'%s' raised (Id=%s)", function.name, invocation_id)
            raise InvocationFailed(f"{function.name}: {type(error).__name__}") from error
        finally:
            self.running -= 1
            self._on_change()
            log.log(
                logging.INFO if outcome == "Succeeded" else logging.ERROR,
                "Executed '%s' (%s, Reason='%s', Id=%s, Duration=%.0fms)",
                function.name,
                outcome,
                reason,
                invocation_id,
                (time.perf_counter() - started) * 1000,
            )

    async def _run(self, function: FunctionInfo, trigger_value: Any, invocation_id: str) -> Datum | None:
        outs = {binding.name: OutValue() for binding in function.outputs}
        arguments: dict[str, Any] = {function.trigger.name: trigger_value, **outs}
        if function.wants_context:
            arguments["context"] = InvocationContext(function, invocation_id)
        if function.is_async:
            returned = await function.call(**arguments)
        else:
            context = contextvars.copy_context()
            returned = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: context.run(self._call_in_thread, function, arguments, invocation_id)
            )
        return await self._deliver(function, outs, returned)

    @staticmethod
    def _call_in_thread(function: FunctionInfo, arguments: dict[str, Any], invocation_id: str) -> Any:
        _thread_local.invocation_id = invocation_id
        return function.call(**arguments)

    async def _deliver(self, function: FunctionInfo, outs: Mapping[str, OutValue], returned: Any) -> Datum | None:
        if returned is not None and function.return_binding is None:
            raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
        values = [(binding, outs[binding.name].get()) for binding in function.outputs]
        # Everything is encoded before anything is sent: the worker answers with all outputs or with an error.
        encoded = [(binding, _encode(binding, value)) for binding, value in values if value is not None]
        if function.return_binding is not None:
            encoded.append((function.return_binding, _encode(function.return_binding, returned)))
        response: Datum | None = None
        for binding, datum in encoded:
            if binding.type == "http":
                response = datum
                continue
            for message in queue_messages(datum):
                await self._queue_of(binding).send(message)
        return response
