"""Connections to an operator's port: so many, and one more ends the oldest.

Whoever can reach the port could else hold every descriptor there is. The newcomer is let in, and
not refused, since among many that only hold a connection the one who asks now is the operator.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MOST_CONNECTIONS = 64
BACKLOG = 128


def doorkeeper(server: web.Server, most: int = MOST_CONNECTIONS) -> Callable[[], RequestHandler]:
    """The protocol factory of a listening socket of `server`."""

    loop = asyncio.get_running_loop()

    def let_in() -> RequestHandler:
        # A burst is accepted whole before the first of it counts as connected.
        loop.call_soon(loop.call_soon, make_room)
        return server()

    def make_room() -> None:
        connections = server.connections  # in the order in which they came
        for connection in connections[: max(0, len(connections) - most)]:
            if connection.transport is not None:
                connection.transport.abort()

    return let_in
