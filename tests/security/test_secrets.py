"""A secret that an upstream sends back: every output of the sidecar is searched for it."""

import asyncio
import base64
import gzip
import json
import logging
from urllib.parse import quote

import pytest

from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text

SECRET = 'user:sk-R34l/"Zq9+vXw7;Lm3,Nb&8=Tz'
PASSWORD = SECRET.partition(":")[2]
BASIC = base64.b64encode(SECRET.encode()).decode()
# Eight letters of it are enough to call it found.
TRACES = ("sk-r34l", "zq9+vxw7", "zq9%2bvxw7", "lm3,nb", BASIC[:12].lower(), BASIC[8:24].lower())


def echoes(text: str) -> list[bytes]:
    """Everything an upstream may say with it."""
    spelt = [
        text, json.dumps(text), json.dumps({"error": f"bad key {text}", "k": [text]}),
        quote(text, safe=""), BASIC, f"Authorization: Basic {BASIC}",
        json.dumps({"a": json.dumps({"b": text})}),
    ]  # fmt: skip
    bodies = [one.encode() for one in spelt]
    bodies += [("x" * padding + text).encode() for padding in range(8150, 8193, 3)]
    bodies += [json.dumps({"p": "x" * padding + text}).encode() for padding in (8150, 8165, 8180)]
    return bodies


def answer(body: bytes, kind: str, status: str, *, packed: bool) -> bytes:
    if packed:
        body = gzip.compress(body)
    coding = "Content-Encoding: gzip\r\n" if packed else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{coding}X-Echo: {SECRET}\r\n"
        f"Location: /v1/{quote(SECRET, safe='')}\r\nX-Basic: {BASIC}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def policy(port: int) -> str:
    return policy_text(
        port,
        tool=(
            f"upstream: http://127.0.0.1:{port}/v1\n"
            'credentials: {secret_env: TOOL_KEY, format: "Basic {secret}", '
            "placeholder: PLACEHOLDER-1, placeholder_query: [k]}"
        ),
        extra="observability: {result_sample_rate: 1.0}\n",
    ).replace("{max: 2, backoff_ms: [1, 2]}", "{max: 0}")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/event-stream"])
async def test_no_output_has_it(
    kind: str, packed: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Bodies of every shape, cut at every place near the end of a capture; headers; broken answers
    whose error the sidecar tells. The log line, the recent calls and a live tail, the metrics, the
    sidecar's own answers and what it logs."""
    monkeypatch.setenv("TOOL_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    answers = [answer(body, kind, "200 OK", packed=packed) for body in echoes(SECRET)]
    answers += [
        answer(SECRET.encode(), kind, f"401 {SECRET}", packed=packed),
        f"HTTP/1.1 200 OK\r\nContent-Length: {PASSWORD}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n {SECRET}\r\n\r\n".encode(),
        f"{SECRET}\r\n\r\n".encode(),
    ]
    count = len(answers)

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(answers.pop(0))

    ours: list[bytes] = []
    async with Origin(script) as origin, Sidecar(policy(origin.port)) as sidecar:
        tail = sidecar.telemetry.recent.subscribe()
        assert tail is not None
        for _ in range(count):
            got = await sidecar.exchange(
                b"GET /tools/echo/a?k=PLACEHOLDER-1 HTTP/1.1\r\nHost: booth\r\n"
                b"X-Api-Key: PLACEHOLDER-1\r\nX-Other: PLACEHOLDER-1\r\n\r\n"
            )
            if b"Toolbooth-Code:" in got:
                ours.append(got)
        # An agent that has read it in an answer says it again, to other tools too.
        for target in (f"/tools/echo/{quote(SECRET, safe='')}?a=b", f"/tools/{PASSWORD[:6]}/x"):
            raw = f"GET {target} HTTP/1.1\r\nHost: booth\r\nX-Agent-Run-Id: {PASSWORD}\r\n\r\n"
            answers.append(answer(b"", kind, "200 OK", packed=False))
            await sidecar.exchange(raw.encode())
        assert all(SECRET.encode() in sent or BASIC.encode() in sent for sent in origin.heads)
        records = sidecar.recorder
        async with asyncio.timeout(10):
            while records.written < records.submitted:
                await asyncio.sleep(0.01)
        outputs = {
            "log": sidecar.sink.data,
            "recent": json.dumps(sidecar.telemetry.recent.find()).encode(),
            "tail": json.dumps([await tail.next() for _ in range(count)]).encode(),
            "metrics": sidecar.telemetry.figures.render(),
            "problems": b"".join(ours),
            "said": caplog.text.encode(),
        }
        tail.close()
    assert sidecar.records[0].sampled
    assert len(ours) == 3
    assert b"[redacted:secret]" in outputs["log"]
    assert b"PLACEHOLDER-1" in outputs["log"]
    found = [(name, trace) for name, text in outputs.items() for trace in TRACES
             if trace.encode() in text.lower()]  # fmt: skip
    assert found == []


async def test_without_the_masking_it_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: the same answers, and a sidecar that knows no secret."""
    monkeypatch.setenv("TOOL_KEY", SECRET)
    body = json.dumps({"note": SECRET}).encode()

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(answer(body, "application/json", "200 OK", packed=False))

    async with Origin(script) as origin, Sidecar(policy(origin.port)) as sidecar:
        sidecar.telemetry.hide(tuple)
        await sidecar.exchange(b"GET /tools/echo/a HTTP/1.1\r\nHost: booth\r\n\r\n")
        async with asyncio.timeout(10):
            while sidecar.recorder.written < 1:
                await asyncio.sleep(0.01)
    assert b"sk-r34l" in sidecar.sink.data.lower()
