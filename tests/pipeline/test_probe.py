"""The probe host: answered by the sidecar, dialled by nobody, one record each."""

import asyncio
import json
import ssl

import pytest

from proxy.model.call import Mode
from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.pipeline.probe import Question, nonce_of_tunnel, read_question
from proxy.pipeline.sightings import MAX_NONCES
from tests.fakes.origin import Origin
from tests.fakes.sidecar import Sidecar, policy_text, read_answer
from tests.fakes.tunnel import HandClient, client_tls, open_tls

HOST = "toolbooth.invalid"
NONCE = "abcdef0123456789"
AS_RUN_7 = "Proxy-Authorization: Basic cnVuLTc6eA=="  # run-7:x

INTERCEPTING = policy_text(443, host="tool.localhost", tool="intercept_tls: true")
EMPTY = "tools: {allowlist: [], catalog: {}}\n"


def body(answer: bytes) -> dict[str, object]:
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert isinstance(document, dict)
    return document


async def seen(sidecar: Sidecar, nonce: str = NONCE) -> dict[str, object]:
    return body(await sidecar.get(f"http://{HOST}/seen/{nonce}"))


async def tunnelled(sidecar: Sidecar, authority: str, inner: bytes) -> bytes:
    """CONNECT, then `inner`, in one write; what came back after the tunnel's head."""
    reader, writer = await sidecar.open()
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{AS_RUN_7}\r\n\r\n"
    writer.write(head.encode() + inner)
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        answer = await read_answer(reader)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", f"/probe/{NONCE}", Question("probe", NONCE)),
        ("HEAD", f"/probe/{NONCE}", Question("probe", NONCE)),
        ("GET", f"/probe/{NONCE}/x.git/info/refs?service=git", Question("probe", NONCE)),
        ("GET", f"/probe/{NONCE}?a", Question("probe", NONCE)),
        ("GET", f"/seen/{NONCE}", Question("seen", NONCE)),
        ("GET", "/ca.pem", Question("ca", "")),
        ("GET", "/ca.pem/x", 404),
        ("GET", "/", 404),
        ("GET", "*", 404),
        ("GET", "/probe/", 404),
        ("GET", "/probe/short", 404),
        ("GET", "/probe/" + "a" * 64, 404),
        ("GET", f"/probe/{NONCE.upper()}", 404),
        ("GET", f"/other/{NONCE}", 404),
        ("POST", f"/probe/{NONCE}", 405),
        ("DELETE", f"/seen/{NONCE}", 405),
    ],
)
def test_questions(method: str, path: str, expected: Question | int) -> None:
    """Two questions are understood; everything else is refused with the status it deserves."""
    if isinstance(expected, Question):
        assert read_question(method, path) == expected
        return
    with pytest.raises(BadMessage) as refused:
        read_question(method, path)
    assert refused.value.status == expected


@pytest.mark.parametrize(
    ("host", "port", "nonce"),
    [
        (f"{NONCE}.{HOST}", 443, NONCE),
        (f"{NONCE}.{HOST}", 80, None),
        (HOST, 443, None),
        (f"a.{NONCE}.{HOST}", 443, None),
        (f"short.{HOST}", 443, None),
    ],
)
def test_the_nonce_in_the_name_of_a_tunnel(host: str, port: int, nonce: str | None) -> None:
    assert nonce_of_tunnel(host, port) == nonce


async def test_a_request_in_the_clear_says_who_arrived() -> None:
    """No catalog entry, no budget: an empty policy answers, with one record, and nothing of it is
    counted on the run."""
    async with Sidecar(EMPTY) as sidecar:
        got = await sidecar.get(f"http://{HOST}/probe/{NONCE}", AS_RUN_7, "User-Agent: t/1")
        assert got.startswith(b"HTTP/1.1 200 ")
        answer = body(got)
        assert answer.pop("toolbooth")
        assert answer == {
            "run_id": "run-7", "agent_id": "shared:127.0.0.1", "run_given": True,
            "mode": "absolute", "nonce": NONCE, "intercepts": False,
        }  # fmt: skip
        [record] = sidecar.records
        assert (record.code, record.tool, record.status, record.attempts) == (Reason.OK, "", 200, 0)
        assert record.host == HOST
        assert len(sidecar.booth.ledger.runs_table) == 0


async def test_what_was_seen_of_a_nonce() -> None:
    """Nothing at first; then the clear request, the tunnel, each with whether it named its run."""
    async with Sidecar(EMPTY) as sidecar:
        assert (await seen(sidecar))["seen"] == {"http": False, "tunnel": False, "https": False}
        await sidecar.get(f"http://{HOST}/probe/{NONCE}", "User-Agent: curl/9")
        assert await seen(sidecar) == {
            "seen": {"http": True, "tunnel": False, "https": False},
            "run_given": {"http": False}, "run_id": "shared:127.0.0.1", "user_agent": "curl/9",
        }  # fmt: skip
        hello = HandClient(ssl.create_default_context(), f"{NONCE}.{HOST}").hello()
        assert await tunnelled(sidecar, f"{NONCE}.{HOST}:443", hello) == b""
        after = await seen(sidecar)
        assert after["seen"] == {"http": True, "tunnel": True, "https": False}
        assert after["run_given"] == {"http": False, "tunnel": True}
        tunnels = [record for record in sidecar.records if record.mode is Mode.CONNECT]
        assert [(r.code, r.tool, r.status) for r in tunnels] == [(Reason.OK, "", 200)]


async def test_plain_http_inside_a_tunnel() -> None:
    """Node's fetch opens a tunnel even for http:// URLs: the request inside counts as one in the
    clear, the tunnel to port 80 as nothing, and both leave a record."""
    inner = f"GET /probe/{NONCE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    async with Sidecar(EMPTY) as sidecar:
        answer = body(await tunnelled(sidecar, f"{HOST}:80", inner))
        assert (answer["mode"], answer["run_id"]) == ("tunnel_http", "run-7")
        assert (await seen(sidecar))["seen"] == {"http": True, "tunnel": False, "https": False}
        shown = [(r.mode, r.code, r.tool, r.status) for r in sidecar.records[:2]]
        assert shown == [
            (Mode.CONNECT, Reason.OK, "", 200), (Mode.TUNNEL_HTTP, Reason.OK, "", 200),
        ]  # fmt: skip


async def test_what_is_no_question_gets_one_refusal() -> None:
    """404 and one record; inside a tunnel too, where another host is a 400."""
    async with Sidecar(EMPTY) as sidecar:
        assert (await sidecar.get(f"http://{HOST}/")).startswith(b"HTTP/1.1 404 ")
        inner = b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n"
        got = await tunnelled(sidecar, f"{HOST}:443", inner)
        assert got.startswith(b"HTTP/1.1 400 ")
        codes = [record.code for record in sidecar.records]
        assert codes == [Reason.BAD_REQUEST, Reason.OK, Reason.BAD_REQUEST]


@pytest.mark.parametrize("key", ["all", "writes", "run:run-7", "agent:shared:127.0.0.1"])
async def test_kill_switches_leave_it_open(key: str) -> None:
    """It dials nothing, and a doctor is needed most when everything is off."""
    async with Sidecar(EMPTY) as sidecar:
        sidecar.booth.switches.engage(key, "incident", "ann")
        got = await sidecar.get(f"http://{HOST}/probe/{NONCE}", AS_RUN_7)
        assert got.startswith(b"HTTP/1.1 200 ")


async def test_a_draining_sidecar_answers_no_probe() -> None:
    async with Sidecar(EMPTY) as sidecar:
        sidecar.booth.is_draining = True
        got = await sidecar.get(f"http://{HOST}/probe/{NONCE}")
        assert b"Toolbooth-Code: draining\r\n" in got


async def test_a_full_table_is_busy_and_says_so() -> None:
    """What cannot be remembered is refused, counted by its code."""
    async with Sidecar(EMPTY) as sidecar:
        caller = (await sidecar.get(f"http://{HOST}/seen/{NONCE}"), sidecar.records[0].caller)[1]
        assert caller is not None
        for number in range(MAX_NONCES):
            sidecar.booth.sightings.note(f"other{number}", "http", caller, "")
        got = await sidecar.get(f"http://{HOST}/probe/{NONCE}")
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Toolbooth-Code: busy\r\n" in got


async def test_a_catalog_entry_for_the_name_is_never_reached() -> None:
    """The name is reserved, whatever the policy says."""
    async with Origin() as origin:
        text = policy_text(origin.port, host="*").replace("ports", "methods: [GET], ports")
        async with Sidecar(text) as sidecar:
            got = await sidecar.get(f"http://{HOST}:{origin.port}/probe/{NONCE}")
            assert body(got)["nonce"] == NONCE
        assert origin.heads == []


async def test_a_missing_run_is_still_asked_for() -> None:
    """Where the policy wants a run id, the probe wants it as well: that is how a doctor learns
    that a client sends none."""
    text = EMPTY + "budgets: {on_missing_run: reject}\n"
    async with Sidecar(text) as sidecar:
        assert b" 407 " in (await sidecar.get(f"http://{HOST}/probe/{NONCE}"))[:20]
        assert b" 200 " in (await sidecar.get(f"http://{HOST}/probe/{NONCE}", AS_RUN_7))[:20]


async def test_the_gateway_is_another_way() -> None:
    """A tool whose upstream has the name is judged as any tool."""
    entry = f"{{upstream: 'http://{HOST}', match: []}}"
    text = f"tools: {{allowlist: [], catalog: {{odd: {entry}}}}}\n"
    async with Sidecar(text) as sidecar:
        raw = f"GET /tools/odd/probe/{NONCE} HTTP/1.1\r\nHost: h\r\n\r\n"
        assert b"Toolbooth-Code: tool_not_allowed\r\n" in await sidecar.exchange(raw.encode())


async def test_a_user_agent_is_cut_and_made_visible() -> None:
    async with Sidecar(EMPTY) as sidecar:
        url = f"http://{HOST}/probe/{NONCE}"
        await sidecar.get(url, "User-Agent: \x85" + "x" * 200)
        agent = (await seen(sidecar))["user_agent"]
        assert agent == "\u00c2\\x85" + "x" * 98


async def ask_inside(sidecar: Sidecar, host: str, nonce: str) -> dict[str, object]:
    """A probe over TLS that ends in the sidecar."""
    reader, writer = await open_tls(sidecar, f"{host}:443", client_tls(sidecar), AS_RUN_7)
    writer.write(f"GET /probe/{nonce} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = body(await read_answer(reader))
    writer.transport.abort()
    return answer


async def test_a_request_inside_tls() -> None:
    """A client that trusts the CA is seen inside its tunnel, under the nonce of its name, with the
    run that opened it; both leave one record."""
    async with Sidecar(INTERCEPTING) as sidecar:
        answer = await ask_inside(sidecar, f"{NONCE}.{HOST}", NONCE)
        assert (answer["mode"], answer["run_id"]) == ("intercepted", "run-7")
        assert answer["intercepts"] is True
        told = await seen(sidecar)
        assert told["seen"] == {"http": False, "tunnel": True, "https": True}
        assert told["run_given"] == {"tunnel": True, "https": True}
        shown = [(r.mode, r.code, r.tool, r.status) for r in sidecar.records[:2]]
        assert shown == [
            (Mode.CONNECT, Reason.OK, "", 200), (Mode.INTERCEPTED, Reason.OK, "", 200),
        ]  # fmt: skip


async def test_one_certificate_serves_every_name_of_the_probe_host() -> None:
    """A flood of names makes no certificates and pushes none of a tool out."""
    async with Sidecar(INTERCEPTING) as sidecar:
        for number in range(3):
            await ask_inside(sidecar, f"nonce-{number}.{HOST}", NONCE)
        await ask_inside(sidecar, HOST, NONCE)
        assert len(sidecar.booth.authority._contexts) == 1


async def test_a_client_without_trust_is_told_apart() -> None:
    """Its tunnel was seen, nothing inside was; the record says why."""
    async with Sidecar(INTERCEPTING) as sidecar:
        with pytest.raises(ssl.SSLError):
            await open_tls(sidecar, f"{NONCE}.{HOST}:443", ssl.create_default_context())
        told = await seen(sidecar)
        assert told["seen"] == {"http": False, "tunnel": True, "https": False}


async def test_the_ca_is_public_where_there_is_one() -> None:
    """Only its certificate; a policy that intercepts nothing has none."""
    async with Sidecar(INTERCEPTING) as sidecar:
        got = await sidecar.get(f"http://{HOST}/ca.pem")
        assert b"\r\nContent-Type: application/x-pem-file\r\n" in got
        assert got.count(b"-----BEGIN CERTIFICATE-----") == 1
        assert b"PRIVATE" not in got
    async with Sidecar(EMPTY) as sidecar:
        assert (await sidecar.get(f"http://{HOST}/ca.pem")).startswith(b"HTTP/1.1 404 ")


async def test_neither_tls_nor_http_in_a_tunnel() -> None:
    async with Sidecar(EMPTY) as sidecar:
        assert await tunnelled(sidecar, f"{HOST}:443", b"\x00\x01\x02\x03\x04\x05") == b""
        assert sidecar.records[0].code is Reason.TOOL_NOT_ALLOWED
