"""Secrets on their way up: where they go, and everywhere they do not."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from proxy.model.call import Mode, Origin, Target
from proxy.model.reason import Reason
from proxy.pipeline.injection import inject
from proxy.pipeline.visit import Visit
from proxy.policy.policy import CredentialRule
from proxy.upstream.credentials import FRESH_S, Secret
from proxy.wire.head import parse_request_head
from tests.fakes.clock import FakeClock
from tests.fakes.origin import Origin as Upstream
from tests.fakes.origin import answering
from tests.fakes.sidecar import Sidecar, policy_text

SECRET = "sk-real/Zq9+vXw7"
KEY = "credentials: {secret_env: TOOL_KEY%s}"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_KEY", SECRET)


def gateway(port: int, credentials: str = KEY % "", more: str = "") -> str:
    upstream = f"upstream: http://127.0.0.1:{port}/v1"
    return policy_text(port, tool=f"{upstream}\n{credentials}\n{more}")


def request(method: str, target: str, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in ("Host: booth", *lines))
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode()


HEADERS = [
    pytest.param("", (), b"Authorization: Bearer sk-real/Zq9+vXw7", id="the default"),
    pytest.param("", ("Authorization: Bearer mine",), b"Authorization: Bearer sk-real/Zq9+vXw7",
                 id="the agent's own is dropped"),
    pytest.param(', header: X-Api-Key, format: "{secret}"', ("X_API_KEY: mine", "x-api-key: mine"),
                 b"X-Api-Key: sk-real/Zq9+vXw7", id="however it is spelt"),
    pytest.param(', header: x_tenant, format: "{secret}"', ("X-Tenant: mine", "X_Tenant: mine"),
                 b"X_Tenant: sk-real/Zq9+vXw7", id="also where the header has the other spelling"),
    pytest.param(', header: X-Api-Key, format: "{secret}"',
                 ("Authorization: Bearer mine", "api_key: mine", "X-Goog-Api-Key: mine"),
                 b"X-Api-Key: sk-real/Zq9+vXw7", id="nor does another key of its own pass"),
    pytest.param("", ("Connection: authorization",), b"Authorization: Bearer sk-real/Zq9+vXw7",
                 id="and it cannot be nominated away"),
]  # fmt: skip


@pytest.mark.parametrize(("credentials", "lines", "expected"), HEADERS)
async def test_the_header(credentials: str, lines: tuple[str, ...], expected: bytes) -> None:
    async with (
        Upstream() as upstream,
        Sidecar(gateway(upstream.port, KEY % credentials)) as sidecar,
    ):
        got = await sidecar.exchange(request("GET", "/tools/echo/a", *lines))
        assert got.startswith(b"HTTP/1.1 200 ")
        sent = upstream.heads[0]
        assert sent.startswith(b"GET /v1/a HTTP/1.1\r\n")
        assert expected in sent.split(b"\r\n")
        assert b"mine" not in sent
        assert sent.count(SECRET.encode()) == 1


async def test_a_dropped_key_hides_no_nominated_header() -> None:
    """Two `Connection` lines name what must not pass, however many other lines were taken out."""
    lines = ("X-Hop: 1", "Connection: x-hop", "Connection: keep-alive", "X-Api-Key: mine")
    async with Upstream() as upstream, Sidecar(gateway(upstream.port)) as sidecar:
        await sidecar.exchange(request("GET", "/tools/echo/a", *lines))
        assert b"X-Hop" not in upstream.heads[0]


async def test_every_attempt_carries_it() -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with (
        Upstream(answering(busy, ok)) as upstream,
        Sidecar(gateway(upstream.port)) as sidecar,
    ):
        await sidecar.exchange(request("GET", "/tools/echo/a"))
        assert sidecar.records[0].attempts == 2
        assert len(set(upstream.heads)) == 1


async def test_no_other_way_in_and_no_trace_carries_it() -> None:
    """Absolute-form leads to whoever the match names; TRACE echoes; both pass as they came."""
    async with Upstream() as upstream, Sidecar(gateway(upstream.port)) as sidecar:
        await sidecar.get(f"{upstream.url}/v1/a", "Authorization: Bearer mine")
        for method in ("TRACE", "trace", "TRACK", "Track"):
            await sidecar.exchange(request(method, "/tools/echo/a"))
        assert len(upstream.heads) == 5
        assert SECRET.encode() not in upstream.received
        assert b"Authorization: Bearer mine\r\n" in upstream.heads[0]


async def test_a_tool_without_credentials_leaves_the_agent_s_own() -> None:
    async with Upstream() as upstream, Sidecar(gateway(upstream.port, "")) as sidecar:
        await sidecar.exchange(request("GET", "/tools/echo/a", "Authorization: Bearer mine"))
        assert b"Authorization: Bearer mine\r\n" in upstream.heads[0]


def visit_of(mode: Mode, origin: Origin, upstream: Origin | None, method: str = "GET") -> Visit:
    """As much of a visit as is asked for."""
    secrets = SimpleNamespace(read=lambda _: Secret("s3cret-text", b"Bearer s3cret-text"))
    return cast(
        "Visit",
        SimpleNamespace(
            booth=SimpleNamespace(secrets=secrets),
            call=SimpleNamespace(mode=mode, target=Target(origin, "/a?k=v"), method=method),
            exchange=SimpleNamespace(head=parse_request_head(request("GET", "/a?k=v"))),
            rule=SimpleNamespace(name="t", upstream=upstream),
        ),
    )


API, OTHER = Origin("https", "api.test", 443), Origin("https", "api.test", 8443)
PLACES = [
    pytest.param(Mode.GATEWAY, API, API, True, id="the gateway"),
    pytest.param(Mode.INTERCEPTED, API, API, True, id="an opened tunnel to the upstream"),
    pytest.param(Mode.INTERCEPTED, OTHER, API, False, id="one to another origin of the tool"),
    pytest.param(Mode.INTERCEPTED, API, None, False, id="no upstream at all"),
    pytest.param(Mode.ABSOLUTE, API, API, False, id="absolute-form"),
    pytest.param(Mode.TUNNEL_HTTP, API, API, False, id="plain HTTP in a tunnel"),
]


@pytest.mark.parametrize(("mode", "origin", "upstream", "expected"), PLACES)
def test_only_to_the_upstream_s_origin(
    mode: Mode, origin: Origin, upstream: Origin | None, expected: bool
) -> None:
    rule = CredentialRule(b"authorization", "Bearer {secret}", "K", None, None)
    replace: dict[bytes, bytes] = {}
    inject(visit_of(mode, origin, upstream), rule, replace)
    assert (b"authorization" in replace) is expected


PLACEHOLDER = KEY % ", placeholder: PLACEHOLDER-1, placeholder_query: [key, api_key]"
STAYS = b"PLACEHOLDER-1"
STANDS_IN = [
    pytest.param("X-Goog-Api-Key: PLACEHOLDER-1", b"X-Goog-Api-Key: " + SECRET.encode(),
                 id="alone"),
    pytest.param("api_key:PLACEHOLDER-1 ", b"api_key: " + SECRET.encode(),
                 id="however it is spelt"),
    pytest.param("X-Api-Key: Key PLACEHOLDER-1", b"X-Api-Key: Key " + SECRET.encode(),
                 id="behind a scheme"),
    pytest.param("X-Api-Key: PLACEHOLDER-1x", None, id="a longer one is a key of its own"),
    pytest.param("X-Api-Key: a b PLACEHOLDER-1", None, id="so is what has no scheme"),
    pytest.param("X-Api-Key: a,PLACEHOLDER-1", None, id="or two keys"),
    pytest.param("Cookie: k=PLACEHOLDER-1", b"Cookie: k=PLACEHOLDER-1", id="not in a cookie"),
    pytest.param("Referer: http://evil.test/PLACEHOLDER-1", b"Referer: http://evil.test/" + STAYS,
                 id="not in an address"),
    pytest.param("X-Request-Id: PLACEHOLDER-1", b"X-Request-Id: " + STAYS,
                 id="not in what is kept"),
    pytest.param("User-Agent: PLACEHOLDER-1", b"User-Agent: " + STAYS, id="not in who asks"),
    pytest.param("PLACEHOLDER-1: v", b"PLACEHOLDER-1: v", id="not in a name"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), STANDS_IN)
async def test_the_placeholder_in_a_header(line: str, expected: bytes | None) -> None:
    """It is no paste: the agent could have the secret sent to wherever it likes."""
    async with Upstream() as upstream, Sidecar(gateway(upstream.port, PLACEHOLDER)) as sidecar:
        got = await sidecar.exchange(request("GET", "/tools/echo/a", line))
        assert got.startswith(b"HTTP/1.1 200 ")
        head = upstream.heads[0]
        assert head.count(b"Authorization: Bearer " + SECRET.encode()) == 1
        lines = head.split(b"\r\n")
        name = line.partition(":")[0].encode()
        assert [one for one in lines if one.startswith(name)] == ([expected] if expected else [])
        assert head.count(SECRET.encode()) == 1 + (SECRET.encode() in (expected or b""))


QUOTED = "sk-real%2FZq9%2BvXw7"
QUERIES = [
    pytest.param("key=PLACEHOLDER-1", f"key={QUOTED}", id="a parameter that the policy names"),
    pytest.param("a=b&api_key=PLACEHOLDER-1&c", f"a=b&api_key={QUOTED}&c", id="among others"),
    pytest.param("k=PLACEHOLDER-1", None, id="not in another"),
    pytest.param("key=PLACEHOLDER-1x", None, id="not in a longer value"),
    pytest.param("key=a,PLACEHOLDER-1", None, id="not at the end of one"),
    pytest.param("url=http://evil.test/?key=PLACEHOLDER-1", None, id="not in an address"),
    pytest.param("KEY=PLACEHOLDER-1", None, id="not in another case"),
    pytest.param("PLACEHOLDER-1", None, id="not as a name"),
    pytest.param("PLACEHOLDER-1=key", None, id="nor before its value"),
    pytest.param("key=PLACEHOLDER-1;a=b", None, id="not where it could be read in two ways"),
    pytest.param("k%65y=PLACEHOLDER-1", None, id="nor where the name is escaped"),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
async def test_the_placeholder_in_the_query(query: str, expected: str | None) -> None:
    """The record shows what was sent."""
    async with Upstream() as upstream, Sidecar(gateway(upstream.port, PLACEHOLDER)) as sidecar:
        await sidecar.exchange(request("GET", f"/tools/echo/a?{query}"))
        sent = f"GET /v1/a?{expected or query} HTTP/1.1\r\n".encode()
        assert upstream.heads[0].startswith(sent)
        assert sidecar.records[0].path == f"/v1/a?{query}"


async def test_without_names_no_query_carries_it() -> None:
    rule = KEY % ", placeholder: PLACEHOLDER-1"
    async with Upstream() as upstream, Sidecar(gateway(upstream.port, rule)) as sidecar:
        await sidecar.exchange(request("GET", "/tools/echo/a?key=PLACEHOLDER-1"))
        assert upstream.heads[0].startswith(b"GET /v1/a?key=PLACEHOLDER-1 ")


async def test_the_placeholder_stays_one_in_path_and_content() -> None:
    observed = "observability: {result_sample_rate: 1.0}\n"
    async with (
        Upstream() as upstream,
        Sidecar(gateway(upstream.port, PLACEHOLDER) + observed) as sidecar,
    ):
        lines = ("X-Goog-Api-Key: PLACEHOLDER-1", "Content-Length: 13")
        await sidecar.exchange(request("POST", "/tools/echo/PLACEHOLDER-1/x", *lines) + STAYS)
        assert upstream.heads[0].startswith(b"POST /v1/PLACEHOLDER-1/x HTTP/1.1\r\n")
        assert upstream.received.endswith(STAYS)
        record = sidecar.records[0]
        assert record.request is not None
        assert SECRET not in str(record.request.fields)


async def test_the_placeholder_stays_one_in_absolute_form() -> None:
    async with Upstream() as upstream, Sidecar(gateway(upstream.port, PLACEHOLDER)) as sidecar:
        await sidecar.get(f"{upstream.url}/v1/a?k=PLACEHOLDER-1", "X-Key: PLACEHOLDER-1")
        assert upstream.heads[0].count(b"PLACEHOLDER-1") == 2
        assert SECRET.encode() not in upstream.received


async def test_without_its_secret_a_call_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    """503, the tool's name, no dial, nothing charged; the file's return ends it."""
    path = tmp_path / "key"
    rule = f"credentials: {{secret_file: {path}}}"
    async with (
        Upstream() as upstream,
        Sidecar(gateway(upstream.port, rule, "cost_usd: 0.5")) as sidecar,
    ):
        clock = FakeClock()
        sidecar.booth.secrets._clock = clock
        got = await sidecar.exchange(request("GET", "/tools/echo/a", "X-Agent-Run-Id: r"))
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Toolbooth-Code: state_unavailable\r\n" in got
        assert b"The secret of tool 'echo' cannot be read" in got
        assert str(path).encode() not in got
        assert upstream.connections == []
        record = sidecar.records[0]
        assert (record.code, record.rule) == (
            Reason.STATE_UNAVAILABLE, "tools.catalog.echo.credentials",
        )  # fmt: skip
        run = sidecar.booth.ledger.run_view(sidecar.booth.policy.budgets, "r")
        assert run is not None
        assert (run.used.tool_calls, run.used.spend_micros) == (0, 0)
        path.write_text("user:pass\n")
        clock.advance(FRESH_S)
        got = await sidecar.exchange(request("GET", "/tools/echo/a", "X-Agent-Run-Id: r"))
        assert got.startswith(b"HTTP/1.1 200 ")
        assert b"Authorization: Bearer user:pass\r\n" in upstream.heads[0]


async def test_a_pair_is_encoded_for_basic(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("user:pass\n")
    rule = f'credentials: {{secret_file: {tmp_path / "key"}, format: "Basic {{secret}}"}}'
    async with Upstream() as upstream, Sidecar(gateway(upstream.port, rule)) as sidecar:
        await sidecar.exchange(request("GET", "/tools/echo/a"))
        assert b"Authorization: Basic " + base64.b64encode(b"user:pass") in upstream.heads[0]


REDIRECTS = [
    pytest.param("/v1/next?x=1", "/tools/echo/next?x=1", id="path-absolute"),
    pytest.param("http://127.0.0.1:{port}/v1/next", "/tools/echo/next", id="absolute"),
    pytest.param("next", "next", id="relative"),
    pytest.param("http://elsewhere.test/v1/next", "http://elsewhere.test/v1/next", id="away"),
]


@pytest.mark.parametrize(("location", "expected"), REDIRECTS)
async def test_a_redirect_is_relayed_into_the_gateway_and_never_followed(
    location: str, expected: str
) -> None:
    where: list[str] = []

    async def script(connection) -> None:  # type: ignore[no-untyped-def]
        while await connection.read_head():
            await connection.send(
                f"HTTP/1.1 302 Found\r\nLocation: {where[0]}\r\nContent-Length: 0\r\n"
                "Set-Cookie: a=b; Domain=api.test; Path=/v1\r\n\r\n".encode()
            )

    async with Upstream(script) as upstream, Sidecar(gateway(upstream.port)) as sidecar:
        where.append(location.replace("{port}", str(upstream.port)))
        got = await sidecar.exchange(request("GET", "/tools/echo/a"))
        assert got.startswith(b"HTTP/1.1 302 Found\r\n")
        assert f"\r\nLocation: {expected}\r\n".encode() in got
        assert b"\r\nSet-Cookie: a=b; Domain=api.test; Path=/v1\r\n" in got
        assert len(upstream.heads) == 1
        got = await sidecar.get(f"{upstream.url}/v1/a")
        assert f"\r\nLocation: {where[0]}\r\n".encode() in got
