"""A TLS front before an application: Graph's JavaScript client sends its token over https only."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDRESS = "127.0.0.1"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Exchange:
    """A request that came through, and the id under which its answer is known."""

    method: str
    path: str
    authorization: str | None
    request_id: str


@dataclass
class Front:
    url: str
    certificate: Path
    exchanges: list[Exchange] = field(default_factory=list[Exchange])


@contextmanager
def tls_front(target: str, directory: Path) -> Iterator[Front]:
    """A server on https whose answers are those of ``target``; its certificate is written into the directory."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    _certify(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = [(name, value) for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP]
            answer = client.request(self.command, self.path, content=body, headers=headers)
            exchange = Exchange(
                self.command, self.path, self.headers.get("Authorization"), answer.headers.get("request-id", "")
            )
            front.exchanges.append(exchange)
            self.send_response_only(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = forward

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with httpx.Client(base_url=target, timeout=60) as client, ThreadingHTTPServer((ADDRESS, 0), Handler) as server:
        front = Front(f"https://{ADDRESS}:{server.server_address[1]}", certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()


def _certify(certificate: Path, key: Path) -> None:
    """Makes a key and a certificate that it signed itself, for the front's address and a day."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(ADDRESS))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
