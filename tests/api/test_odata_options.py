"""The query options of the job routes: those that are served work, the others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.application import APPLICATION, Application, running_application
from tests.databases import Databases

JOBS = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, databases: Databases) -> Iterator[Application]:
    with databases.fresh("sqlite") as url, running_application(monkeypatch, url) as running:
        for number in range(5):
            running.register(tenantId=f"00000000-0000-4000-8000-{number:012}", name=f"contoso{number}.com")
        yield running


def listed(application: Application, query: str) -> dict[str, Any]:
    return application.client.get(f"{JOBS}?{query}").raise_for_status().json()


def test_a_list_is_read_page_by_page_over_its_next_links(application: Application) -> None:
    seen: list[str] = []
    link = f"{JOBS}?$top=2&$count=true&$select=id"
    while link:
        page = application.client.get(link).raise_for_status().json()
        assert page["@odata.count"] == 5
        assert all(set(job) == {"id"} for job in page["value"])
        seen += [job["id"] for job in page["value"]]
        link = page.get("@odata.nextLink", "")
    assert len(set(seen)) == len(seen) == 5


def test_select_keeps_the_id_and_what_is_asked_for(application: Application) -> None:
    job = listed(application, "$select=schedule,templateId&$top=1")["value"][0]
    assert set(job) == {"id", "schedule", "templateId"}
    one = application.client.get(f"{JOBS}/{job['id']}?%24select=status").raise_for_status().json()
    assert set(one) == {"@odata.context", "id", "status"}


def test_filter_finds_a_job_by_id_and_all_by_template(application: Application) -> None:
    wanted = listed(application, "")["value"][3]["id"]
    assert [job["id"] for job in listed(application, f"$filter=id eq '{wanted}'")["value"]] == [wanted]
    assert len(listed(application, "filter=templateId eq 'M365OrgCache'")["value"]) == 5
    assert listed(application, "$filter=id eq 'it''s not there'")["value"] == []


def test_skip_and_an_empty_page(application: Application) -> None:
    assert len(listed(application, "$skip=4")["value"]) == 1
    assert listed(application, "$top=0") == {"@odata.context": listed(application, "")["@odata.context"], "value": []}


@pytest.mark.parametrize(
    "query",
    ["$orderby=id", "$search=x", "$expand=schema", "nonsense=1", "$top=-1", "$top=x", "$skip=1e3", "$count=maybe",
     "$filter=id ne 'x'", "$filter=status eq 'x'", "$filter=id eq 'x' or 1 eq 1", "$select=id,secrets"],
)  # fmt: skip
def test_what_is_not_served_is_refused(application: Application, query: str) -> None:
    answer = application.client.get(f"{JOBS}?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "Request_BadRequest"


@pytest.mark.parametrize("query", ["$top=1", "$filter=id eq 'x'", "$expand=schema"])
def test_one_job_takes_select_alone(application: Application, query: str) -> None:
    job_id = listed(application, "")["value"][0]["id"]
    assert application.client.get(f"{JOBS}/{job_id}?{query}").status_code == 400


def test_count_is_plain_digits(application: Application) -> None:
    answer: httpx.Response = application.client.get(f"{JOBS}/$count")
    assert (answer.headers["content-type"].partition(";")[0], answer.content) == ("text/plain", b"5")
