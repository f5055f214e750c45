"""What is asked in a soak, and what has to come of it: each scene knows the verdict of each of its
calls."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable

from soak_client import Answer, Client, CutError, request
from soak_policy import RUN_CALLS

_OVER = 10  # calls beyond a run's budget
_TIMES_KEPT = 20_000


class Toggle:
    """Something an operator turns on and off. A call knows its verdict if nothing was turned while
    it was under way; `is_turning` from before the order until it was answered."""

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on
        self.is_turning = False
        self.turns = 0

    def state(self) -> tuple[bool, int]:
        """Equal before and after a call: it was in force all the while."""
        return (self.is_on, self.turns if not self.is_turning else -1)


class World:
    """What all scenes share: where things are, and the tally. `codes` is what records should say,
    `calls` and `wrong` go by scene."""

    def __init__(self, proxy: int, web: int, echo: int, closed: int) -> None:
        self.proxy, self.web, self.echo, self.closed = proxy, web, echo, closed
        self.is_over = False
        self.codes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.times_s: list[float] = []  # of steady calls since somebody looked
        self.killed = Toggle(is_on=False)
        self.allowed = Toggle(is_on=True)
        self._names = itertools.count()

    def run(self) -> str:
        """A run that nobody has used."""
        return f"run-{next(self._names)}"

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.web}{path}"

    def get(self, path: str, run: str, more: str = "") -> bytes:
        return request(self.url(path), f"127.0.0.1:{self.web}", run, more=more)

    def judge(self, scene: str, got: str, *right: str) -> None:
        """Count one call that left a record with the code `got`."""
        self.calls[scene] += 1
        self.codes[got] += 1
        if got not in right:
            self.wrong.append(f"{scene}: {got!r} instead of {' or '.join(right)}")

    def expect(self, scene: str, holds: object, what: str) -> None:
        """Something else that has to be true of a call."""
        if not holds:
            self.wrong.append(f"{scene}: {what}")

    def timed(self, seconds: float) -> None:
        if len(self.times_s) < _TIMES_KEPT:
            self.times_s.append(seconds)


Scene = Callable[[World], Awaitable[None]]


async def steady(world: World, pause_s: float) -> None:
    """GET, POST and large answers on one connection: a whole run, and a little more than it may."""
    client, run = Client(world.proxy), world.run()
    clock = asyncio.get_running_loop().time
    host = f"127.0.0.1:{world.web}"
    small = world.get("/ok/a", run)
    large = world.get("/large/a", run)
    post = request(world.url("/post/a"), host, run, method="POST", content=b"x" * 2048)
    for number in range(RUN_CALLS + _OVER):
        if world.is_over:
            break
        raw, size = ((small, 11), (post, 14), (small, 11), (large, 65_536))[number % 4]
        started_s = clock()
        got = await client.ask(raw)
        world.timed(clock() - started_s)
        if number < RUN_CALLS:
            world.judge("steady", got.code, "ok")
            world.expect("steady", (got.status, len(got.content)) == (200, size), repr(got)[:200])
        else:
            world.judge("over budget", got.code, "max_tool_calls")
            world.expect("over budget", got.status == 403, "not a 403")
        await asyncio.sleep(pause_s)
    client.close()


async def events(world: World) -> None:
    got = await _ask_once(world, world.get("/events/a", world.run()))
    world.judge("events", got.code, "ok")
    world.expect("events", got.content.count(b"data: ") == 8, "events are missing")


async def gateway(world: World) -> None:
    raw = request("/tools/steady/ok/a", f"127.0.0.1:{world.proxy}", world.run())
    got = await _ask_once(world, raw)
    world.judge("gateway", got.code, "ok")


async def tunnel(world: World) -> None:
    await _echo(world, "tunnel", await _opened(world, "CONNECT"))


async def web_socket(world: World) -> None:
    await _echo(world, "web socket", await _opened(world, "GET"))


async def mcp(world: World) -> None:
    """A tool that may be called, and one that may not."""
    run = world.run()
    for tool, code in (("search", "ok"), ("delete", "tool_not_allowed")):
        message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                   "params": {"name": tool, "arguments": {"q": "x"}}}  # fmt: skip
        raw = request(
            world.url("/mcp"), f"127.0.0.1:{world.web}", run, method="POST",
            content=json.dumps(message).encode(),
            more="Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            "MCP-Protocol-Version: 2025-06-18\r\n",
        )  # fmt: skip
        got = await _ask_once(world, raw)
        world.judge("mcp", got.code, code)
        answer = json.loads(got.content)
        is_error = answer["result"]["isError"]
        world.expect("mcp", answer["id"] == 7 and is_error is (code != "ok"), repr(answer))


async def refused(world: World) -> None:
    """No such tool, one that is not allowed, an address that may not be dialled."""
    run = world.run()
    for raw, code in (
        (world.get("/nowhere/a", run), "tool_unknown"),
        (world.get("/secret/a", run), "tool_not_allowed"),
        (request("http://169.254.169.254/", "169.254.169.254", run), "tool_unknown"),
        (request(f"127.0.0.1:{world.proxy}", "x", run, method="CONNECT"), "tool_unknown"),
    ):
        got = await _ask_once(world, raw)
        world.judge("refused", got.code, code)
        world.expect("refused", got.status == 403, f"{got.status} instead of 403")


HOSTILE = (
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request"),
    (b"GET http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     "bad_request"),
    (b"POST http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
     b"\r\n0\r\n\r\n", "bad_request"),
    (b"GET http://x/ HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
     "headers_too_large"),
    (b"GET / HTTP/9.9\r\n\r\n", "bad_request"),
)  # fmt: skip


async def hostile(world: World) -> None:
    """Bytes that are no request."""
    for raw, code in HOSTILE:
        got = await _ask_once(world, raw)
        world.judge("hostile", got.code, code)


async def faults(world: World) -> None:
    """What an upstream can do wrong."""
    run = world.run()
    closed = f"127.0.0.1:{world.closed}"
    for raw, code, status in (
        (world.get("/reset/a", run), "upstream_reset", 502),
        (world.get("/stall/a", run), "timeout", 504),
        (world.get("/busy/a", run), "ok", 429),
        (request(f"http://{closed}/", closed, run), "upstream_connect", 502),
    ):
        got = await _ask_once(world, raw)
        world.judge("faults", got.code, code)
        world.expect("faults", got.status == status, f"{got.status} instead of {status}")
    try:
        await _ask_once(world, world.get("/cut/a", run))
    except CutError:
        world.judge("faults", "upstream_reset", "upstream_reset")
    else:
        world.judge("faults", "a whole answer", "upstream_reset")


async def gone(world: World) -> None:
    """A client that does not wait for its answer."""
    client = Client(world.proxy)
    await client.send(world.get("/slow/a", world.run()))
    await asyncio.sleep(0.1)
    client.close()
    world.judge("gone", "client_gone", "client_gone")


async def switched(world: World) -> None:
    """A tool that an operator turns off and on."""
    await _toggled(world, "switched", "/ok-killed/a", world.killed, "tool_disabled", when=True)


async def reloaded(world: World) -> None:
    """A tool that the policy allows, and then again does not."""
    await _toggled(
        world, "reloaded", "/ok-reloaded/a", world.allowed, "tool_not_allowed", when=False
    )


async def _toggled(
    world: World, scene: str, path: str, toggle: Toggle, code: str, *, when: bool
) -> None:
    client, run = Client(world.proxy), world.run()
    for _ in range(20):
        before = toggle.state()
        try:
            got = (await client.ask(world.get(path, run))).code
        except CutError as cut:
            got = cut.code or code
        after = toggle.state()
        if before == after and before[1] >= 0:
            world.judge(scene, got, code if before[0] is when else "ok")
        else:
            world.judge(scene, got, "ok", code)
        await asyncio.sleep(0.01)
    client.close()


async def _ask_once(world: World, raw: bytes) -> Answer:
    client = Client(world.proxy)
    try:
        return await client.ask(raw)
    finally:
        client.close()


async def _opened(world: World, method: str) -> Client:
    client, run = Client(world.proxy), world.run()
    if method == "CONNECT":
        host = f"127.0.0.1:{world.echo}"
        raw, status = request(host, host, run, method="CONNECT"), 200
    else:
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        raw, status = world.get("/socket/a", run, upgrade), 101
    got = await client.ask(raw)
    world.expect(method, got.status == status, f"{got.status} instead of {status}")
    return client


async def _echo(world: World, scene: str, client: Client) -> None:
    """A few messages each way; the record comes when the tunnel ends."""
    for size in (10, 1000, 100_000):
        data = b"\x01" * size
        world.expect(scene, await client.exchange(data) == data, "other bytes came back")
        await asyncio.sleep(0.05)
    client.close()
    world.judge(scene, "ok", "ok")


SCENES: tuple[Scene, ...] = (
    events, gateway, tunnel, web_socket, mcp, refused, hostile, faults, gone, switched, reloaded,
)  # fmt: skip
