"""What becomes of a connection that is gone before it is used."""

import asyncio
import socket
import ssl

import pytest

from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason
from proxy.upstream.dial import peer_of, tls_failure
from tests.fakes.origin import Origin, OriginConnection


async def reset(connection: OriginConnection) -> None:
    connection.reset()


async def test_a_connection_that_was_reset_has_no_peer() -> None:
    """A failure of the upstream, of which nothing was sent: no bug of ours."""
    async with Origin(reset) as origin:
        with socket.create_connection(("127.0.0.1", origin.port)) as sock:
            assert str(peer_of(sock)) == "127.0.0.1"
            sock.setblocking(False)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), 20)
            with pytest.raises(UpstreamFailed) as caught:
                peer_of(sock)
    assert (caught.value.reason, caught.value.unsent) == (Reason.UPSTREAM_RESET, True)


def test_only_a_hang_up_in_a_handshake_may_be_tried_again() -> None:
    incoming = ssl.MemoryBIO()
    incoming.write(b"no TLS at all")
    client = ssl.create_default_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="a")
    with pytest.raises(ssl.SSLError) as garbled:
        client.do_handshake()
    for error, is_unsent in ((ConnectionResetError(), True), (garbled.value, False)):
        failure = tls_failure(error)
        assert (failure.reason, failure.unsent) == (Reason.UPSTREAM_TLS, is_unsent)
