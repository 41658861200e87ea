"""The local host as a process: its output, its errors and its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = """
import os, time
import azure.functions as func
app = func.FunctionApp()

@app.route(route="setting/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def setting(req: func.HttpRequest) -> str:
    return os.environ.get(req.route_params["name"], "-")

@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS)
def slow(req: func.HttpRequest) -> str:
    print("slow has begun", flush=True)
    time.sleep(float(req.params["seconds"]))
    return "slow has ended"

@app.timer_trigger(arg_name="timer", schedule="%WHEN%")
def tick(timer: func.TimerRequest) -> None: ...
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "host.json").write_text('{"version": "2.0"}', encoding="utf-8")
    settings = '{"Values": {"WHEN": "0 0 0 1 1 *", "FROM_FILE": "file", "FROM_BOTH": "file"}}'
    (tmp_path / "local.settings.json").write_text(settings, encoding="utf-8")
    return tmp_path


class Process:
    """A started host and its lines."""

    def __init__(self, root: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "local.host", "--app", str(root), "--port", "0", *arguments]
        environment = {"PYTHONPATH": str(ROOT), "FROM_BOTH": "environment", "PATH": ""}
        self.popen = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.popen.stdout is not None
        self.lines: list[str] = []
        self.read_until("host listening on ")
        self.url = self.lines[-1].split()[-1]

    def read_until(self, start: str) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip())
            if line.startswith(start):
                return
        raise AssertionError(self.popen.communicate()[1])

    def end(self) -> tuple[int, str]:
        self.popen.send_signal(signal.SIGTERM)
        errors = self.popen.communicate(timeout=30)[1]
        return self.popen.returncode, errors


@pytest.fixture
def process(root: Path) -> Iterator[Process]:
    started = Process(root, "--grace", "20")
    yield started
    started.popen.kill()
    started.popen.communicate()


def test_the_functions_are_listed_before_the_line_that_says_where_the_host_listens(process: Process) -> None:
    listed = [line.strip() for line in process.lines if line.strip()]
    assert listed == [
        "Functions:",
        f"setting: [GET] {process.url}/api/setting/{{name}}",
        f"slow: [ALL] {process.url}/api/slow",
        "tick: timerTrigger",
        f"host listening on {process.url}",
    ]


def test_values_of_local_settings_are_in_the_environment_which_wins(process: Process) -> None:
    assert httpx.get(f"{process.url}/api/setting/FROM_FILE").text == "file"
    assert httpx.get(f"{process.url}/api/setting/FROM_BOTH").text == "environment"


def test_sigterm_lets_a_running_invocation_end_and_exits_with_0(process: Process) -> None:
    answers: list[str] = []
    url = f"{process.url}/api/slow?seconds=0.5"
    client = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=30).text))
    client.start()
    process.read_until("slow has begun")
    code, errors = process.end()
    client.join()
    assert (code, answers) == (0, ["slow has ended"])
    assert "Executed 'slow' (Succeeded" in errors
    assert "seconds=" not in errors


def test_an_invocation_that_outlasts_the_grace_period_does_not_keep_the_process(root: Path) -> None:
    process = Process(root, "--grace", "0.2")
    client = threading.Thread(target=_get_and_ignore, args=(f"{process.url}/api/slow?seconds=60",))
    client.start()
    process.read_until("slow has begun")
    code, errors = process.end()
    client.join()
    assert code == 0
    assert "did not end within the grace period" in errors


def _get_and_ignore(url: str) -> None:
    try:
        httpx.get(url, timeout=30)
    except httpx.HTTPError:
        return


def fails(root: Path, *arguments: str) -> str:
    """The last line on stderr of a host that must not start."""
    command = [sys.executable, "-m", "local.host", "--app", str(root), *arguments]
    ended = subprocess.run(
        command, cwd=root, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    return ended.stderr.splitlines()[-1]


def test_a_port_in_use_is_one_line_and_exit_code_1(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert fails(root, "--port", str(port)) == f"error: port {port} on 127.0.0.1 is in use"


def test_a_missing_setting_is_one_line_and_exit_code_1(root: Path) -> None:
    (root / "local.settings.json").unlink()
    assert fails(root, "--port", "0").startswith("error: function 'tick': '%WHEN%' does not resolve")


def test_a_directory_without_an_app_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    assert fails(tmp_path).startswith("error: there is no function_app.py in ")
