"""The query options of jobs, schemas and templates: those that are served work, the others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.support import check_error
from tests.application import APPLICATION, Application, running_application
from tests.databases import Databases

SYNCHRONIZATION = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization"
JOBS = f"{SYNCHRONIZATION}/jobs"
TEMPLATES = f"{SYNCHRONIZATION}/templates"


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


def test_a_list_without_end_comes_in_pages_though_nobody_asks_for_them(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.api.odata._ENTITIES_PER_PAGE", 2)
    whole = [job["id"] for number in range(3) for job in listed(application, f"$skip={2 * number}")["value"]]
    assert len(whole) == len(set(whole)) == 5
    for query, expected in (("", whole), ("$top=5", whole), ("$top=3", whole), ("$top=3&$skip=1", whole[1:])):
        seen: list[str] = []
        link = f"{JOBS}?{query}"
        while link:
            page = application.client.get(link).raise_for_status().json()
            assert 0 < len(page["value"]) <= 2
            seen += [job["id"] for job in page["value"]]
            link = page.get("@odata.nextLink", "")
        assert seen == expected, query


def test_skip_and_an_empty_page(application: Application) -> None:
    assert len(listed(application, "$skip=4")["value"]) == 1
    assert listed(application, "$top=0") == {"@odata.context": listed(application, "")["@odata.context"], "value": []}


@pytest.mark.parametrize(
    "query",
    ["$orderby=id", "$search=x", "$expand=bulkUpload", "$expand=schema,bulkUpload", "$expand=*", "nonsense=1",
     "$top=-1", "$top=x", "$top=1000000000", "$skip=1e3", "$skip=٣", "$count=maybe", "$filter=id ne 'x'",
     "$filter=status eq 'x'", "$filter=id eq 'x' or 1 eq 1", "$select=id,secrets", "$select=schema"],
)  # fmt: skip
def test_what_is_not_served_is_refused(application: Application, query: str) -> None:
    for path in (JOBS, TEMPLATES):
        check_error(application.client.get(f"{path}?{query}"), 400, "Request_BadRequest")


@pytest.mark.parametrize("query", ["$top=1", "$filter=id eq 'x'", "$expand=bulkUpload", "$select=nothing"])
def test_one_job_and_one_template_take_select_and_expand_alone(application: Application, query: str) -> None:
    job_id = listed(application, "")["value"][0]["id"]
    for path in (f"{JOBS}/{job_id}", f"{TEMPLATES}/M365OrgCache"):
        assert application.client.get(f"{path}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["$top=1", "$expand=directories", "$select=directories,nothing", "x=y"])
def test_a_schema_takes_select_alone(application: Application, query: str) -> None:
    job_id = listed(application, "")["value"][0]["id"]
    for path in (f"{JOBS}/{job_id}/schema", f"{TEMPLATES}/M365OrgCache/schema"):
        assert application.client.get(f"{path}?{query}").status_code == 400
        chosen = application.client.get(f"{path}?$select=version").raise_for_status().json()
        assert set(chosen) == {"@odata.context", "id", "version"}


def test_an_expanded_schema_is_the_schema_that_is_read_alone(application: Application) -> None:
    job_id = listed(application, "")["value"][2]["id"]
    for path, alone in (
        (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/schema"),
        (f"{TEMPLATES}/M365OrgCache", f"{TEMPLATES}/M365OrgCache/schema"),
    ):
        schema = application.client.get(alone).raise_for_status().json()
        del schema["@odata.context"]
        plain = application.client.get(path).raise_for_status().json()
        for query in ("$expand=schema", "%24expand=schema", "expand=Schema"):
            expanded = application.client.get(f"{path}?{query}").raise_for_status().json()
            assert expanded.pop("schema") == schema
            assert expanded == plain


def test_an_expanded_schema_comes_along_whatever_is_selected(application: Application) -> None:
    found = listed(application, "$expand=schema&$select=templateId&$top=2&$skip=1")["value"]
    assert [set(job) for job in found] == [{"id", "templateId", "schema"}] * 2
    assert [job["schema"]["id"] for job in found] == [job["id"] for job in found]
    one = application.client.get(f"{JOBS}/{found[0]['id']}?$expand=schema&$select=id").raise_for_status().json()
    assert set(one) == {"@odata.context", "id", "schema"}
    assert one["schema"] == found[0]["schema"]


def test_a_next_link_goes_on_with_the_schema_where_it_was_asked_for(application: Application) -> None:
    link = f"{JOBS}?$expand=schema&$top=3"
    while link:
        page = application.client.get(link).raise_for_status().json()
        assert all("schema" in job for job in page["value"])
        link = page.get("@odata.nextLink", "")


def test_the_template_is_listed_filtered_and_counted(application: Application) -> None:
    def templates(query: str) -> list[Any]:
        return application.client.get(f"{TEMPLATES}?{query}").raise_for_status().json()["value"]

    assert [template["id"] for template in templates("$select=id")] == ["M365OrgCache"]
    assert [set(template) for template in templates("$select=id&$filter=id eq 'M365OrgCache'")] == [{"id"}]
    assert templates("$filter=id eq 'Other'") == []
    assert templates("$skip=1") == []
    answer = application.client.get(f"{TEMPLATES}/$count")
    assert (answer.headers["content-type"].partition(";")[0], answer.content) == ("text/plain", b"1")
    for query in ("$count=true", "x=y"):
        assert application.client.get(f"{TEMPLATES}/$count?{query}").status_code == 400
        assert application.client.get(f"{JOBS}/$count?{query}").status_code == 400


def test_a_function_key_in_the_address_is_no_option(application: Application) -> None:
    job_id = listed(application, "code=key")["value"][0]["id"]
    for path in (f"{JOBS}/{job_id}", f"{JOBS}/$count", TEMPLATES):
        assert application.client.get(f"{path}?code=key").status_code == 200
    assert application.client.post(f"{JOBS}/{job_id}/pause?code=key").status_code == 204


def test_count_is_plain_digits(application: Application) -> None:
    answer: httpx.Response = application.client.get(f"{JOBS}/$count")
    assert (answer.headers["content-type"].partition(";")[0], answer.content) == ("text/plain", b"5")
