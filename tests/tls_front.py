"""Puts TLS before the tests' PostgreSQL, whose binaries may be built without it."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url


@contextmanager
def tls_front(url: str, certificate: str | None = None) -> Iterator[int]:
    """The port at which PostgreSQL is reached by TLS: the binaries under the tests may be built without it."""
    server = make_url(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate or os.environ["SSL_CERT_FILE"])

    def serve(client: socket.socket) -> None:
        with client:
            # SSLRequest, to which a server that has TLS says S; who does not ask for it gets no further.
            if client.recv(8)[4:] != (80877103).to_bytes(4, "big"):
                return
            client.sendall(b"S")
            try:
                secured = context.wrap_socket(client, server_side=True)
            except OSError:
                return
            with secured, socket.create_connection((server.host or "", server.port or 0)) as inner:
                ways = {secured: inner, inner: secured}
                while True:
                    for source in [secured] if secured.pending() else select.select(list(ways), [], [])[0]:
                        if not (data := source.recv(65_536)):
                            return
                        ways[source].sendall(data)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
