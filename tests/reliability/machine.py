"""A cache's life at random: its tenant changes, Graph fails, slices die, messages are lost and come twice, time jumps.

After every step nothing that a complete truth had shown is missing from the cache unless it went from the tenant since;
when the faults have stopped, the cache equals the tenant. The whole product works, over real HTTP; what a rule may do
is decided by the rules before it alone, never by how far the product has come, so that a life can be lived again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, Table, func, select

import shared.sync.interface as sync_interface
from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import escrows, held_deletions, run_parts, runs
from shared.models.parts import CATALOGUE
from shared.models.slices import SliceMessage
from shared.services import Services
from shared.triggers.messages import SLICES
from tests.application import APPLICATION, NAME, Application, running_application
from tests.databases import Databases, Kind
from tests.reliability import picture

FULL, INCREMENTAL = "Full", "Incremental"
UNFINISHED = ("Queued", "Running")
ROUNDS_TO_RECOVER = 12

SETTINGS = {
    "GRAPH_PAGE_SIZE": "5",
    # A wait ends the slice instead of costing the test's own time.
    "GRAPH_MAX_WAIT_SECONDS": "0",
}

PATHS = st.sampled_from(
    ["/users/delta", "/groups/delta", "/sites/delta", "/delta", "/directory/deletedItems", "/v1.0/", "/count"]
)
# What Graph, or what stands before it, answers in trouble; the word of one object's absence would be a lie.
STATUSES = st.sampled_from(
    [
        {"status": 429},
        {"status": 429, "retryAfter": 120},
        {"status": 429, "retryAfter": 7200},
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 503, "retryAfter": 300},
        {"status": 504},
        {"status": 509},
        {"status": 408, "code": "RequestTimeout"},
        {"status": 401},
        {"status": 403},
        {"status": 404, "code": "UnknownError"},
        {"status": 410},
        {"status": 400, "code": "syncStateNotFound"},
    ]
)
# Each leaves the record, or the page, visibly broken: nothing can make up for a lie that reads well.
REWRITES = st.sampled_from(
    [
        {"find": '\\{"id":"', "replace": '{"id":5,"was":"'},
        {"find": '\\{"id":"', "replace": '{"@removed":5,"id":"'},
        {"find": '"reason":"', "replace": '"reason":"perhaps '},
        {"find": '"members@delta":\\[[^\\]]*\\]', "replace": '"members@delta":5'},
        {"find": '"owners@delta":\\[[^\\]]*\\]', "replace": '"owners@delta":{}'},
        {"find": "@odata.deltaLink", "replace": "@odata.lostLink"},
        {"find": '"@odata.(next|delta)Link":"http://', "replace": '"@odata.nextLink":"http://elsewhere.'},
        {"find": '"value":', "replace": '"values":'},
    ]
)
FAULTS = st.builds(
    lambda path, fault, times, after, probability: {
        "path": path, **fault, "times": times, "after": after, "probability": probability
    },
    PATHS,
    STATUSES
    | REWRITES.map(lambda rewrite: {"kind": "rewrite", **rewrite})
    | st.sampled_from([{"kind": "malformed"}, {"kind": "truncate"}, {"kind": "disconnect"}])
    | st.just({"kind": "latency", "milliseconds": 30}),
    st.sampled_from([1, 2, 3, 8, None]),
    st.integers(0, 4),
    st.sampled_from([1.0, 1.0, 0.4]),
)  # fmt: skip
# Escrows alone would forget objects on somebody's demand: they may then differ until they change again.
SCOPES = st.sampled_from(
    ["None", "QuarantineState", "Watermark", "Full", "Full", "ConnectorDataStore", "Watermark,Escrows"]
)


@dataclass(frozen=True)
class Then:
    """What follows a step: faults of Graph's, a jump of the clock, a start, the planner's timer, and whether all is
    waited for."""

    faults: list[dict[str, Any]]
    jump: dict[str, float]
    start: str | None
    planned: bool
    drained: bool


THEN = st.builds(
    Then,
    st.lists(FAULTS, max_size=2),
    st.sampled_from(
        [{}, {"seconds": 20}, {"minutes": 3}, {"minutes": 6}, {"minutes": 45}, {"hours": 7}, {"hours": 25}, {"days": 8}]
    ),
    st.sampled_from([None, None, None, INCREMENTAL, INCREMENTAL, FULL]),
    st.booleans(),
    st.booleans(),
)
SOME_PARTS = st.none() | st.lists(st.sampled_from([part.value for part in CATALOGUE]), min_size=1, unique=True)
KINDS = st.sampled_from(["users", "users", "groups", "sites"])
SEEDS = st.integers(0, 2**16)

_in_slice: ContextVar[bool] = ContextVar("in_slice", default=False)


class Killed(BaseException):
    """The worker of a slice ends where it stands: no handler of the product's sees it."""


class DatabaseFailed(Exception):
    """The database ends a transaction that the slice had begun."""


class Killer:
    """Ends slices at a commit that a rule chose, before it or after it."""

    def __init__(self) -> None:
        self.struck: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._planned: tuple[int, bool, type[BaseException]] | None = None

    def plan(self, commits: int, *, after: bool, error: type[BaseException]) -> None:
        """Has the slice that comes to the commit of this number end there."""
        with self._lock:
            self._planned = commits, after, error

    def rest(self) -> None:
        """Nothing ends any more."""
        with self._lock:
            self._planned = None

    def attach(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes these services' write transactions the places where slices end."""
        write = services.database.write
        run_slice = sync_interface.run_slice

        @contextmanager
        def fragile() -> Generator[Connection]:
            ending = self._next() if _in_slice.get() else None
            with write() as connection:
                yield connection
                if ending is not None and not ending[0]:
                    raise ending[1]
            if ending is not None:
                raise ending[1]

        async def mortal(services: Services, message: SliceMessage) -> list[SliceMessage]:
            _in_slice.set(True)
            try:
                return await run_slice(services, message)
            except Killed:
                # The queue delivers the message of a dead worker again.
                raise RuntimeError("the slice's worker was killed") from None

        monkeypatch.setattr(services.database, "write", fragile)
        monkeypatch.setattr(sync_interface, "run_slice", mortal)

    def _next(self) -> tuple[bool, type[BaseException]] | None:
        with self._lock:
            if self._planned is None:
                return None
            left, after, error = self._planned
            self._planned = (left - 1, after, error) if left else None
            if left:
                return None
            self.struck[error.__name__] += 1
            return after, error


class Post:
    """The queue's messages on their way: recorded, and kept back for as long as a rule wants."""

    def __init__(self, application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str | bytes] = []
        self.kept: list[str | bytes] = []
        self.keep = 0
        queue = application.host.host.queue(SLICES)
        send = queue.send

        async def carry(body: str | bytes) -> None:
            self.sent.append(body)
            if self.keep:
                self.keep -= 1
                self.kept.append(body)
            else:
                await send(body)

        self._deliver = lambda body: application.host.call(send(body))
        monkeypatch.setattr(queue, "send", carry)

    def again(self, number: int) -> None:
        """Delivers one of the messages so far once more."""
        if self.sent:
            self._deliver(self.sent[-1 - number % len(self.sent)])

    def late(self) -> None:
        """Delivers what was kept back, the last first."""
        while self.kept:
            self._deliver(self.kept.pop())


def step(action: Callable[..., None]) -> Callable[..., None]:
    """A rule's action that is counted, and told when the life ends badly."""

    @wraps(action)
    def told(self: CacheLife, then: Then | None = None, **given: Any) -> None:
        self.figures["steps"] += 1
        told = ", ".join(f"{name}={value!r}" for name, value in given.items())
        self.history.append(f"{action.__name__}({told})" + (f" then {then}" if then else ""))
        with self.telling():
            action(self, **given)
            if then is not None:
                self.go_on(then)

    return told


class CacheLife(RuleBasedStateMachine):
    """One organization's cache beside its tenant, from the first run to the last.

    Attributes:
        databases: Where each life gets its own database from.
        kind: On which engine.
        figures: What all lives have been through, by what people call it.
    """

    databases: Databases
    kind: Kind
    figures: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.history: list[str] = []
        self.failed = False
        self.agreed: picture.Picture = frozenset()
        self.true: picture.Picture | None = None
        self.open = ExitStack()

    # --- The life's beginning and end ---------------------------------------------------------------------------------

    @initialize(seed=SEEDS, removed_in_initial_round=st.booleans(), announce=st.booleans())
    @step
    def register(self, seed: int, removed_in_initial_round: bool, announce: bool) -> None:
        options = Options(
            page_size=5,
            member_slice=3,
            replay_probability=0.1,
            empty_page_probability=0.1,
            removed_in_initial_round=removed_in_initial_round,
            announce_hard_deleted_links=announce,
        )
        url = self.open.enter_context(self.databases.fresh(self.kind))
        tenant = self.open.enter_context(TenantServer(Directory(users=30, groups=8, sites=6, seed=seed), options))
        monkeypatch = self.open.enter_context(pytest.MonkeyPatch.context())
        self.application = self.open.enter_context(running_application(monkeypatch, url, tenant, **SETTINGS))
        self.tenant = self.open.enter_context(httpx.Client(base_url=tenant.url, timeout=30))
        self.killer = Killer()
        self.killer.attach(self.application.services, monkeypatch)
        self.post = Post(self.application, monkeypatch)
        self.application.register()
        self.application.synchronize()
        self.figures["lives"] += 1

    def teardown(self) -> None:
        if not hasattr(self, "post"):
            self.open.close()
            return
        try:
            if not self.failed:
                with self.telling():
                    self.recover()
        finally:
            self.count_faults()
            self.figures.update({f"slices ended by {name}": number for name, number in self.killer.struck.items()})
            with self.application.services.database.read() as connection:
                self.figures["runs"] += _number(connection, runs)
                self.figures["slices"] += int(connection.execute(select(func.sum(run_parts.c.fence))).scalar_one() or 0)
            self.open.close()

    # --- What changes the tenant --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 8), seed=SEEDS, then=THEN)
    @step
    def mutate(self, count: int, seed: int) -> None:
        self.change("POST", "/mutate", {"count": count, "seed": seed}, count)

    @rule(kind=KINDS, number=SEEDS, permanent=st.booleans(), how_many=st.integers(1, 3), then=THEN)
    @step
    def delete(self, kind: str, number: int, permanent: bool, how_many: int) -> None:
        for further in range(how_many):
            live = picture.ids(self.tenant, kind, lambda item: permanent or not item.get("@softDeleted"))
            if live:
                chosen = live[(number + further) % len(live)]
                self.change("DELETE", f"/{kind}/{chosen}?permanent={str(permanent).lower()}")

    @rule(kind=st.sampled_from(["users", "groups"]), number=SEEDS, then=THEN)
    @step
    def restore(self, kind: str, number: int) -> None:
        gone = picture.ids(self.tenant, kind, lambda item: item.get("@softDeleted", False))
        if gone:
            self.change("POST", f"/{kind}/{gone[number % len(gone)]}/restore")

    @rule(number=SEEDS, relation=st.sampled_from(picture.RELATIONS), add=st.booleans(), then=THEN)
    @step
    def link(self, number: int, relation: str, add: bool) -> None:
        groups = picture.ids(self.tenant, "groups", lambda item: not item.get("@softDeleted"))
        users = picture.ids(self.tenant, "users", lambda item: not item.get("@softDeleted"))
        if groups and users:
            group, some = groups[number % len(groups)], users[number % len(users) :][:4]
            self.change("POST", f"/groups/{group}/{relation}", {"add" if add else "remove": some}, len(some))

    # --- What goes wrong ----------------------------------------------------------------------------------------------

    @rule(seldom=st.integers(1, 3), then=THEN)
    @step
    def heal(self, seldom: int) -> None:
        if seldom == 3:
            self.count_faults()
            self.control("DELETE", "/faults")

    @rule(resource=st.sampled_from([None, "users", "groups", "sites"]), then=THEN)
    @step
    def expire_tokens(self, resource: str | None) -> None:
        self.control("POST", "/expireTokens", {"resource": resource})

    @rule(
        commits=st.integers(0, 12),
        after=st.booleans(),
        error=st.sampled_from([Killed, Killed, DatabaseFailed]),
        then=THEN,
    )
    @step
    def kill(self, commits: int, after: bool, error: type[BaseException]) -> None:
        self.killer.plan(commits, after=after, error=error)

    @rule(how_many=st.integers(1, 4), then=THEN)
    @step
    def lose_messages(self, how_many: int) -> None:
        self.post.keep = how_many

    @rule(then=THEN)
    @step
    def deliver_late(self) -> None:
        self.post.keep = 0
        self.post.late()

    @rule(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=4), then=THEN)
    @step
    def deliver_again(self, numbers: list[int]) -> None:
        for number in numbers:
            self.post.again(number)

    # --- What people do -----------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from([INCREMENTAL, INCREMENTAL, FULL]), parts=SOME_PARTS, then=THEN)
    @step
    def start(self, kind: str, parts: list[str] | None) -> None:
        run = self.application.start(type=kind, **({} if parts is None else {"parts": parts}))
        assert run["status"] in UNFINISHED

    @rule(then=THEN)
    @step
    def pause(self) -> None:
        self.act("pause")

    @rule(scope=SCOPES, then=THEN)
    @step
    def restart(self, scope: str) -> None:
        self.act("restart", {"criteria": {"resetScope": scope}})

    @rule(seldom=st.integers(1, 6))
    @step
    def faults_stop(self, seldom: int) -> None:
        if seldom == 6:
            self.recover()

    def go_on(self, then: Then) -> None:
        """What Graph, time, the planner, and whoever wants the cache to be fresh do after a step."""
        self.control("POST", "/faults", then.faults)
        self.application.clock.forward(**then.jump)
        if then.start is not None:
            self.act("start")
            self.application.start(type=then.start)
        if then.planned:
            self.application.host.fire_timer("plan_synchronizations")
        if then.drained:
            self.application.host.drain()

    # --- What must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def never_less_than_an_older_complete_truth(self) -> None:
        if not hasattr(self, "post"):
            return
        with self.telling():
            self.agreed &= self.truth
            with self.application.services.database.read() as connection:
                shown = picture.of_cache(connection)
                unfinished = list(
                    connection.execute(select(runs.c.status).where(runs.c.status.in_(UNFINISHED))).scalars()
                )
                aside = [_number(connection, table) for table in (escrows, held_deletions)]
                wrong_counts = [] if unfinished else picture.wrong_entry_counts(connection)
            assert self.agreed <= shown, f"gone from the cache and not from the tenant: {sorted(self.agreed - shown)}"
            assert len(unfinished) == len(set(unfinished)), f"runs under way: {unfinished}"
            assert wrong_counts == []
            if not unfinished and not any(aside):
                # Nothing is on its way any more that was read before a change of the tenant.
                self.agreed |= self.truth & shown
            self.figures["looks"] += 1

    @invariant()
    def everybody_gets_an_answer(self) -> None:
        if not hasattr(self, "post"):
            return
        with self.telling():
            state, job = self.application.sync_state(), self.application.job()
            assert set(state["parts"]) == set(CATALOGUE)
            assert job["status"]["code"] in ("NotRun", "Active", "Paused", "Quarantine")

    def recover(self) -> None:
        """Nothing goes wrong any more: within some rounds of the planner the cache equals the tenant."""
        self.count_faults()
        self.control("DELETE", "/faults")
        self.killer.rest()
        self.post.keep = 0
        self.post.late()
        self.act("start")
        for _ in range(ROUNDS_TO_RECOVER):
            self.application.clock.forward(hours=25)
            self.application.plan()
            if self.listed("heldDeletions"):
                # Random deletions may be a large share of so few objects; somebody has to approve them.
                self.act("restart", {"criteria": {"resetScope": "ForceDeletes"}})
                self.application.host.drain()
            if self.is_well():
                break
        told = self.application.compare().differences
        assert told == [], "the cache does not come to equal the tenant: " + "; ".join(told)
        assert self.is_well(), f"the job does not get well: {self.application.sync_state()}"
        with self.application.services.database.read() as connection:
            leases = connection.execute(
                select(func.count()).select_from(run_parts).where(run_parts.c.lease_until.is_not(None))
            ).scalar_one()
        assert leases == 0
        self.agreed = self.truth
        self.figures["recoveries"] += 1

    def is_well(self) -> bool:
        status = self.application.job()["status"]
        last = status["lastExecution"]
        return (
            status["code"] == "Active"
            and last is not None
            and last["state"] == "Succeeded"
            and not self.listed("escrows")
            and not self.listed("heldDeletions")
            and self.application.compare().equal
        )

    # --- The means ----------------------------------------------------------------------------------------------------

    @property
    def truth(self) -> picture.Picture:
        """What the tenant holds; read again when it has changed."""
        if self.true is None:
            self.true = picture.of_tenant(self.tenant)
        return self.true

    def change(self, method: str, path: str, body: object = None, mutations: int = 1) -> None:
        self.control(method, path, body)
        self.true = None
        self.figures["mutations"] += mutations

    def control(self, method: str, path: str, body: object = None) -> Any:
        answer = self.tenant.request(method, f"/control{path}", json=body).raise_for_status()
        return answer.json() if answer.content else None

    def act(self, action: str, body: object = None) -> None:
        path = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs/{self.application.job()['id']}"
        self.application.client.post(f"{path}/{action}", json=body).raise_for_status()

    def listed(self, what: str) -> list[dict[str, Any]]:
        return self.application.client.get(f"/organizations/{NAME}/{what}").raise_for_status().json()["value"]

    def count_faults(self) -> None:
        self.figures["faults"] += sum(rule["struck"] for rule in self.control("GET", "/faults"))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Lets an error tell what the life had been until then."""
        try:
            yield
        except BaseException as error:
            if not self.failed:
                error.add_note("\n".join(["What happened:", *self.history]))
            self.failed = True
            raise


def _number(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def live(
    databases: Databases, kind: Kind, *, lives: int, steps: int, seed: int | None = None, shrink: bool = False
) -> Counter[str]:
    """Has some lives lived on this engine, and returns their figures.

    Args:
        lives: How many.
        steps: How long each is, in rules.
        seed: Which ones; None for the same ones every time.
        shrink: Whether a life that failed is made shorter, which takes its time.
    """
    figures: Counter[str] = Counter()
    bound = type("CacheLifeOnDatabase", (CacheLife,), {"databases": databases, "kind": kind, "figures": figures})
    if seed is not None:
        bound._hypothesis_internal_use_seed = seed  # pyright: ignore[reportAttributeAccessIssue]
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            derandomize=seed is None,
            database=None,
            phases=phases,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            report_multiple_bugs=False,
            print_blob=False,
        ),
    )
    return figures
