"""Calls of a model: its tokens read from the answer, priced, charged, in every way in."""

import asyncio
import gzip

import orjson
import pytest

from proxy.guards.allowance import Amounts
from proxy.guards.meter import ASSUMED_OUTPUT_TOKENS
from proxy.model.call import Mode
from proxy.model.reason import Reason
from tests.fakes.origin import Origin, OriginConnection, Script, answering
from tests.fakes.sidecar import Sidecar, policy_text, read_answer

USAGE = {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
PRICED = (
    "kind: model\ncost_usd: 0.000007\npricing: {input_usd_per_mtok: 3, output_usd_per_mtok: 15}\n"
)
ASKED = orjson.dumps({"max_tokens": 200, "messages": ["x" * 366]})  # 400 bytes: 100 tokens
COST = 7 + 3000 + 1500  # the call, the input, the output
HELD = 7 + 300 + 3000  # the call, 100 tokens in, 200 out


def model(port: int, *, tool: str = PRICED, extra: str = "") -> str:
    upstream = f"upstream: http://127.0.0.1:{port}\n"
    return policy_text(port, tool=upstream + tool, extra=extra)


def ask(target: str = "/tools/echo/v1/chat", *lines: str, content: bytes = ASKED) -> bytes:
    named = ("Host: booth", "X-Agent-Run-Id: r", f"Content-Length: {len(content)}", *lines)
    head = "".join(f"{line}\r\n" for line in named)
    return f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + content


def whole(content: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(content)}", *lines))
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + content


def used(sidecar: Sidecar) -> Amounts:
    view = sidecar.booth.ledger.run_view(sidecar.booth.policy.budgets, "r")
    assert view is not None
    assert view.in_flight == 0
    return view.used


def reading_bodies(answer: bytes) -> Script:
    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await connection.read(int(length))
            await connection.send(answer)

    return script


def test_the_request_is_as_long_as_it_says() -> None:
    assert len(ASKED) == 400


ANSWERS = [
    pytest.param(whole(orjson.dumps(USAGE)), COST, 1100, id="it says what it used"),
    pytest.param(
        whole(gzip.compress(orjson.dumps(USAGE)), "Content-Encoding: gzip"), COST, 1100,
        id="compressed",
    ),
    pytest.param(
        whole(b'data: {"usage":{"input_tokens":1000,"output_tokens":100}}\n\n',
              "Content-Type: text/event-stream"), COST, 1100, id="as events",
    ),
    pytest.param(whole(b"{}"), HELD, 300, id="it does not say: the guess"),
    pytest.param(
        whole(b'data: {"delta":"a"}\n\n' * 900, "Content-Type: text/event-stream"),
        7 + 300 + 900 * 15, 1000, id="nor does a stream: its events",
    ),
    pytest.param(whole(b"x" * 4000), 7 + 300 + 15_000, 1100, id="nor does a long text: its bytes"),
    pytest.param(whole(b"\x00", "Content-Encoding: br"), HELD, 300, id="nobody can tell: the same"),
    pytest.param(whole(orjson.dumps(USAGE), status="429 Slow"), 7, 0, id="an error costs the call"),
    pytest.param(whole(b'{"usage":{"prompt_tokens":-9999999,"completion_tokens":100}}'),
                 7 + 1500, 100, id="a negative number gives nothing back"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "micros", "tokens"), ANSWERS)
async def test_what_is_charged(answer: bytes, micros: int, tokens: int) -> None:
    """In the record, in the run, to the micro; and the client gets every byte."""
    async with Origin(reading_bodies(answer)) as origin, Sidecar(model(origin.port)) as sidecar:
        got = await sidecar.exchange(ask())
        assert got.partition(b"\r\n\r\n")[2] == answer.partition(b"\r\n\r\n")[2]
        record = sidecar.records[0]
        assert (record.cost_micros, record.tokens) == (micros, tokens)
        run = used(sidecar)
        assert (run.steps, run.tool_calls) == (1, 0)
        assert (run.spend_micros, run.tokens) == (micros, tokens)
        page = sidecar.telemetry.figures.render()
        unread = b'toolbooth_model_usage_unread_total{tool="echo"} 1.0' in page
        assert unread is (micros not in (COST, 7, 7 + 1500))


@pytest.mark.parametrize("mode", [Mode.ABSOLUTE, Mode.TUNNEL_HTTP, Mode.GATEWAY])
async def test_in_every_way_in(mode: Mode) -> None:
    async with (
        Origin(reading_bodies(whole(orjson.dumps(USAGE)))) as origin,
        Sidecar(model(origin.port)) as sidecar,
    ):
        host = origin.url[7:]
        reader, writer = await sidecar.open()
        if mode is Mode.TUNNEL_HTTP:
            writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
        target = "/tools/echo/v1/chat" if mode is Mode.GATEWAY else f"{origin.url}/v1/chat"
        writer.write(ask(target).replace(b"Host: booth", b"Host: " + host.encode()))
        await read_answer(reader)
        writer.close()
        record = next(r for r in sidecar.records if r.mode is mode)
        assert (record.cost_micros, record.tokens) == (COST, 1100)


CODINGS = [
    pytest.param((), b"identity", id="not said"),
    pytest.param(("Accept-Encoding: br, gzip",), b"gzip", id="gzip among others"),
    pytest.param(("accept_encoding: br", "Accept-Encoding: br"), b"identity", id="only others"),
]


@pytest.mark.parametrize(("lines", "expected"), CODINGS)
async def test_only_codings_that_can_be_read_are_asked_for(
    lines: tuple[str, ...], expected: bytes
) -> None:
    async with Origin() as origin, Sidecar(model(origin.port)) as sidecar:
        await sidecar.exchange(ask("/tools/echo/a", *lines))
        sent = [x for x in origin.heads[0].split(b"\r\n") if x[:6].lower() == b"accept"]
        assert sent == [b"Accept-Encoding: " + expected]


async def test_other_tools_keep_their_codings() -> None:
    async with Origin() as origin, Sidecar(model(origin.port, tool="")) as sidecar:
        await sidecar.exchange(ask("/tools/echo/a", "Accept-Encoding: br"))
        assert b"\r\nAccept-Encoding: br\r\n" in origin.heads[0]


FIRST = b'data: {"message":{"usage":{"input_tokens":4000,"output_tokens":1}}}\n\n'
LAST = b'data: {"type":"message_delta","usage":{"output_tokens":100}}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def test_a_stream_arrives_as_it_comes() -> None:
    """The second event is sent only when the client has the first."""
    has_first = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(len(ASKED))
        await connection.send(STREAM + chunk(FIRST))
        await has_first.wait()
        await connection.send(chunk(LAST) + b"0\r\n\r\n")

    async with Origin(script) as origin, Sidecar(model(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(ask())
        async with asyncio.timeout(5):
            await reader.readuntil(FIRST)
            has_first.set()
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        record = sidecar.records[0]
        assert (record.cost_micros, record.tokens) == (7 + 12_000 + 1500, 4100)


LEFT = [
    pytest.param(b"", HELD, 300, id="before anything was said: the estimate"),
    pytest.param(FIRST, 7 + 12_000 + 3000, 4200, id="more in than held, less out: the most"),
]


@pytest.mark.parametrize("who", ["client", "upstream"])
@pytest.mark.parametrize(("said", "micros", "tokens"), LEFT)
async def test_leaving_half_way_is_no_way_to_pay_less(
    said: bytes, micros: int, tokens: int, who: str
) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(len(ASKED))
        await connection.send(STREAM + (chunk(said) if said else b""))
        if who == "client":
            await connection.read_some()
        else:
            has_it.set()
            await asyncio.sleep(0.05)
            connection.reset()

    has_it = asyncio.Event()
    async with Origin(script) as origin, Sidecar(model(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(ask())
        async with asyncio.timeout(5):
            await reader.readuntil(said or b"\r\n\r\n")
            if who == "client":
                writer.transport.abort()
            while not sidecar.records:
                await asyncio.sleep(0.005)
        writer.close()
        record = sidecar.records[0]
        assert record.code is (Reason.CLIENT_GONE if who == "client" else Reason.UPSTREAM_RESET)
        assert (record.cost_micros, record.tokens) == (micros, tokens)
        assert not record.is_usage_unread
        assert used(sidecar).spend_micros == micros


async def test_leaving_before_the_answer_costs_the_estimate() -> None:
    asked = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(len(ASKED))
        asked.set()
        await connection.read_some()

    async with Origin(script) as origin, Sidecar(model(origin.port)) as sidecar:
        _, writer = await sidecar.open()
        writer.write(ask())
        async with asyncio.timeout(5):
            await asked.wait()
            writer.transport.abort()
            while not sidecar.records:
                await asyncio.sleep(0.005)
        assert (sidecar.records[0].cost_micros, sidecar.records[0].tokens) == (HELD, 300)


async def test_a_call_that_never_left_costs_nothing() -> None:
    async with Origin() as origin:
        port = origin.port
    async with Sidecar(model(port)) as sidecar:
        got = await sidecar.exchange(ask())
        assert b"Toolbooth-Code: upstream_connect\r\n" in got
        assert (sidecar.records[0].cost_micros, sidecar.records[0].tokens) == (0, 0)
        assert used(sidecar).spend_micros == 0


async def test_a_call_without_content_asks_a_model_nothing() -> None:
    """Looking up an answer must not pay for its usage again."""
    async with (
        Origin(answering(whole(orjson.dumps(USAGE)))) as origin,
        Sidecar(model(origin.port)) as sidecar,
    ):
        await sidecar.get(f"{origin.url}/v1/responses/1")
        record = sidecar.records[0]
        assert (record.cost_micros, record.tokens, record.is_usage_unread) == (7, 0, False)


LIMITS = [
    pytest.param("{max_tokens: 1100}", Reason.MAX_TOKENS, id="tokens"),
    pytest.param("{max_spend_usd: 0.004507}", Reason.MAX_SPEND_USD, id="spend"),
]


@pytest.mark.parametrize(("limits", "code"), LIMITS)
async def test_what_was_used_ends_the_run(limits: str, code: Reason) -> None:
    async with (
        Origin(reading_bodies(whole(orjson.dumps(USAGE)))) as origin,
        Sidecar(model(origin.port, extra=f"budgets: {limits}\n")) as sidecar,
    ):
        assert b" 200 OK" in await sidecar.exchange(ask())
        got = await sidecar.exchange(ask())
        assert f"Toolbooth-Code: {code}\r\n".encode() in got
        assert b"X-Should-Retry: false\r\n" in got
        assert len(origin.heads) == 1


@pytest.mark.parametrize(
    "limits", ["{max_tokens: 3000}", "{max_spend_usd: 0.03307}"], ids=["tokens", "spend"]
)
async def test_a_hundred_calls_at_once_cannot_count_on_the_same_rest(limits: str) -> None:
    """Each holds 300 tokens, or 3,307 micros: ten at once fit, whoever asks."""
    arrived = 0
    go_on = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        nonlocal arrived
        await connection.read_head()
        await connection.read(len(ASKED))
        arrived += 1
        await go_on.wait()
        await connection.send(whole(b'{"usage":{"prompt_tokens":100,"completion_tokens":200}}'))

    async with Origin(script) as origin:
        text = model(origin.port, extra=f"budgets: {limits}\n")
        text = text.replace("tools:\n", "tools:\n  concurrency: {default: 200}\n", 1)
        async with Sidecar(text) as sidecar:
            calls = [asyncio.ensure_future(sidecar.exchange(ask())) for _ in range(100)]
            async with asyncio.timeout(10):
                while len(sidecar.records) < 90:
                    await asyncio.sleep(0.01)
            go_on.set()
            answers = await asyncio.gather(*calls)
            assert arrived == 10
            assert sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers) == 10
            assert used(sidecar).tokens == 3000
            assert used(sidecar).spend_micros == 10 * HELD
            assert used(sidecar).spend_micros == sum(r.cost_micros for r in sidecar.records)


async def test_a_client_that_waits_for_a_100_is_told_to_go_on() -> None:
    """The estimate needs the content."""
    async with (
        Origin(reading_bodies(whole(b"{}"))) as origin,
        Sidecar(model(origin.port)) as sidecar,
    ):
        reader, writer = await sidecar.open()
        head = ask("/tools/echo/v1/chat", "Expect: 100-continue").removesuffix(ASKED)
        writer.write(head)
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(ASKED)
        assert b" 200 OK" in await read_answer(reader)
        writer.close()
        assert sidecar.records[0].tokens == 300


async def test_content_too_large_to_keep_is_streamed_and_guessed_by_its_length() -> None:
    content = b'{"max_tokens": 9999, "x": "' + b"x" * 399_971 + b'"}'
    async with (
        Origin(reading_bodies(whole(b"{}"))) as origin,
        Sidecar(model(origin.port)) as sidecar,
    ):
        assert b" 200 OK" in await sidecar.exchange(ask(content=content))
        assert sidecar.records[0].tokens == len(content) // 4 + ASSUMED_OUTPUT_TOKENS
