"""The issuer's keys when the issuer does not do what it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from shared.access.keys import IssuerKeys, KeysUnavailable

BEGIN = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


class Issuer:
    """Serves one key, or what it is told to; it answers only while it is let."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        self.body = json.dumps({"keys": [{**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": "known", "use": "sig"}]})
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                own.asked.set()
                own.answers.wait()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(own.body.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever)
    thread.start()
    yield issuer
    issuer.answers.set()
    issuer.server.shutdown()
    thread.join()
    issuer.server.server_close()


@pytest.mark.parametrize(
    "body", ['{"keys": 5}', "5", "null", "[]", '{"keys": [5]}', "[" * 100_000, '{"keys": []}', "<html>"]
)
def test_a_key_set_of_another_shape_is_an_outage_and_no_withdrawn_key(issuer: Issuer, body: str) -> None:
    issuer.body = body
    keys = IssuerKeys(issuer.url, lambda: BEGIN)
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            keys.find("known")


def test_made_up_keys_hold_up_nobody_while_the_issuer_hangs(issuer: Issuer) -> None:
    moment = [BEGIN]
    keys = IssuerKeys(issuer.url, lambda: moment[0])
    assert keys.find("known")
    issuer.answers.clear()
    issuer.asked.clear()
    moment[0] += timedelta(minutes=2)

    def ask(number: int) -> None:
        with suppress(KeysUnavailable):
            keys.find(f"made up {number}")

    # No more threads than made-up keys: the known one gets its turn once a thread has given up waiting.
    with ThreadPoolExecutor(6) as worker:
        fetching = worker.submit(ask, 0)
        assert issuer.asked.wait(10)
        others = [worker.submit(ask, number) for number in range(1, 6)]
        assert worker.submit(keys.find, "known").result()
        assert not fetching.done()
        assert any(other.done() for other in others)
        issuer.answers.set()
