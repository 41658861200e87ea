"""A life of the product that is watched: telemetry is set up as by the Functions worker, then come runs and errors.

It has a process of its own, for OpenTelemetry is set up once in a process; what it prints is what a test is about.

    python -m tests.telemetry.program memory|worker DATABASE_URL TENANT_URL
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson


def keep_in_memory() -> Callable[[], dict[str, Any]]:
    """Has everything kept here; the function returned tells it."""
    from opentelemetry import metrics, trace
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, logs, reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()
    tracing, logging_ = TracerProvider(), LoggerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    logging_.add_log_record_processor(SimpleLogRecordProcessor(logs))
    trace.set_tracer_provider(tracing)
    set_logger_provider(logging_)
    metrics.set_meter_provider(MeterProvider([reader]))
    _logged_to(LoggingHandler(logger_provider=logging_))

    def read() -> list[dict[str, Any]]:
        data = reader.get_metrics_data()
        return [
            {"name": metric.name, "value": point.value, "attributes": dict(point.attributes or {})}
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint)
        ]

    def told() -> dict[str, Any]:
        return {
            "spans": [orjson.loads(span.to_json()) for span in spans.get_finished_spans()],
            "logs": [orjson.loads(log.to_json()) for log in logs.get_finished_logs()],
            "metrics": read(),
            "later": read(),
        }

    return told


def send_as_the_worker() -> Callable[[], dict[str, Any]]:
    """As azure-functions-runtime's ``initialize_azure_monitor``; the function returned sends what is left."""
    from azure.monitor.opentelemetry import configure_azure_monitor
    from opentelemetry import metrics, trace
    from opentelemetry._logs import get_logger_provider

    os.environ.setdefault("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "azure_functions")
    configure_azure_monitor(
        connection_string=os.environ["APPLICATIONINSIGHTS_CONNECTION_STRING"],
        logger_name=os.environ.get("PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME", ""),
    )
    _logged_to()

    def flush() -> dict[str, Any]:
        for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider()):
            provider.force_flush()  # pyright: ignore[reportAttributeAccessIssue]
        return {}

    return flush


def _logged_to(*handlers: Any) -> None:
    import logging

    # The worker takes in what is logged from this level on.
    logging.getLogger().setLevel(logging.INFO)
    for handler in handlers:
        logging.getLogger("shared").addHandler(handler)


def live(database_url: str, tenant_url: str) -> dict[str, Any]:
    """Runs that succeed, wait, fail and hold things back; told are the runs, and the cursors that they used."""
    import httpx
    import pytest
    from sqlalchemy import select

    from shared.cache.tables import parts, run_parts
    from tests.application import NAME, running_application

    home = httpx.get(tenant_url).raise_for_status().json()
    tenant: Any = SimpleNamespace(url=tenant_url, directory=SimpleNamespace(tenant_id=home["tenantId"]))
    changed = {"GRAPH_PAGE_SIZE": "10", "DELETION_THRESHOLD": "3", "GRAPH_MAX_WAIT_SECONDS": "1"}
    changed |= {name: os.environ[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}
    cursors: set[str] = set()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        running_application(monkeypatch, database_url, tenant, **changed) as app,
    ):

        def synchronize() -> str:
            run = app.start()
            columns = (parts.c.delta_link, run_parts.c.cursor, run_parts.c.delta_link)
            while app.host.call(_is_busy(app.host.host)):
                with app.services.database.read() as connection:
                    for column in columns:
                        cursors.update(link for (link,) in connection.execute(select(column)) if link)
            return run["activityIdentifier"]

        job = app.register()["jobId"]
        # One wait is short enough for the SDK to sit through; the other ends a slice. One part is refused.
        app.control("POST", "/faults", [
            {"path": "/users/delta", "status": 429, "retryAfter": 1, "times": 1},
            {"path": "/groups/delta", "status": 429, "retryAfter": 90, "times": 1},
            {"path": "/sites/", "status": 403, "times": 2},
        ])  # fmt: skip
        runs = [synchronize()]
        app.clock.forward(seconds=91)
        app.plan()
        users = [orjson.loads(line) for line in httpx.get(f"{tenant_url}/control/truth/users").text.splitlines()]
        known = [user for user in users if "@softDeleted" not in user]
        # Somebody is asked for by name, and somebody who is gone by an id that Graph's answer repeats.
        app.control("DELETE", f"/users/{known[0]['id']}?permanent=true")
        application = app.registration()["application"]["objectId"]
        for identifier in (known[1]["userPrincipalName"], known[0]["id"]):
            subjects = [{"objectId": identifier, "objectTypeName": "User"}]
            app.client.post(
                f"/v1.0/applications/{application}/synchronization/jobs/{job}/provisionOnDemand",
                json={"parameters": [{"ruleId": "M365OrgCache", "subjects": subjects}]},
            ).raise_for_status()
        # The record of one user cannot be read, and is put aside.
        broken = app.control("POST", "/users", {"displayName": "Zoë Zimmermann"})["id"]
        record, spoiled = f'{{"id":"{broken}"', f'{{"@removed":5,"id":"{broken}"'
        app.control(
            "POST", "/faults", [{"path": "/users/delta", "kind": "rewrite", "find": record, "replace": spoiled}]
        )
        runs.append(synchronize())
        for queue in ("sync-slices", "organization-plans", "organization-changes", "organization-subscriptions"):
            # The queue gave it up.
            app.host.call(app.host.host.queue(f"{queue}-poison").send("no message of ours"))
        app.host.fire_timer("check_parity")
        app.host.drain()
        # More is deleted than the job allows.
        for user in known[2:7]:
            app.control("DELETE", f"/users/{user['id']}")
        runs.append(synchronize())
        app.clock.forward(minutes=5)
        app.host.fire_timer("measure_synchronizations")
        return {"organization": NAME, "runs": runs, "cursors": sorted(cursors)}


async def _is_busy(host: Any) -> bool:
    """Whether something is left to do a moment later."""
    try:
        async with asyncio.timeout(0.02):
            await host.drain()
    except TimeoutError:
        return True
    return False


if __name__ == "__main__":
    finish = {"memory": keep_in_memory, "worker": send_as_the_worker}[sys.argv[1]]()
    lived = live(*sys.argv[2:])
    sys.stdout.buffer.write(orjson.dumps({**lived, **finish()}) + b"\n")
