"""The local host hands requests to functions and their answers back as the Functions host does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import azure.functions as func
import httpx
import pytest

from local.host import FunctionsHost, HostServer, HostStartupError

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
entered = threading.Barrier(2, timeout=20)


@app.route(route="echo/{id}")
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    body = "|".join(
        [
            req.method,
            req.url,
            req.route_params["id"],
            repr(dict(req.params)),
            req.headers["X-One"],
            repr(req.get_body()),
        ]
    )
    return func.HttpResponse(body, status_code=201, headers={"X-Two": "2"}, mimetype="text/html", charset="utf-8")


@app.route(route="text")
def text(req: func.HttpRequest) -> str:
    return "grüße"


@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]


@app.route(route="broken")
def broken(req: func.HttpRequest) -> str:
    raise LookupError("secret detail")


@app.route(route="empty")
def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)


@app.route(route="cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("c")
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2")
    return response


@app.route(route="context")
def with_context(req: func.HttpRequest, context: func.Context) -> str:
    return f"{context.function_name} {len(context.invocation_id)}"


@app.route(route="blocking")
def blocking(req: func.HttpRequest) -> str:
    entered.wait()
    return "done"


@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)
def locked(req: func.HttpRequest) -> str:
    return "open"


@pytest.fixture(scope="module")
def server() -> Iterator[HostServer]:
    with HostServer(app, settings={"PYTHON_THREADPOOL_THREAD_COUNT": "4"}) as running:
        yield running


def test_a_request_arrives_complete(server: HostServer) -> None:
    response = httpx.put(
        f"{server.url}/api/echo/7?a=1&b=x%20y&A=2&none=", content=b"\x00b", headers=[("X-One", "p"), ("X-One", "q")]
    )
    method, url, identity, params, header, body = response.text.split("|")
    assert (method, identity, body) == ("PUT", "7", repr(b"\x00b"))
    assert url == f"{server.url}/api/echo/7?a=1&b=x%20y&A=2&none="
    assert header == "p,q"
    assert params == repr({"a": "1,2", "b": "x y"})


def test_a_response_keeps_its_status_headers_and_type(server: HostServer) -> None:
    response = httpx.get(f"{server.url}/api/echo/7", headers={"X-One": "1"})
    assert response.status_code == 201
    assert response.headers["x-two"] == "2"
    assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_a_returned_text_is_200_plain_text(server: HostServer) -> None:
    response = httpx.get(f"{server.url}/api/text")
    assert (response.status_code, response.text) == (200, "grüße")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_none_where_a_response_is_due_is_500_as_in_the_worker(server: HostServer) -> None:
    assert httpx.get(f"{server.url}/api/nothing").status_code == 500


def test_an_exception_is_500_with_an_empty_body_and_logged(
    server: HostServer, caplog: pytest.LogCaptureFixture
) -> None:
    response = httpx.get(f"{server.url}/api/broken")
    assert (response.status_code, response.content) == (500, b"")
    assert "LookupError: secret detail" in caplog.text


def test_204_has_no_body(server: HostServer) -> None:
    response = httpx.get(f"{server.url}/api/empty")
    assert (response.status_code, response.content) == (204, b"")


def test_several_cookies_are_several_headers(server: HostServer) -> None:
    response = httpx.get(f"{server.url}/api/cookies")
    assert response.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]


def test_the_context_is_passed_where_it_is_asked_for(server: HostServer) -> None:
    assert httpx.get(f"{server.url}/api/context").text == "with_context 36"


def test_sync_functions_do_not_block_the_loop(server: HostServer) -> None:
    async def both() -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            waiting = asyncio.create_task(client.get(f"{server.url}/api/blocking"))
            # The function waits at the barrier for this thread, so these answers come while it blocks its own.
            for _ in range(3):
                assert (await client.get(f"{server.url}/api/echo/1", headers={"X-One": "1"})).status_code == 201
            await asyncio.to_thread(entered.wait)
            assert (await waiting).text == "done"

    asyncio.run(both())


def test_many_concurrent_keep_alive_requests_are_answered(server: HostServer) -> None:
    async def many() -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client:
            for _ in range(3):
                answers = await asyncio.gather(*(client.get(f"{server.url}/api/text") for _ in range(100)))
                assert {answer.text for answer in answers} == {"grüße"}

    asyncio.run(many())


def test_keys_are_not_demanded_by_default(server: HostServer) -> None:
    assert httpx.get(f"{server.url}/api/locked").text == "open"


def test_with_a_function_key_the_level_function_demands_it() -> None:
    with HostServer(app, settings={}, function_keys=["k1"]) as server:
        url = f"{server.url}/api/locked"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, params={"code": "wrong"}).status_code == 401
        assert httpx.get(url, params={"code": "k1"}).text == "open"
        assert httpx.get(url, headers={"x-functions-key": "k1"}).text == "open"
        assert httpx.get(f"{server.url}/api/text").status_code == 200
        assert httpx.post(f"{server.url}/admin/functions/text", json={}).status_code == 401


def test_a_disabled_function_is_404() -> None:
    with HostServer(app, settings={"AzureWebJobs.text.Disabled": "true"}) as server:
        assert httpx.get(f"{server.url}/api/text").status_code == 404


def test_query_strings_and_bodies_are_not_logged(server: HostServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="local.host")
    httpx.post(f"{server.url}/api/text?token=hidden1", content="hidden2")
    assert "Executed 'text' (Succeeded" in caplog.text
    assert "hidden" not in "".join(record.getMessage() for record in caplog.records if record.name == "local.host")


def test_a_port_in_use_is_a_clear_error(server: HostServer) -> None:
    async def second() -> None:
        host = FunctionsHost(app, settings={}, port=int(server.url.rsplit(":", 1)[1]))
        with pytest.raises(HostStartupError, match=r"port .* is in use"):
            await host.start()
        await host.stop()

    asyncio.run(second())


def test_a_parameter_without_a_binding_is_refused() -> None:
    odd = func.FunctionApp()

    @odd.route(route="x")
    def unbound(req: func.HttpRequest, other: str) -> str:
        return other

    with pytest.raises(HostStartupError, match="'unbound': parameters without a binding: other"):
        FunctionsHost(odd, settings={})


def test_an_unsupported_trigger_is_refused_by_name() -> None:
    odd = func.FunctionApp()

    @odd.blob_trigger(arg_name="b", path="c/{name}", connection="AzureWebJobsStorage")
    def onblob(b: func.InputStream) -> None: ...

    with pytest.raises(HostStartupError, match="'onblob': the local host does not run a blobTrigger"):
        FunctionsHost(odd, settings={})
