"""What is asked of Graph in batches, and what becomes of each entry's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from shared.graph.batches import Answers
from shared.models.errors import GraphRefused, GraphThrottled, GraphUnavailable, PartFailure, SynchronizationFailure
from tests.graph.servers import ScriptedServer
from tests.graph.support import CHANNELS, MAILBOXES, USERS, Graph

Answer = Callable[[dict[str, Any], int], dict[str, Any] | None]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def at_once(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("shared.graph.batches.asyncio", SimpleNamespace(sleep=at_once))
    return waited


def user() -> dict[str, Any]:
    return {"status": 200, "body": {"value": "user"}}


def error(status: int, code: str = "x", **headers: Any) -> dict[str, Any]:
    return {"status": status, "headers": headers, "body": {"error": {"code": code, "message": "Secret words."}}}


def answering(other: ScriptedServer, answer: Answer) -> None:
    """Entries are answered by a function of the request and of how often the object was asked about; None: not at all.

    The answers come in an order of their own.
    """
    times: Counter[str] = Counter()

    def batch(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for request in requests:
            times[request["id"]] += 1
            told = answer(request, times[request["id"]])
            if told is not None:
                found.append({"id": request["id"], **told})
        return found[::-1]

    other.batch = batch


def ask(graph: Graph, other: ScriptedServer, *ids: str, part: Any = MAILBOXES, **changed: Any) -> Answers:
    return graph.run(graph.client(other.url, **changed).ask(part, ids))


def asked(other: ScriptedServer) -> list[list[str]]:
    return [sorted(request["id"] for request in batch) for batch in other.batches]


def test_every_mailbox_is_asked_about_once_in_one_batch(graph: Graph) -> None:
    wanted = {found["id"]: found["userPurpose"] for found in graph.truth("mailboxes")}
    ids = list(wanted)[:20]
    answers = graph.run(graph.client().ask(MAILBOXES, ids))
    assert answers == {object_id: [{"userPurpose": wanted[object_id]}] for object_id in ids}
    paths = graph.asked()
    assert (paths["/v1.0/$batch"], paths["/v1.0/users/{id}/mailboxSettings/userPurpose"]) == (1, 20)


def test_channels_are_asked_for_with_their_properties_page_by_page(graph: Graph) -> None:
    graph.control("/options", {"pageSize": 1})
    team = max(graph.truth("teams"), key=lambda team: sum(c["teamId"] == team["id"] for c in graph.truth("channels")))
    wanted = [channel for channel in graph.truth("channels") if channel["teamId"] == team["id"]]
    answers = graph.run(graph.client().ask(CHANNELS, [team["id"]]))
    assert answers == {team["id"]: [{k: v for k, v in channel.items() if k != "teamId"} for channel in wanted]}


def test_answers_are_told_apart_by_their_ids(graph: Graph, other: ScriptedServer) -> None:
    answering(other, lambda request, _: {"status": 200, "body": {"value": request["url"].split("/")[2]}})
    assert ask(graph, other, "a", "b") == {"a": [{"userPurpose": "a"}], "b": [{"userPurpose": "b"}]}


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "ResourceNotFound"),
        error(404, "Request_ResourceNotFound"),
        error(403, "MailboxNotEnabledForRESTAPI"),
        error(400, "MailboxNotHostedInExchangeOnline"),
        error(404, "ErrorInvalidUser"),
    ],
)
def test_who_has_no_mailbox_is_an_answer(graph: Graph, other: ScriptedServer, answer: dict[str, Any]) -> None:
    answering(other, lambda request, _: answer if request["id"] == "a" else user())
    assert ask(graph, other, "a", "b") == {"a": [], "b": [{"userPurpose": "user"}]}


@pytest.mark.parametrize("answer", [error(404), {"status": 404}, error(404, "UnknownError")])
def test_a_404_that_any_gateway_could_give_is_no_word_on_a_mailbox(
    graph: Graph, other: ScriptedServer, waits: list[float], answer: dict[str, Any]
) -> None:
    answering(other, lambda request, _: answer if request["id"] == "a" else user())
    answers = ask(graph, other, "a", "b")
    assert isinstance(answers["a"], GraphUnavailable)
    assert answers["b"] == [{"userPurpose": "user"}]


def test_a_short_wait_is_the_longest_of_the_batch_and_only_the_refused_are_asked_again(
    graph: Graph, other: ScriptedServer, waits: list[float]
) -> None:
    seconds = {"a": "3", "b": "9"}
    answering(
        other,
        lambda request, times: (
            error(429, **{"Retry-After": seconds[request["id"]]}) if request["id"] in seconds and times == 1 else user()
        ),
    )
    assert ask(graph, other, "a", "b", "c").keys() == {"a", "b", "c"}
    assert (asked(other), waits) == ([["a", "b", "c"], ["a", "b"]], [9])


@pytest.mark.parametrize("headers", [{"Retry-After": "31"}, {}])
def test_a_long_wait_and_one_of_unknown_length_are_left_to_the_caller(
    graph: Graph, other: ScriptedServer, waits: list[float], headers: dict[str, str]
) -> None:
    answering(other, lambda request, _: error(429, **headers) if request["id"] == "a" else user())
    answers = ask(graph, other, "a", "b")
    # What was answered is not asked for again.
    assert answers["b"] == [{"userPurpose": "user"}]
    assert isinstance(answers["a"], GraphThrottled)
    assert answers["a"].retry_after == float(headers.get("Retry-After", 60))
    with pytest.raises(GraphThrottled):
        ask(graph, other, "a")
    assert waits == []


def test_short_waits_without_end_are_left_to_the_caller(
    graph: Graph, other: ScriptedServer, waits: list[float]
) -> None:
    answering(other, lambda request, _: error(429, **{"Retry-After": "2"}) if request["id"] == "a" else user())
    assert isinstance(ask(graph, other, "a", "b")["a"], GraphThrottled)
    assert waits == [2, 2, 2]


def test_waits_are_not_added_up_for_longer_than_a_slice_has_time(
    graph: Graph, other: ScriptedServer, waits: list[float]
) -> None:
    # Each time one more is answered, and all others are told to wait.
    ids = [f"{number:02}" for number in range(20)]

    def answer(request: dict[str, Any], times: int) -> dict[str, Any]:
        return user() if int(request["id"]) < times else error(429, **{"Retry-After": "25"})

    answering(other, answer)
    answers = ask(graph, other, *ids)
    assert waits == [25, 25, 25]
    assert [object_id for object_id in ids if isinstance(answers[object_id], GraphThrottled)] == ids[4:]


@pytest.mark.parametrize("answer", [error(500), error(503), None, {"status": 200, "body": {"value": 5}}])
def test_an_object_that_fails_is_asked_about_again_and_then_told_apart(
    graph: Graph, other: ScriptedServer, waits: list[float], answer: dict[str, Any] | None
) -> None:
    answering(other, lambda request, _: answer if request["id"] == "a" else user())
    answers = ask(graph, other, "a", "b")
    assert isinstance(answers["a"], GraphUnavailable)
    assert "Secret" not in answers["a"].message
    assert answers["b"] == [{"userPurpose": "user"}]
    assert asked(other) == [["a", "b"], ["a"], ["a"]]
    assert len(waits) == 2


def test_an_object_that_failed_once_is_read(graph: Graph, other: ScriptedServer, waits: list[float]) -> None:
    answering(other, lambda request, times: error(502) if times == 1 else user())
    assert ask(graph, other, "a") == {"a": [{"userPurpose": "user"}]}
    assert len(waits) == 1


def test_when_everything_fails_graph_is_not_available(graph: Graph, other: ScriptedServer, waits: list[float]) -> None:
    answering(other, lambda request, _: error(500, "generalException"))
    with pytest.raises(GraphUnavailable) as raised:
        ask(graph, other, "a", "b")
    assert raised.value.code == "generalException"
    assert len(waits) == 2


def test_a_refused_object_is_told_with_the_permission_and_without_its_id(graph: Graph, other: ScriptedServer) -> None:
    answering(other, lambda request, _: error(403, "ErrorAccessDenied") if request["id"] == "a" else user())
    refusal = ask(graph, other, "a", "b")["a"]
    assert isinstance(refusal, GraphRefused)
    assert (refusal.code, refusal.status, refusal.tenant_actionable) == ("ErrorAccessDenied", 403, True)
    assert "MailboxSettings.Read" in refusal.message
    assert "/users/{id}/mailboxSettings/userPurpose" in refusal.message


@pytest.mark.parametrize("answer", [error(410, "resyncRequired"), error(409), error(400, "syncStateNotFound")])
def test_what_would_end_a_cursor_breaks_one_object_alone(
    graph: Graph, other: ScriptedServer, answer: dict[str, Any]
) -> None:
    answering(other, lambda request, _: answer if request["id"] == "a" else user())
    failure = ask(graph, other, "a", "b")["a"]
    assert isinstance(failure, PartFailure)
    assert failure.tenant_actionable is False


@pytest.mark.parametrize("link", ["https://graph.example/v1.0/x", "{url}.example/v1.0/x", "{url}/beta/x", 5])
def test_links_to_elsewhere_are_not_followed(graph: Graph, other: ScriptedServer, link: Any) -> None:
    following = link.format(url=other.url) if isinstance(link, str) else link
    body = {"value": [{"id": "c"}], "@odata.nextLink": following}
    answering(other, lambda request, _: {"status": 200, "body": body})
    failure = ask(graph, other, "t", part=CHANNELS)["t"]
    assert isinstance(failure, SynchronizationFailure)
    assert failure.code == "ForeignLink"
    assert asked(other) == [["t"]]


def test_a_list_that_links_back_ends(graph: Graph, other: ScriptedServer) -> None:
    def answer(request: dict[str, Any], times: int) -> dict[str, Any]:
        number = times % 2
        return {"status": 200, "body": {"value": [], "@odata.nextLink": f"{other.url}/v1.0/page{number}"}}

    answering(other, answer)
    failure = ask(graph, other, "t", part=CHANNELS)["t"]
    assert isinstance(failure, SynchronizationFailure)
    assert failure.code == "RepeatedLink"


@pytest.mark.parametrize("responses", [5, [5], [{"id": "a"}], None])
def test_what_is_no_batch_of_answers_is_asked_for_again(graph: Graph, other: ScriptedServer, responses: Any) -> None:
    other.batch = lambda requests: responses
    with pytest.raises(GraphUnavailable) as raised:
        ask(graph, other, "a")
    assert raised.value.code == "MalformedAnswer"


def test_a_batch_that_is_refused_as_a_whole_says_so(graph: Graph) -> None:
    graph.fault(path="/\\$batch", status=403)
    with pytest.raises(GraphRefused) as raised:
        graph.run(graph.client().ask(MAILBOXES, ["a"]))
    assert "POST /$batch answered 403" in raised.value.message
    assert "MailboxSettings.Read" in raised.value.message


@pytest.mark.parametrize("part", [MAILBOXES, CHANNELS], ids=lambda part: part.name)
@pytest.mark.parametrize("graph", [{}, {"users": 0, "groups": 0}], indirect=True)
def test_a_derived_part_is_probed_by_one_object_of_its_source(graph: Graph, part: Any) -> None:
    graph.run(graph.client().probe(part))
    if graph.truth("users"):
        graph.fault(path="userPurpose|/channels", status=403)
        with pytest.raises(GraphRefused) as raised:
            graph.run(graph.client().probe(part))
        assert part.permission in raised.value.message


def test_a_probe_names_the_permission_of_the_source_when_that_is_refused(graph: Graph) -> None:
    graph.fault(path="/users$", status=403)
    with pytest.raises(GraphRefused) as raised:
        graph.run(graph.client().probe(MAILBOXES))
    assert USERS.permission in raised.value.message


@pytest.mark.parametrize("status", [404, 405, 501])
def test_where_there_is_no_batch_the_objects_are_asked_about_one_by_one(graph: Graph, status: int) -> None:
    wanted = {found["id"]: found["userPurpose"] for found in graph.truth("mailboxes")}
    ids = [*list(wanted)[:5], "00000000-0000-0000-0000-000000000000"]
    graph.control("/faults", [{"path": r"/\$batch$", "status": status}])

    answers = graph.run(graph.client().ask(MAILBOXES, ids))

    assert answers == {object_id: [{"userPurpose": wanted[object_id]}] for object_id in ids[:5]} | {ids[5]: []}


def test_where_there_is_no_batch_an_error_is_still_that_of_its_object(graph: Graph) -> None:
    first, second = [found["id"] for found in graph.truth("mailboxes")][:2]
    faults = [{"path": r"/\$batch$", "status": 404}, {"path": f"/users/{first}/", "status": 403}]
    graph.control("/faults", faults)

    answers = graph.run(graph.client().ask(MAILBOXES, [first, second]))

    assert isinstance(answers[first], GraphRefused)
    assert not isinstance(answers[second], GraphRefused)
