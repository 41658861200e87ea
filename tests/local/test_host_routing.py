"""The local host routes requests as the Functions host does."""

from __future__ import annotations

from collections.abc import Iterator

import azure.functions as func
import httpx
import pytest

from local.host import FunctionsHost, HostServer, HostStartupError
from local.host.metadata import read_functions
from local.host.routing import Router, decode_path


def make_app(**routes: tuple[str | None, list[str] | None]) -> func.FunctionApp:
    """An app with one function per name, whose answer is its name and its route values."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    def add(name: str, route: str | None, methods: list[str] | None) -> None:
        @app.function_name(name)
        @app.route(route=route, methods=methods)
        def answer(req: func.HttpRequest) -> str:
            return f"{name} {sorted(req.route_params.items())}"

    for name, (route, methods) in routes.items():
        add(name, route, methods)
    return app


def winner(app: func.FunctionApp, path: str, method: str = "GET", order: str = "name") -> str | None:
    router = Router(read_functions(app, {}), "", order)  # type: ignore[arg-type]
    found = router.find(method, path)
    return found[0].function.name if found else None


@pytest.fixture(scope="module")
def server() -> Iterator[HostServer]:
    app = make_app(
        a_me=("people/me", ["GET"]),
        b_person=("people/{id}", ["GET"]),
        c_number=("numbers/{n:int}", None),
        d_optional=("files/{folder}/{name?}", None),
        e_unrouted=(None, None),
        z_rest=("{*rest}", ["GET", "POST"]),
    )
    with HostServer(app, settings={}) as running:
        yield running


def get(server: HostServer, path: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, f"{server.url}{path}")


def test_functions_are_tried_in_the_order_of_their_names(server: HostServer) -> None:
    assert get(server, "/api/people/me").text == "a_me []"
    assert get(server, "/api/people/you").text == "b_person [('id', 'you')]"


def test_a_literal_has_no_precedence_over_a_parameter_of_an_earlier_name() -> None:
    app = make_app(Details=("items/{id}", None), list=("items/list", None))
    assert winner(app, "/items/list") == "Details"


def test_the_order_of_names_ignores_case() -> None:
    app = make_app(Zebra=("{x}", None), ant=("{y}", None))
    assert winner(app, "/thing") == "ant"


def test_specificity_prefers_literals_then_constraints_then_parameters_then_catch_alls() -> None:
    app = make_app(
        a=("{*rest}", None), b=("x/{p}", None), c=("x/{p:int}", None), d=("x/y", None), e=("x/{p}/literal", None)
    )
    for path, name in {"/x/y": "d", "/x/7": "c", "/x/z": "b", "/x/z/literal": "e", "/x/z/other": "a"}.items():
        assert winner(app, path, order="specificity") == name


def test_a_route_behind_a_less_specific_one_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with HostServer(make_app(aa=("{*rest}", None), bb=("health", None)), settings={}):
        assert "'api/health' of 'bb' is tried after the less specific 'api/{*rest}' of 'aa'" in caplog.text


def test_routes_that_cannot_meet_are_not_warned_of() -> None:
    app = make_app(a=("x/{id}", ["GET"]), b=("x/y", ["POST"]), c=("y/{n:int}", None), d=("y/word", None))
    assert Router(read_functions(app, {}), "api").shadowed() == []


def test_routes_match_regardless_of_case(server: HostServer) -> None:
    assert get(server, "/API/People/ME").text == "a_me []"


def test_a_trailing_slash_is_ignored(server: HostServer) -> None:
    assert get(server, "/api/people/me/").text == "a_me []"


def test_route_values_are_percent_decoded_but_for_the_slash(server: HostServer) -> None:
    assert get(server, "/api/people/J%C3%BCrgen%20A").text == "b_person [('id', 'Jürgen A')]"
    assert get(server, "/api/people/a%2Fb").text == "b_person [('id', 'a%2Fb')]"
    assert decode_path(b"/a%252F%2f%41") == "/a%2F%2fA"


def test_an_optional_parameter_may_be_absent(server: HostServer) -> None:
    assert get(server, "/api/files/a").text == "d_optional [('folder', 'a')]"
    assert get(server, "/api/files/a/b").text == "d_optional [('folder', 'a'), ('name', 'b')]"


def test_a_constraint_lets_other_values_go_to_the_next_route(server: HostServer) -> None:
    assert get(server, "/api/numbers/12").text == "c_number [('n', '12')]"
    assert get(server, "/api/numbers/twelve").text == "z_rest [('rest', 'numbers/twelve')]"


def test_guid_and_alpha_constraints_are_known() -> None:
    app = make_app(a=("{id:guid}", None), b=("{word:alpha}", None))
    assert winner(app, "/0F8FAD5B-D9CB-469F-A165-70867728950E") == "a"
    assert winner(app, "/word") == "b"
    assert winner(app, "/word1") is None


def test_the_default_route_is_the_function_name(server: HostServer) -> None:
    assert get(server, "/api/e_unrouted").text == "e_unrouted []"


def test_a_catch_all_takes_the_rest_with_its_slashes_or_nothing(server: HostServer) -> None:
    assert get(server, "/api/x/y%20z/w").text == "z_rest [('rest', 'x/y z/w')]"
    assert get(server, "/api").text == "z_rest []"


def test_a_method_that_no_function_takes_there_falls_through_to_another_matching_route(server: HostServer) -> None:
    assert get(server, "/api/people/me", "POST").text == "z_rest [('rest', 'people/me')]"


def test_a_method_that_no_matching_route_takes_is_404_and_never_405(server: HostServer) -> None:
    response = get(server, "/api/people/me", "DELETE")
    assert (response.status_code, response.content) == (404, b"")


def test_an_unknown_route_is_404_with_an_empty_body(server: HostServer) -> None:
    response = get(server, "/elsewhere")
    assert (response.status_code, response.content) == (404, b"")


@pytest.mark.parametrize(("prefix", "path"), [("v1/x", "/v1/x/ping"), ("", "/ping")])
def test_the_route_prefix_of_host_json_is_used(prefix: str, path: str) -> None:
    host_json = {"extensions": {"http": {"routePrefix": prefix}}}
    with HostServer(make_app(p=("ping", None)), settings={}, host_json=host_json) as server:
        assert get(server, path).text == "p []"
        assert get(server, "/api/ping").status_code == 404


@pytest.mark.parametrize("route", ["{id:regex(^a$)}", "v{version}", "{id=7}", "{*rest}/more", "{a?}/{b}"])
def test_a_template_that_is_not_implemented_is_refused_with_the_function_named(route: str) -> None:
    with pytest.raises(HostStartupError, match="function 'odd'"):
        FunctionsHost(make_app(odd=(route, None)), settings={})


def test_two_functions_with_the_same_route_and_method_are_refused() -> None:
    with pytest.raises(HostStartupError, match=r"'b': the route specified conflicts .* 'a'"):
        FunctionsHost(make_app(a=("same/", ["GET"]), b=("Same", ["GET", "PUT"])), settings={})


def test_two_functions_may_share_a_route_with_different_methods() -> None:
    app = make_app(reader=("same", ["GET"]), writer=("same", ["PUT"]))
    assert (winner(app, "/same"), winner(app, "/same", "PUT")) == ("reader", "writer")


def test_a_route_in_the_reserved_space_is_refused() -> None:
    with pytest.raises(HostStartupError, match="built in routes"):
        FunctionsHost(make_app(a=("admin/things", None)), settings={})
