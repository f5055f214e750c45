"""A scripted origin: it keeps every byte it got and answers what the test says."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.fakes.sockets import reset_when_closed

Script = Callable[["OriginConnection"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class OriginConnection:
    """One connection the origin accepted. `received` grows as bytes are read."""

    def __init__(
        self, origin: "Origin", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.origin = origin
        self.reader = reader
        self.writer = writer
        self.received = b""

    async def read_head(self) -> bytes:
        """One request head; empty when the peer has closed instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            self.received += end.partial
            return b""
        self.received += head
        self.origin.heads.append(head)
        return head

    async def read(self, count: int) -> bytes:
        data = await self.reader.readexactly(count)
        self.received += data
        return data

    async def read_some(self) -> bytes:
        data = await self.reader.read(65536)
        self.received += data
        return data

    async def send(self, data: bytes) -> None:
        if self.writer.transport.is_closing():  # uvloop raises a RuntimeError then
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST, as a crashed peer does."""
        reset_when_closed(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()


class Origin:
    """`async with Origin(script) as origin:`; the script runs once a connection.

    Without a script it answers 200 `ok` to every request, reading bodies by Content-Length.
    """

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or answer_all
        self._server: asyncio.Server | None = None
        self.port = 0
        self.heads: list[bytes] = []
        self.connections: list[OriginConnection] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Origin":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = OriginConnection(self, reader, writer)
        self.connections.append(connection)
        self._writers.add(writer)
        try:
            await self._script(connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> bytes:
        return b"".join(connection.received for connection in self.connections)


async def answer_all(connection: OriginConnection) -> None:
    while head := await connection.read_head():
        lower = head.lower()
        if b"content-length:" in lower:
            await connection.read(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        elif b"transfer-encoding: chunked" in lower:
            while not connection.received.endswith(b"0\r\n\r\n"):
                if not await connection.read_some():
                    return
        await connection.send(OK)


def answering(*answers: bytes) -> Script:
    """Answer request after request with these, whatever the connection; the last repeats."""
    left = list(answers)

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(left.pop(0) if len(left) > 1 else left[0])

    return script
