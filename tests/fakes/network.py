"""Names and addresses without a network: what was asked, what was dialled, and where it leads.

`with network.around(sidecar):` every look-up of that sidecar is answered here and every dial ends
at a loopback port of the test, whatever address it was for; both are remembered.
"""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from proxy.model.clock import SystemClock
from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason
from proxy.upstream.resolver import Address, Resolver
from tests.fakes.sidecar import Sidecar

PUBLIC = "8.8.4.4"  # stands for any public address; nothing is ever sent to it


class Network:
    """`leads_to`: port dialled to the loopback port that takes it; any other is refused.
    `answers`: one list of addresses after the other for each name, the last one again and again;
    a name that is not there does not exist."""

    def __init__(self, leads_to: dict[int, int], **answers: Sequence[Sequence[str]]) -> None:
        self.leads_to = leads_to
        self.answers = {name: list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []

    def look_up(self, host: str) -> list[str]:
        """In place of the system's resolver."""
        self.asked.append(host)
        lists = self.answers.get(host)
        if lists is None:
            raise OSError(-2, "Name or service not known")
        return list(lists.pop(0) if len(lists) > 1 else lists[0])

    async def dial(self, addresses: tuple[Address, ...], port: int) -> socket.socket:
        """In place of `proxy.upstream.dial.dial`."""
        self.dialled += [(str(address), port) for address in addresses]
        local = self.leads_to.get(port)
        if local is None:
            raise UpstreamFailed(Reason.UPSTREAM_CONNECT, "Could not connect: connection refused.")
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", local))
        except BaseException:
            sock.close()
            raise
        return sock

    @contextmanager
    def around(self, sidecar: Sidecar) -> Iterator["Network"]:
        """Until the end of the block there is no other network."""
        pool = sidecar.booth.pool
        resolver, pool._resolver = pool._resolver, Resolver(SystemClock(), self.look_up)
        try:
            with patch("proxy.upstream.pool.dial", self.dial):
                yield self
        finally:
            pool._resolver.close()
            pool._resolver = resolver
