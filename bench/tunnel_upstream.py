"""The server at the end of tunnels nobody opens: `python bench/tunnel_upstream.py echo|endless`.

It prints its port. `echo` sends back what it gets; `endless` answers the first bytes with as many
bytes as are taken.
"""

import asyncio
import sys

import uvloop

_PIECE = bytes(262_144)


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class Endless(Echo):
    """Writes whenever there is room."""

    _is_open = True
    _has_begun = False

    def data_received(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._fill()

    def pause_writing(self) -> None:
        self._is_open = False

    def resume_writing(self) -> None:
        self._is_open = True
        self._fill()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_open = False

    def _fill(self) -> None:
        while self._is_open and not self._transport.is_closing():
            self._transport.write(_PIECE)


async def _serve(kind: type[Echo]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(kind, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Endless if sys.argv[1] == "endless" else Echo))
