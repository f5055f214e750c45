"""The server behind every subject: one fixed answer to whatever arrives, as fast as Python can.

`python bench/upstream.py WORKLOAD [CERTIFICATE]` listens on a free loopback port, over TLS where a
PEM file with key and chain is given, prints the port and serves until it is killed. It looks at a
request only to find its end.
"""

import asyncio
import ssl
import sys

import uvloop
from workload import WORKLOADS

_HEAD_END = b"\r\n\r\n"


class Server(asyncio.Protocol):
    """One connection. Requests come one at a time; pipelining is answered too."""

    __slots__ = ("_answer", "_pending", "_transport")

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._pending = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        pending = self._pending + data if self._pending else data
        while (end := request_end(pending)) is not None:
            self._transport.write(self._answer)
            pending = pending[end:]
        self._pending = pending


def request_end(pending: bytes) -> int | None:
    """Where the first request in `pending` ends; None while it is not whole."""
    head_end = pending.find(_HEAD_END)
    if head_end < 0:
        return None
    head = pending[:head_end].lower()
    if b"\r\ntransfer-encoding:" in head:
        # Only reached if a proxy re-frames the body; its last chunk is then the empty one.
        last = pending.find(b"0\r\n\r\n", head_end)
        return None if last < 0 else last + 5
    end = head_end + len(_HEAD_END)
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        end += int(head[at + 17 :].split(b"\r\n", 1)[0])
    return end if len(pending) >= end else None


async def _serve(answer: bytes, certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(lambda: Server(answer), "127.0.0.1", 0, backlog=1024, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    given = sys.argv[2] if len(sys.argv) > 2 else None
    uvloop.run(_serve(WORKLOADS[sys.argv[1]].answer(), given))
