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
        await sidecar.exchange(request("TRACE", "/tools/echo/a"))
        assert len(upstream.heads) == 2
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


PLACEHOLDER = KEY % ", placeholder: PLACEHOLDER-1"


async def test_the_placeholder_becomes_the_secret_in_headers_and_query() -> None:
    """Not in the path, not in a name, not in the content; the record shows what was sent."""
    observed = "observability: {result_sample_rate: 1.0}\n"
    async with (
        Upstream() as upstream,
        Sidecar(gateway(upstream.port, PLACEHOLDER) + observed) as sidecar,
    ):
        body = b"PLACEHOLDER-1"
        await sidecar.exchange(
            request(
                "POST", "/tools/echo/PLACEHOLDER-1/x?key=PLACEHOLDER-1&PLACEHOLDER-1",
                "X-Goog-Api-Key: PLACEHOLDER-1", "Cookie: a=b; k=PLACEHOLDER-1; c=d",
                "PLACEHOLDER-1: v", "Api-Key: mine", "Authorization: Bearer PLACEHOLDER-1",
                f"Content-Length: {len(body)}",
            )
            + body
        )  # fmt: skip
        head = upstream.heads[0]
        quoted = b"sk-real%2FZq9%2BvXw7"
        assert head.startswith(
            b"POST /v1/PLACEHOLDER-1/x?key=" + quoted + b"&" + quoted + b" HTTP/1.1\r\n"
        )
        assert b"\r\nX-Goog-Api-Key: sk-real/Zq9+vXw7\r\n" in head
        assert b"\r\nCookie: a=b; k=sk-real/Zq9+vXw7; c=d\r\n" in head
        assert b"\r\nPLACEHOLDER-1: v\r\n" in head
        assert head.count(b"Authorization: Bearer sk-real/Zq9+vXw7") == 1
        assert b"mine" not in head
        assert upstream.received.endswith(body)
        record = sidecar.records[0]
        assert record.path == "/v1/PLACEHOLDER-1/x?key=PLACEHOLDER-1&PLACEHOLDER-1"
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
