"""The walk as a whole: one record a call, fail closed, switches, sampling, the gateway."""

import asyncio
from unittest.mock import patch

import orjson
import pytest

from proxy.model.reason import Reason
from tests.fakes.origin import OK, Origin, OriginConnection, answering
from tests.fakes.sidecar import Sidecar, policy_text, read_answer


async def test_a_bug_in_a_guard_is_a_refusal() -> None:
    """An exception while deciding ends in a 500, a record, and nothing let through."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        sidecar.booth.ledger.reserve = broken  # type: ignore[method-assign, assignment]
        got = await sidecar.get(f"{origin.url}/")
        assert got.startswith(b"HTTP/1.1 500 ")
        assert b"ZeroDivision" not in got
        assert origin.heads == []
        assert [r.code for r in sidecar.records] == [Reason.INTERNAL_ERROR]
        assert isinstance(sidecar.bugs.pop(), ZeroDivisionError)


async def test_a_bug_after_the_answer_has_come_closes_the_connection_to_the_upstream() -> None:
    """It is in nobody's hands then, and would stay open for as long as the upstream likes."""
    ended = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        await connection.reader.read()
        ended.set()

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        with patch("proxy.pipeline.relay.relayed_head", side_effect=ZeroDivisionError):
            assert (await sidecar.get(f"{origin.url}/")).startswith(b"HTTP/1.1 500 ")
        await asyncio.wait_for(ended.wait(), 5)
        assert isinstance(sidecar.bugs.pop(), ZeroDivisionError)


SWITCHES = [
    pytest.param("all", Reason.ALL_DISABLED, id="everything"),
    pytest.param("tool:echo", Reason.TOOL_DISABLED, id="the tool"),
    pytest.param("run:r1", Reason.RUN_STOPPED, id="the run"),
    pytest.param("agent:a1", Reason.AGENT_DISABLED, id="the agent"),
]


@pytest.mark.parametrize(("key", "code"), SWITCHES)
async def test_a_switch_refuses_the_next_call_and_reviving_lets_it_pass(
    key: str, code: Reason
) -> None:
    """A kill holds from the very next call on, tells the operator's reason, and can be undone."""
    lines = ("X-Agent-Run-Id: r1", "X-Agent-Id: a1")
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        sidecar.booth.switches.engage(key, "it deletes things", "ann")
        got = await sidecar.get(f"{origin.url}/", *lines)
        assert got.startswith(b"HTTP/1.1 403 ")
        assert f"Toolbooth-Code: {code}\r\n".encode() in got
        assert b"it deletes things" in got
        assert origin.heads == []
        sidecar.booth.switches.release(key)
        assert b" 200 OK" in await sidecar.get(f"{origin.url}/", *lines)


async def test_writes_can_be_switched_off_alone() -> None:
    """With writes off a GET passes, a POST does not, nor does a tunnel that may hide one."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        sidecar.booth.switches.engage("writes", "freeze", "ann")
        assert b" 200 OK" in await sidecar.get(f"{origin.url}/")
        host = origin.url[7:]
        for raw in (
            f"POST {origin.url}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n",
            f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        ):
            got = await sidecar.exchange(raw.encode())
            assert b"Toolbooth-Code: writes_disabled\r\n" in got
        assert len(origin.heads) == 1


async def test_a_kill_ends_running_streams() -> None:
    """An open event stream of a killed tool ends at once, visibly unfinished."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await connection.send(b"data: 1\n\n")
        await connection.read_some()

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)
        sidecar.booth.switches.engage("tool:echo", "stop", "ann")
        rest = await asyncio.wait_for(reader.read(), 1)
        assert not rest.endswith(b"0\r\n\r\n")
        assert [r.code for r in sidecar.records] == [Reason.TOOL_DISABLED]
        writer.close()


async def test_draining_refuses_new_calls() -> None:
    """While draining, a new call on a kept connection gets a 503 and a close."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        sidecar.booth.is_draining = True
        got = await sidecar.get(f"{origin.url}/")
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Toolbooth-Code: draining\r\n" in got
        assert b"Connection: close\r\n" in got
        assert origin.heads == []


GUARDED = [
    pytest.param("http://127.0.0.1/", Reason.ADDRESS_DENIED, id="loopback"),
    pytest.param("http://169.254.169.254/latest/meta-data/", Reason.ADDRESS_DENIED, id="metadata"),
    pytest.param("http://2130706433/", Reason.ADDRESS_DENIED, id="a number for loopback"),
    pytest.param("http://127.1/", Reason.ADDRESS_DENIED, id="a short spelling"),
    pytest.param("http://[::ffff:127.0.0.1]/", Reason.ADDRESS_DENIED, id="IPv4-mapped"),
    pytest.param("http://[64:ff9b::7f00:1]/", Reason.ADDRESS_DENIED, id="NAT64"),
    pytest.param("http://[fe80::1%25eth0]/", Reason.ADDRESS_DENIED, id="link-local with a zone"),
    pytest.param("http://inner.localhost/", Reason.ADDRESS_DENIED, id="a name that is loopback"),
]


@pytest.mark.parametrize(("url", "code"), GUARDED)
async def test_private_addresses_are_refused_for_a_tool_that_may_go_anywhere(
    url: str, code: Reason
) -> None:
    """A tool open to every host still reaches no address that is not public."""
    text = 'tools:\n  allowlist: ["*"]\n  catalog: {web: {match: [{host: "*"}]}}\n'
    async with Sidecar(text) as sidecar:
        got = await sidecar.get(url)
        assert got.startswith(b"HTTP/1.1 403 ")
        assert [r.code for r in sidecar.records] == [code]


async def test_an_answer_with_one_private_address_dials_only_the_others() -> None:
    """Of several addresses only the permitted ones are dialled."""
    async with Origin() as origin:
        text = policy_text(origin.port, host="mixed.test")
        async with Sidecar(text) as sidecar:
            sidecar.booth.pool._resolver._lookup = lambda _: ["10.0.0.1", "127.0.0.1"]
            assert b" 200 OK" in await sidecar.get(f"http://mixed.test:{origin.port}/")
            sidecar.booth.pool._resolver._lookup = lambda _: ["10.0.0.1"]
            sidecar.booth.pool._resolver._found.clear()
            sidecar.booth.pool.close()
            got = await sidecar.get(f"http://mixed.test:{origin.port}/")
            assert b"Toolbooth-Code: address_denied\r\n" in got


async def test_a_name_without_addresses_is_a_dns_failure() -> None:
    """An empty answer is never taken for `no private address found`."""
    async with Sidecar(policy_text(80, host="nowhere.test")) as sidecar:
        sidecar.booth.pool._resolver._lookup = lambda _: []
        got = await sidecar.get("http://nowhere.test/")
        assert b"Toolbooth-Code: upstream_dns\r\n" in got


async def test_nothing_is_resolved_for_a_refused_name() -> None:
    """A destination outside of the policy costs no DNS query."""
    asked: list[str] = []

    def asking(name: str) -> list[str]:
        asked.append(name)
        return []

    async with Sidecar(policy_text(80)) as sidecar:
        sidecar.booth.pool._resolver._lookup = asking
        await sidecar.get("http://secret-data.attacker.test/")
        assert asked == []


async def test_sampled_records_show_redacted_content() -> None:
    """At rate 1 the record shows both sides, with credentials and secrets masked."""
    extra = "observability: {result_sample_rate: 1.0, max_result_bytes: 300}\n"
    answer = b'{"password": "hunter22", "mail": "ann@example.com", "ok": true}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with (
        Origin(answering(head % len(answer) + answer)) as origin,
        Sidecar(policy_text(origin.port, extra=extra)) as sidecar,
    ):
        await sidecar.get(f"{origin.url}/?api_key=SECRET123456", "Authorization: Bearer abc.def")
        sidecar.recorder.stop(2.0)
        line = sidecar.sink.data
        record = orjson.loads(line)
        assert record["sampled"] is True
        for secret in (b"hunter22", b"ann@example.com", b"SECRET123456", b"abc.def"):
            assert secret not in line
        assert orjson.loads(record["result"]["body"])["ok"] is True
        assert record["result"]["truncated"] is False


async def test_gateway_paths_lead_to_the_tools_upstream() -> None:
    """`/tools/NAME/rest?query` goes to the upstream's prefix, byte for byte."""
    async with Origin() as origin:
        tool = f"upstream: http://127.0.0.1:{origin.port}/base/"
        async with Sidecar(policy_text(origin.port, tool=tool)) as sidecar:
            for path in ("/tools/echo/a%2Fb?x=1", "/tools/echo//evil.test/x", "/tools/echo/"):
                raw = f"GET {path} HTTP/1.1\r\nHost: booth:8080\r\n\r\n"
                assert b" 200 OK" in await sidecar.exchange(raw.encode())
            assert [head.split()[1] for head in origin.heads] == [
                b"/base/a%2Fb?x=1", b"/base//evil.test/x", b"/base/",
            ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tools/echo/../admin", 400), ("/tools/echo/..%2fadmin", 400),
        ("/tools/echo/..;/admin", 400), ("/tools/echo/%2e%2e/admin", 400),
        ("/tools/other/x", 403), ("/admin", 400), ("/tools/", 403),
    ],
)  # fmt: skip
async def test_gateway_paths_that_lead_elsewhere_are_refused(path: str, status: int) -> None:
    """Dot segments in any encoding, unknown tools and other paths reach no upstream."""
    async with Origin() as origin:
        tool = f"upstream: http://127.0.0.1:{origin.port}/base/"
        async with Sidecar(policy_text(origin.port, tool=tool)) as sidecar:
            raw = f"GET {path} HTTP/1.1\r\nHost: booth:8080\r\n\r\n"
            got = await sidecar.exchange(raw.encode())
            assert got.startswith(b"HTTP/1.1 %d " % status)
            assert origin.heads == []


async def test_websockets_pass_through() -> None:
    """An upgrade the origin accepts becomes a two-way stream; later bytes wait for the 101."""

    async def script(connection: OriginConnection) -> None:
        head = await connection.read_head()
        assert b"Upgrade: websocket\r\n" in head
        assert b"Sec-WebSocket-Key: k\r\n" in head
        await connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: a\r\n\r\nfirst"
        )
        assert await connection.read(5) == b"frame"
        await connection.send(b"second")

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nframe".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: a\r\n" in head
        assert await asyncio.wait_for(reader.read(), 5) == b"firstsecond"
        writer.close()


async def test_a_declined_upgrade_leaves_plain_http() -> None:
    """On anything but 101 the bytes behind the head are judged as the next request."""
    async with Origin(answering(OK)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\n\r\n"
            "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n".encode()
        )
        assert b" 200 OK" in await read_answer(reader)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 403 ")
        writer.close()


async def test_redirects_are_relayed_not_followed() -> None:
    """A redirect is the client's to follow, so that its next request is judged on its own."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with Origin(answering(answer)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
        assert got.startswith(b"HTTP/1.1 302 ")
        assert b"Location: http://169.254.169.254/\r\n" in got
        assert len(origin.heads) == 1


async def test_an_upstream_that_asks_for_proxy_credentials_gets_none() -> None:
    """407 is ours alone: an agent must not be made to send its credentials to an origin."""
    answer = b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    async with Origin(answering(answer)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
        assert got.startswith(b"HTTP/1.1 502 ")
        assert b"Proxy-Authenticate" not in got


async def test_a_stop_that_comes_too_late_does_not_reach_the_next_call() -> None:
    """An answer that uses up the byte budget is delivered, and the connection goes on."""
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000
    text = "budgets: {max_bytes: 1000}\n"
    async with (
        Origin(answering(big)) as origin,
        Sidecar(policy_text(origin.port, extra=text)) as sidecar,
    ):
        reader, writer = await sidecar.open()
        raw = f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode()
        writer.write(raw + raw)
        assert (await read_answer(reader)).endswith(b"x" * 2000)
        second = await read_answer(reader)
        assert second.startswith(b"HTTP/1.1 403 ")
        assert b"Toolbooth-Code: max_bytes\r\n" in second
        writer.write(raw)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 403 ")
        assert len(sidecar.records) == 3
        writer.close()


async def test_pipelined_content_is_read_on_after_a_pause() -> None:
    """A pipelined upload whose beginning just filled the buffer still arrives whole."""
    size = 200_000
    seen: list[int] = []

    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            if b"POST" in head:
                seen.append(len(await connection.read(size)))
            else:
                await asyncio.sleep(0.4)
            await connection.send(OK)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        line = f"{origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
        head = f"POST {line}Content-Length: {size}\r\n\r\n".encode()
        begun = (
            64 * 1024 + 1 - len(head)
        )  # one byte more than may wait, no more than may lie unread
        writer.write(f"GET {line}\r\n".encode())
        while not origin.heads:
            await asyncio.sleep(0.005)
        writer.write(head + b"y" * begun)
        await asyncio.sleep(0.25)
        writer.write(b"y" * (size - begun))
        for _ in range(2):
            assert (await read_answer(reader)).endswith(b"ok")
        assert seen == [size]
        writer.close()


async def test_web_pages_cannot_use_the_gateway() -> None:
    """A request with an Origin comes from a browser, where a page may have been rebound to us."""
    async with Origin() as origin:
        tool = f"upstream: http://127.0.0.1:{origin.port}"
        async with Sidecar(policy_text(origin.port, tool=tool)) as sidecar:
            raw = (
                b"GET /tools/echo/x HTTP/1.1\r\nHost: evil.test\r\nOrigin: http://evil.test\r\n\r\n"
            )
            assert (await sidecar.exchange(raw)).startswith(b"HTTP/1.1 400 ")
            assert origin.heads == []
