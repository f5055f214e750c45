"""Retries: what is tried again, how often, and what the client is told afterwards."""

import asyncio
import socket

import pytest

from proxy.model.reason import Reason
from tests.fakes.origin import OK, Origin, OriginConnection, Script, answering
from tests.fakes.sidecar import Sidecar, policy_text, read_answer

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


def request(method: str, origin: Origin, *lines: str, body: bytes = b"") -> bytes:
    fields = "".join(f"{line}\r\n" for line in lines)
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {origin.url}/x HTTP/1.1\r\nHost: {origin.url[7:]}\r\n{fields}{length}\r\n"
    return head.encode() + body


TRIES = [
    pytest.param("GET", "", UNAVAILABLE, 3, id="a GET is tried three times on 503"),
    pytest.param("GET", "", TOO_MANY, 3, id="and on 429"),
    pytest.param("PUT", "", UNAVAILABLE, 3, id="a PUT is idempotent"),
    pytest.param("DELETE", "", UNAVAILABLE, 3, id="a DELETE is idempotent"),
    pytest.param("GET", "", FAILED, 1, id="500 is an answer, not an outage"),
    pytest.param("POST", "", UNAVAILABLE, 1, id="a POST is sent once"),
    pytest.param("POST", "retry_writes: true", UNAVAILABLE, 3, id="unless the tool says it may"),
    pytest.param(
        "POST", "idempotency: {header: Idempotency-Key}", UNAVAILABLE, 3,
        id="or it carries the key the tool understands",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "tool", "answer", "tries"), TRIES)
async def test_how_often_a_call_is_tried(method: str, tool: str, answer: bytes, tries: int) -> None:
    """The upstream sees exactly so many requests; a call that was retried in vain tells its
    client's SDK not to do the same again."""
    async with (
        Origin(answering(answer)) as origin,
        Sidecar(policy_text(origin.port, tool=tool)) as sidecar,
    ):
        got = await sidecar.exchange(request(method, origin, 'Idempotency-Key: "k"'))
        assert got.split()[1] == answer.split()[1]
        assert len(origin.heads) == tries
        assert b"Toolbooth-Attempts: %d\r\n" % tries in got
        assert (b"X-Should-Retry: false\r\n" in got) == (tries > 1)
        assert [(r.attempts, r.code) for r in sidecar.records] == [(tries, Reason.OK)]


async def test_a_retry_that_succeeds_is_relayed() -> None:
    """503, then 200: the client sees one 200 and that it took two attempts."""
    async with (
        Origin(answering(UNAVAILABLE, OK)) as origin,
        Sidecar(policy_text(origin.port)) as sidecar,
    ):
        got = await sidecar.exchange(request("GET", origin))
        assert got.startswith(b"HTTP/1.1 200 ")
        assert b"Toolbooth-Attempts: 2\r\n" in got
        assert b"X-Should-Retry" not in got


async def test_the_body_is_sent_again_whole() -> None:
    """A kept body goes out complete with every attempt."""
    bodies: list[bytes] = []
    body = b"0123456789" * 2000

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            bodies.append(await connection.read(len(body)))
            await connection.send(UNAVAILABLE if len(bodies) < 3 else OK)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.exchange(request("PUT", origin, body=body))
        assert got.startswith(b"HTTP/1.1 200 ")
        assert bodies == [body] * 3


async def test_a_body_that_could_not_be_kept_is_sent_once() -> None:
    """More than 256 KiB cannot be replayed, so there is one attempt."""
    body = b"x" * 300_000

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.read(len(body))
            await connection.send(UNAVAILABLE)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.exchange(request("PUT", origin, body=body))
        assert got.startswith(b"HTTP/1.1 503 ")
        assert len(origin.heads) == 1


def resetting(times: int) -> Script:
    """Reset the first connections after their request has come, then answer."""
    left = [times]

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            if left[0] > 0:
                left[0] -= 1
                connection.reset()
                return
            await connection.send(OK)

    return script


@pytest.mark.parametrize(
    ("method", "resets", "status", "heads"),
    [
        pytest.param("GET", 2, b"200", 3, id="two resets, then an answer"),
        pytest.param("GET", 9, b"502", 3, id="never more than the cap"),
        pytest.param("POST", 1, b"502", 1, id="a POST may have happened, so never again"),
    ],
)
async def test_resets_before_an_answer(method: str, resets: int, status: bytes, heads: int) -> None:
    """A connection that dies before the answer's head is worth another try where that is safe."""
    async with (
        Origin(resetting(resets)) as origin,
        Sidecar(policy_text(origin.port)) as sidecar,
    ):
        got = await sidecar.exchange(request(method, origin))
        assert got.split()[1] == status
        assert len(origin.heads) == heads


async def test_nobody_listening_is_a_connect_failure() -> None:
    """Refused connections are retried, then a 502 says so, and the budget has paid one call."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with Sidecar(policy_text(port)) as sidecar:
            got = await sidecar.get(f"http://127.0.0.1:{port}/")
            assert got.startswith(b"HTTP/1.1 502 ")
            assert b"Toolbooth-Code: upstream_connect\r\n" in got
            assert b"X-Should-Retry: false\r\n" in got
            record = sidecar.records[0]
            assert (record.code, record.attempts) == (Reason.UPSTREAM_CONNECT, 3)


async def test_retry_after_is_honoured_when_it_fits() -> None:
    """An answer that asks for more time than the call has left is relayed, not slept on."""
    later = b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
    async with (
        Origin(answering(later)) as origin,
        Sidecar(policy_text(origin.port)) as sidecar,
    ):
        got = await sidecar.exchange(request("GET", origin))
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 3600\r\n" in got
        assert len(origin.heads) == 1


async def test_retries_stay_within_their_budget() -> None:
    """With everything failing, all retries together stay near a fifth of the calls."""
    async with (
        Origin(answering(UNAVAILABLE)) as origin,
        Sidecar(policy_text(origin.port)) as sidecar,
    ):
        for _ in range(100):
            await sidecar.exchange(request("GET", origin))
        assert 100 < len(origin.heads) <= 100 + 20


async def test_the_breaker_opens_and_says_when_to_come_back() -> None:
    """After enough failures calls are refused without touching the upstream; 429 never counts."""
    breaker = "  circuit_breaker: {error_rate: 0.5, min_requests: 5, open_seconds: 10}\n"
    async with (
        Origin(answering(*[FAILED] * 5, OK)) as origin,
        Sidecar(policy_text(origin.port, extra=breaker)) as sidecar,
    ):
        for _ in range(5):
            await sidecar.exchange(request("GET", origin))
        got = await sidecar.exchange(request("GET", origin))
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Toolbooth-Code: circuit_open\r\n" in got
        assert b"Retry-After: " in got
        assert len(origin.heads) == 5

    async with (
        Origin(answering(TOO_MANY)) as origin,
        Sidecar(policy_text(origin.port, extra=breaker, tool="retry_writes: false")) as sidecar,
    ):
        for _ in range(10):
            got = await sidecar.exchange(request("POST", origin))
        assert got.startswith(b"HTTP/1.1 429 ")


async def test_a_kept_connection_that_died_costs_one_attempt() -> None:
    """An origin that closes after each answer is dialled anew, without an error on the way."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        for _ in range(5):
            assert (await sidecar.exchange(request("POST", origin))).endswith(b"ok")
            await asyncio.sleep(0.01)
        assert len(origin.heads) == 5


async def test_connections_are_reused() -> None:
    """Ten calls in a row share one upstream connection."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        for _ in range(10):
            writer.write(request("GET", origin))
            assert (await read_answer(reader)).endswith(b"ok")
        assert len(origin.connections) == 1
        writer.close()


async def test_a_pooled_connection_is_judged_again() -> None:
    """A connection kept under one rule is not handed to a rule that forbids its address."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        assert (await sidecar.exchange(request("GET", origin))).endswith(b"ok")
        from proxy.policy.compile import load_policy

        closed = policy_text(origin.port).replace('"127.0.0.0/8", ', "")
        sidecar.booth.policy = load_policy(closed)
        got = await sidecar.exchange(request("GET", origin))
        assert b"Toolbooth-Code: address_denied\r\n" in got
        assert len(origin.heads) == 1
