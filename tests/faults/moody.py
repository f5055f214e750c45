"""An origin that does with each request what its path says: `/mood/number`."""

import asyncio

from tests.fakes.origin import OK, OriginConnection, Script

USED = b'{"usage": {"prompt_tokens": 10, "completion_tokens": 5}}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
TUNNEL = b"\0"  # how a tunnel of these tests begins, its mood behind it up to a line's end

_BEFORE_END = {
    "reset": b"",
    "mid head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "mid body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "mid chunk": CHUNKED + b"9\r\nhalf",
    "stall": b"",
    "stalled body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "garbage": b"\x16\x03\x01 what?\r\n\r\n",
}
_WHOLE = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(USED), USED),
    "unread": OK,
    "too many": b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}
MOODS = (*_BEFORE_END, *_WHOLE, "stream", "unwell once", "refused", "closed")


def moody() -> Script:
    """Remembers who was told to come again."""
    seen: set[str] = set()

    async def script(connection: OriginConnection) -> None:
        while first := await connection.reader.read(1):
            if first == TUNNEL:
                await _cut(connection, (await connection.reader.readline()).decode().strip(), seen)
                return
            head = first + await connection.reader.readuntil(b"\r\n\r\n")
            connection.origin.heads.append(head)
            path = head.split()[1].decode()
            await _read_content(connection, head)
            mood = path.split("/")[1].replace("_", " ")
            if b"\r\nupgrade: " in head.lower():
                await _send(connection, SWITCHED)
                await _cut(connection, mood, seen)
                return
            if mood == "unwell once":
                mood = "ok" if path in seen else "unwell"
                seen.add(path)
            if not await _answer(connection, mood):
                return

    return script


async def _answer(connection: OriginConnection, mood: str) -> bool:
    """False: the connection is over."""
    if mood in _WHOLE:
        await _send(connection, _WHOLE[mood])
        return True
    if mood == "unwell":
        await _send(connection, b"HTTP/1.1 503 Unwell\r\nContent-Length: 0\r\n\r\n")
        return True
    if mood == "stream":
        await _send(connection, CHUNKED)
        for part in (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            await asyncio.sleep(0.01)
            await _send(connection, part)
        return True
    await _send(connection, _BEFORE_END.get(mood, b""))
    if mood.startswith("stall"):
        await connection.read_some()  # until the other side has had enough
    elif mood != "closed":
        connection.reset()
    return False


async def _cut(connection: OriginConnection, mood: str, seen: set[str]) -> None:
    """Inside a tunnel: some bytes, and an end that suits the mood."""
    await _send(connection, b"some")
    if mood.startswith("stall"):
        while await connection.read_some():
            pass
    elif mood == "stream":
        await asyncio.sleep(0.01)
        await _send(connection, b"more")
    elif mood in _BEFORE_END:
        connection.reset()


async def _send(connection: OriginConnection, data: bytes) -> None:
    """Unless the other side has gone."""
    if not connection.writer.transport.is_closing():
        await connection.send(data)


async def _read_content(connection: OriginConnection, head: bytes) -> None:
    lower = head.lower()
    if b"\r\ncontent-length: " in lower:
        length = int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
        await connection.reader.readexactly(length)
    elif b"\r\ntransfer-encoding: chunked" in lower:
        await connection.reader.readuntil(b"0\r\n\r\n")
