"""The workflows, the dev container and the updates do what the project's own files say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runtime.environment import OLDEST

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OLDEST_OF_ALL = re.search(r'^requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
AZURES = ".".join(map(str, OLDEST))
"""The Python that Azure runs the product on."""


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


def test_every_target_of_make_that_is_called_exists() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    commands = [step["run"] for path in WORKFLOWS for step in steps(load(path)) if "run" in step]
    called = [
        target
        for text in [*commands, container["postCreateCommand"]]
        for target in re.findall(r"\bmake ([a-z]+)", text)
    ]
    assert "test" in called
    assert set(called) <= TARGETS


def test_every_python_from_the_oldest_to_azures_is_tested() -> None:
    assert OLDEST_OF_ALL
    tested = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    first, last = (int(version.split(".")[1]) for version in (OLDEST_OF_ALL[1], AZURES))
    assert tested == [f"3.{minor}" for minor in range(first, last + 1)]


def test_the_container_has_azures_python() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["image"].endswith(f"python:{AZURES}")


def test_nothing_but_a_job_that_signs_in_to_azure_may_ask_for_a_token() -> None:
    for path in WORKFLOWS:
        workflow = load(path)
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for name, job in workflow["jobs"].items():
            signs_in = any(step.get("uses", "").startswith("azure/login@") for step in job.get("steps", ()))
            assert ("id-token" in job.get("permissions", {})) is signs_in, f"{path.name}: {name}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_workflow_has_a_secret(path: Path) -> None:
    assert "secrets." not in path.read_text()


def test_what_is_pinned_somewhere_is_kept_up_to_date_there() -> None:
    updates = load(ROOT / ".github" / "dependabot.yml")["updates"]
    npm = next(update["directories"] for update in updates if update["package-ecosystem"] == "npm")
    packages = {f"/{path.parent.relative_to(ROOT).as_posix()}" for path in ROOT.glob("tests/*/package.json")}
    assert set(npm) == packages
    assert {update["package-ecosystem"] for update in updates} == {"pip", "npm", "github-actions", "devcontainers"}


def parameters() -> dict[str, tuple[str, str]]:
    """By variable of the environment: the Bicep parameter that it is the value of, and its default."""
    given = json.loads((ROOT / "infra" / "main.parameters.json").read_text())["parameters"]
    found = {name: re.fullmatch(r"\$\{(\w+)=?(.*)\}", str(entry["value"])) for name, entry in given.items()}
    return {match[1]: (name, match[2]) for name, match in found.items() if match}


def test_a_deployment_is_given_every_value_that_an_environment_may_have_of_its_own() -> None:
    job = load(ROOT / ".github" / "workflows" / "deploy.yml")["jobs"]["deploy"]
    assert {name: f"${{{{ vars.{name} }}}}" for name in parameters()}.items() <= job["env"].items()


def test_what_if_compares_with_what_a_deployment_would_be_given() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "infra.yml")
    (step,) = [step for step in steps(workflow) if "what-if" in step.get("run", "")]
    given = dict(re.findall(r"(\w+)=\"\$(\w+)\"", step["run"]))
    assert given == {parameter: name for name, (parameter, _) in parameters().items()}
    for name, (_, default) in parameters().items():
        fallback = f" || '{default}'" if default else ""
        assert step["env"][name] == f"${{{{ vars.{name}{fallback} }}}}"
