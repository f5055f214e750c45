"""A client of a soak: one connection to the proxy, and answers with the verdict in them."""

import asyncio
from base64 import b64encode
from typing import NamedTuple

_ANSWER_WITHIN_S = 30.0
_CODE = b"\r\ntoolbooth-code: "


class Answer(NamedTuple):
    """`code` is the word of the sidecar, `ok` where it has relayed; `content` as it came."""

    status: int
    code: str
    content: bytes


class CutError(Exception):
    """The connection ended before the answer did; `code` as far as it was heard."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Client:
    """Opens its connection when it needs one, and again after it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send, and wait for the whole answer. Raises `CutError`."""
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await self.send(request)
            return await self.answer()

    async def send(self, request: bytes) -> None:
        """Only send."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)

    async def answer(self) -> Answer:
        """The next answer, read by its own framing."""
        reader = self._reader
        assert reader is not None
        code = ""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            code = _value(lower, _CODE) or "ok"
            status = int(head[9:12])
            if b"\r\ntransfer-encoding: chunked" in lower:
                content = await _chunks(reader)
            else:
                length = _value(lower, b"\r\ncontent-length: ")
                content = await reader.readexactly(int(length)) if length else b""
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            raise CutError(code) from None
        if b"\r\nconnection: close" in lower:
            self.close()
        return Answer(status, code, content)

    async def exchange(self, data: bytes) -> bytes:
        """Through a tunnel: as many bytes back as were sent."""
        assert self._reader is not None
        assert self._writer is not None
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            self._writer.write(data)
            return await self._reader.readexactly(len(data))

    async def wait_for_end(self) -> None:
        """Until the other side closes."""
        assert self._reader is not None
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            while await self._reader.read(65_536):
                pass

    def close(self) -> None:
        """Leave, whatever is under way."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def request(
    target: str, host: str, run: str, *, method: str = "GET", content: bytes = b"", more: str = ""
) -> bytes:
    """A request as an agent's HTTP client would send it."""
    told = b64encode(f"{run}:x".encode()).decode()
    length = f"Content-Length: {len(content)}\r\n" if content else ""
    return (
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: soak\r\nAccept: */*\r\n"
        f"Proxy-Authorization: Basic {told}\r\n{length}{more}\r\n"
    ).encode() + content


def _value(head: bytes, name: bytes) -> str:
    _, found, rest = head.partition(name)
    return rest.partition(b"\r\n")[0].decode() if found else ""


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return content
