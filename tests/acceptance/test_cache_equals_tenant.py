"""The cache equals the tenant, whatever happened in it, on both databases and over real HTTP."""

from __future__ import annotations

import pytest

from local.tenant import Directory, Options, TenantServer
from tests.application import running_application

# Every habit of Graph that a reader has to live with, often.
RESTLESS = Options(page_size=40, member_slice=7, page_links=60, replay_probability=0.2, empty_page_probability=0.3)


def test_after_an_initial_run_twenty_mutation_rounds_and_a_full_run(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    with (
        TenantServer(Directory(users=300, groups=40, sites=30, seed=3), RESTLESS) as tenant,
        running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="50") as application,
    ):
        application.register()
        first = application.synchronize()
        assert (first["type"], first["status"]) == ("Full", "Succeeded")
        assert application.compare().differences == []

        for seed in range(20):
            application.control("POST", "/mutate", {"count": 25, "seed": seed})
            incremental = application.synchronize()
            assert (incremental["type"], incremental["status"]) == ("Incremental", "Succeeded")
            assert application.compare().differences == [], f"after round {seed}"

        full = application.synchronize(type="Full")
        assert (full["type"], full["status"]) == ("Full", "Succeeded")
        assert application.compare().differences == []
        assert {part["type"] for part in full["parts"]} == {"Full"}
