"""Reads what a function app declares: its functions, their bindings, host.json and `%SETTING%` references."""

from __future__ import annotations

import inspect
import json
import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import azure.functions as func

SUPPORTED_TRIGGERS = ("httpTrigger", "timerTrigger", "queueTrigger")
SUPPORTED_OUTPUTS = ("http", "queue")

_built: weakref.WeakKeyDictionary[func.FunctionApp, list[Any]] = weakref.WeakKeyDictionary()

_SETTING = re.compile(r"%([^%]+)%")
_QUEUE_NAME = re.compile(r"^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")
_FUNCTION_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,126}$")
_TIMESPAN = re.compile(r"^(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?$")


class HostStartupError(Exception):
    """The app cannot be started as declared; the message says which function or setting is at fault."""


@dataclass(frozen=True)
class Binding:
    """One binding of a function, as function.json would describe it."""

    type: str
    name: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class FunctionInfo:
    """A function that the host can run."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    trigger: Binding
    outputs: tuple[Binding, ...]
    return_binding: Binding | None
    wants_context: bool
    directory: str
    disabled: bool


@dataclass(frozen=True)
class QueueOptions:
    """host.json `extensions.queues`, with the defaults of the storage extension."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    max_polling_interval: float = 60.0
    message_encoding: str = "base64"


@dataclass(frozen=True)
class HostOptions:
    """The parts of host.json that this host obeys."""

    route_prefix: str = "api"
    queues: QueueOptions = QueueOptions()


def parse_timespan(text: str) -> timedelta | None:
    """A .NET TimeSpan (`[d.]hh:mm[:ss[.fff]]`), or None where the text is not one."""
    match = _TIMESPAN.match(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds, fraction = match.groups(default="0")
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
        return None
    return timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=int(fraction.ljust(7, "0")) // 10,
    )


def read_host_options(host_json: Mapping[str, Any]) -> HostOptions:
    """host.json as options; a value that the real host refuses is refused here too."""
    extensions = host_json.get("extensions") or {}
    queues = extensions.get("queues") or {}
    batch_size = int(queues.get("batchSize", 16))
    if not 1 <= batch_size <= 32:
        raise HostStartupError(f"host.json: extensions.queues.batchSize must be 1 to 32, not {batch_size}")
    threshold = int(queues.get("newBatchThreshold", batch_size // 2))
    if threshold < 0:
        raise HostStartupError(f"host.json: extensions.queues.newBatchThreshold must not be negative, is {threshold}")
    max_dequeue = int(queues.get("maxDequeueCount", 5))
    if max_dequeue < 1:
        raise HostStartupError(f"host.json: extensions.queues.maxDequeueCount must be at least 1, is {max_dequeue}")
    encoding = str(queues.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise HostStartupError(f"host.json: extensions.queues.messageEncoding must be base64 or none, not {encoding}")
    polling = _seconds("maxPollingInterval", queues.get("maxPollingInterval", "00:01:00"))
    if polling < 0.1:
        raise HostStartupError("host.json: extensions.queues.maxPollingInterval must be at least 00:00:00.100")
    prefix = (extensions.get("http") or {}).get("routePrefix", "api")
    return HostOptions(
        route_prefix=str(prefix).strip("/"),
        queues=QueueOptions(
            batch_size=batch_size,
            new_batch_threshold=threshold,
            max_dequeue_count=max_dequeue,
            visibility_timeout=_seconds("visibilityTimeout", queues.get("visibilityTimeout", "00:00:00")),
            max_polling_interval=polling,
            message_encoding=encoding,
        ),
    )


def _seconds(key: str, value: Any) -> float:
    span = parse_timespan(str(value))
    if span is None:
        raise HostStartupError(f"host.json: extensions.queues.{key} is not a time span (hh:mm:ss): {value!r}")
    return span.total_seconds()


def resolve(text: str, settings: Mapping[str, str], function: str) -> str:
    """The text with every `%SETTING%` replaced; a missing setting stops the start and is named."""

    def replace(match: re.Match[str]) -> str:
        value = settings.get(match.group(1))
        if value is None:
            raise HostStartupError(
                f"function '{function}': '%{match.group(1)}%' does not resolve, "
                f"there is no application setting '{match.group(1)}'"
            )
        return value

    return _SETTING.sub(replace, text)


def read_functions(app: func.FunctionApp, settings: Mapping[str, str], directory: str = "") -> list[FunctionInfo]:
    """The functions of an app in the real host's order: by name, regardless of case."""
    built = _built.get(app)
    if built is None:
        # The library refuses to build an app twice, while tests start several hosts for the same app.
        built = _built[app] = app.get_functions()
    functions = [_read_function(item, settings, directory) for item in built]
    functions.sort(key=lambda function: function.name.upper())
    seen: set[str] = set()
    for function in functions:
        if function.name.lower() in seen:
            raise HostStartupError(f"function '{function.name}': the name must be unique within the function app")
        seen.add(function.name.lower())
    return functions


def _read_function(item: Any, settings: Mapping[str, str], directory: str) -> FunctionInfo:
    name = str(item.get_function_name())
    if not _FUNCTION_NAME.match(name):
        raise HostStartupError(f"'{name}' is not a valid function name")
    # The library's own JSON is what the worker sends to the host, so enums arrive as the host sees them.
    raw = json.loads(item.get_function_json())["bindings"]
    bindings = [_read_binding(entry, settings, name) for entry in raw]
    triggers = [binding for binding in bindings if binding.type.lower().endswith("trigger")]
    if len(triggers) != 1:
        raise HostStartupError(f"function '{name}' must have exactly one trigger, it has {len(triggers)}")
    trigger = triggers[0]
    if trigger.type not in SUPPORTED_TRIGGERS:
        raise HostStartupError(f"function '{name}': the local host does not run a {trigger.type}")
    outputs = [binding for binding in bindings if binding is not trigger]
    for binding in outputs:
        if binding.type not in SUPPORTED_OUTPUTS or binding.properties.get("direction") == "IN":
            raise HostStartupError(
                f"function '{name}': the local host has no {binding.type} binding ('{binding.name}')"
            )
    call = item.get_user_function()
    returned = next((binding for binding in outputs if binding.name == "$return"), None)
    named = tuple(binding for binding in outputs if binding is not returned)
    return FunctionInfo(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        trigger=trigger,
        outputs=named,
        return_binding=returned,
        wants_context=_wants_context(name, call, trigger, named),
        directory=directory,
        disabled=settings.get(f"AzureWebJobs.{name}.Disabled", "").lower() in ("1", "true"),
    )


def _read_binding(entry: Mapping[str, Any], settings: Mapping[str, str], function: str) -> Binding:
    properties = dict(entry)
    for key in ("schedule", "queueName"):
        if isinstance(properties.get(key), str):
            properties[key] = resolve(properties[key], settings, function)
    if "queueName" in properties:
        queue = str(properties["queueName"]).lower()
        if not _QUEUE_NAME.match(queue):
            raise HostStartupError(f"function '{function}': '{queue}' is not a valid queue name")
        properties["queueName"] = queue
    return Binding(type=str(properties["type"]), name=str(properties["name"]), properties=properties)


def _wants_context(name: str, call: Callable[..., Any], trigger: Binding, outputs: Iterable[Binding]) -> bool:
    """Whether the function takes `context`; its parameters must be exactly its bindings, as in the worker."""
    parameters = set(inspect.signature(call).parameters)
    bound = {trigger.name, *(binding.name for binding in outputs)}
    wants_context = "context" in parameters and "context" not in bound
    unbound = parameters - bound - {"context"}
    if unbound:
        raise HostStartupError(f"function '{name}': parameters without a binding: {', '.join(sorted(unbound))}")
    missing = bound - parameters
    if missing:
        raise HostStartupError(f"function '{name}': bindings without a parameter: {', '.join(sorted(missing))}")
    return wants_context
