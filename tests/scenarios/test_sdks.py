"""The makers' own SDKs, nothing changed but the base URL and a key that is none, through a real
sidecar that holds the key and keeps the books."""

import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.scenarios.processes import SidecarProcess, bare_environment, policy, running

pytestmark = pytest.mark.scenario

OPENAI_KEY, ANTHROPIC_KEY = "sk-proj-Real0penAIkey99", "sk-ant-RealAnthr0pic77"
NO_KEY = "not-a-key-1"

CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}  # fmt: skip
RESPONSE = {
    "id": "r1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
    "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
    "output": [{"id": "o1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "hello", "annotations": []}]}],
    "usage": {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100,
              "input_tokens_details": {"cached_tokens": 0},
              "output_tokens_details": {"reasoning_tokens": 0}},
}  # fmt: skip
MESSAGE = {
    "id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "hello"}],
    "usage": {"input_tokens": 400, "cache_creation_input_tokens": 500,
              "cache_read_input_tokens": 100, "output_tokens": 100},
}  # fmt: skip


def chat_events(usage: bool) -> Iterator[str]:
    for word in ("hel", "lo"):
        delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        yield "data: " + json.dumps(CHAT | {"object": "chat.completion.chunk", "choices": [delta],
                                            "usage": None})  # fmt: skip
    if usage:
        yield "data: " + json.dumps(CHAT | {"object": "chat.completion.chunk", "choices": []})
    yield "data: [DONE]"


def response_events() -> Iterator[str]:
    delta = {
        "type": "response.output_text.delta", "item_id": "o1", "output_index": 0,
        "content_index": 0, "delta": "hello", "sequence_number": 1, "logprobs": [],
    }  # fmt: skip
    done = {"type": "response.completed", "sequence_number": 2, "response": RESPONSE}
    for event in (delta, done):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}"


def message_events() -> Iterator[str]:
    start = MESSAGE | {"content": [], "stop_reason": None}
    start["usage"] = {**MESSAGE["usage"], "output_tokens": 1}  # type: ignore[dict-item]
    for event in (
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta",
                                                              "text": "hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 100}},
        {"type": "message_stop"},
    ):  # fmt: skip
        yield f"event: {event['type']}\ndata: {json.dumps(event)}"


class Makers:
    """Both makers' APIs on one port. `keys`: each key that came, in any header."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        makers = self
        self.keys: list[str] = []
        self.heads: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                makers.heads.append(str(self.headers))
                makers.keys += [self.headers[n] for n in ("Authorization", "X-Api-Key")
                                if n in self.headers]  # fmt: skip
                whole, events = makers.answers(self.path, asked)
                if not asked.get("stream"):
                    self._whole(json.dumps(whole).encode())
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for event in events:
                    data = f"{event}\n\n".encode()
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.write(b"0\r\n\r\n")

            def _whole(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def answers(self, path: str, asked: dict[str, object]) -> tuple[object, Iterator[str]]:
        if path == "/v1/chat/completions":
            return CHAT, chat_events(bool(asked.get("stream_options")))
        if path == "/v1/responses":
            return RESPONSE, response_events()
        assert path == "/v1/messages", path
        return MESSAGE, message_events()

    def __enter__(self) -> "Makers":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


PRICES = "cost_usd: 0.000007, pricing: {input_usd_per_mtok: 3, output_usd_per_mtok: 15}"
CALL_MICROS = 7 + 3000 + 1500
OPENAI = """
import json, openai, sys
client = openai.OpenAI(base_url=sys.argv[1] + "/tools/openai/v1", api_key="not-a-key-1")
ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
said, left = [], []
try:
    raw = client.chat.completions.with_raw_response.create(**ask)
    left.append(raw.headers["Toolbooth-Budget"])
    said.append(raw.parse().choices[0].message.content)
    stream = client.chat.completions.create(**ask, stream=True,
                                            stream_options={"include_usage": True})
    said.append("".join(c.choices[0].delta.content for c in stream if c.choices))
    said.append(client.responses.create(model="m", input="hi").output_text)
    events = client.responses.create(model="m", input="hi", stream=True)
    said.append("".join(e.delta for e in events if e.type == "response.output_text.delta"))
except openai.APIStatusError as error:
    said.append(f"{type(error).__name__} {error.code or error.type} {error.body['message']}")
    said.append(error.response.headers["Toolbooth-Code"])
print(json.dumps([said, left]))
"""
ANTHROPIC = """
import anthropic, json, sys
client = anthropic.Anthropic(base_url=sys.argv[1] + "/tools/anthropic", api_key="not-a-key-1")
ask = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
said, left = [], []
try:
    raw = client.messages.with_raw_response.create(**ask)
    left.append(raw.headers["Toolbooth-Budget"])
    said.append(raw.parse().content[0].text)
    with client.messages.stream(**ask) as stream:
        said.append("".join(stream.text_stream))
except anthropic.APIStatusError as error:
    said.append(f"{type(error).__name__} {error.body['error']['type']} {error}")
    said.append(error.response.headers["Toolbooth-Code"])
print(json.dumps([said, left]))
"""


def catalog(makers: Makers, scheme: str) -> str:
    upstream = f"upstream: {scheme}://tool.localhost:{makers.port}"
    both = f'kind: model, allow_addresses: ["127.0.0.0/8"], {PRICES}'
    return policy(
        f"openai: {{{upstream}/, {both}, credentials: {{secret_env: OPENAI_API_KEY}}}}",
        f"anthropic: {{{upstream}, {both}, credentials: {{header: x-api-key, "
        'format: "{secret}", secret_file: KEYFILE}}',
    )


@contextmanager
def booth(
    folder: Path, makers: Makers, budgets: str = "", scheme: str = "http", **settings: str
) -> Iterator[SidecarProcess]:
    key = folder / "anthropic-key"
    key.write_text(ANTHROPIC_KEY + "\n")
    text = catalog(makers, scheme).replace("KEYFILE", str(key))
    text += f"observability: {{result_sample_rate: 1.0}}\n{budgets}"
    with running(folder, text, OPENAI_API_KEY=OPENAI_KEY, **settings) as sidecar:
        yield sidecar
    assert not any(k in line for line in sidecar.said for k in (OPENAI_KEY, ANTHROPIC_KEY))


def run_client(sidecar: SidecarProcess, code: str) -> tuple[list[str], list[str]]:
    """What the script printed. The run id comes from the SDKs' own variables."""
    header = "X-Agent-Run-Id: sdk-run"
    environment = {
        **bare_environment(),
        "OPENAI_CUSTOM_HEADERS": header,
        "ANTHROPIC_CUSTOM_HEADERS": header,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, f"http://127.0.0.1:{sidecar.ports['proxy']}"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, left = json.loads(done.stdout)
    return said, left


def asked(sidecar: SidecarProcess, path: str) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{sidecar.ports['control']}{path}",
        headers={"Authorization": "Bearer let-me-in"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        view: dict[str, object] = json.load(answer)
    return view


def log(sidecar: SidecarProcess) -> list[dict[str, object]]:
    return [json.loads(line) for line in sidecar.log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("code", "calls", "key"),
    [
        pytest.param(OPENAI, 4, f"Bearer {OPENAI_KEY}", id="openai"),
        pytest.param(ANTHROPIC, 2, ANTHROPIC_KEY, id="anthropic"),
    ],
)
def test_an_sdk_works_with_a_key_it_never_has(
    code: str, calls: int, key: str, scheme: str, tmp_path: Path
) -> None:
    """Whole answers and streams; the upstream sees the real key and no other; the record, the run
    and the header agree to the micro."""
    tls, trusted = None, {}
    if scheme == "https":
        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("tool.localhost").configure_cert(tls)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    limits = "budgets: {max_spend_usd: 1, max_tokens: 100000}\n"
    with Makers(tls) as makers, booth(tmp_path, makers, limits, scheme, **trusted) as sidecar:
        said, left = run_client(sidecar, code)
        assert said == ["hello"] * calls
        assert makers.keys == [key] * calls
        assert NO_KEY not in "".join(makers.heads)
        run = asked(sidecar, "/v1/runs/sdk-run")
        page = urllib.request.urlopen(f"http://127.0.0.1:{sidecar.ports['health']}/metrics").read()
    records = log(sidecar)
    assert [(r["cost_usd"], r["tokens"], r["code"], r["mode"], r["attempts"]) for r in records] == [
        (CALL_MICROS / 1e6, 1100, "ok", "gateway", 1)
    ] * calls
    assert json.dumps(run).count(str(calls * CALL_MICROS / 1e6)) >= 1
    used = run["used"]
    assert isinstance(used, dict)
    assert used["spend_usd"] == calls * CALL_MICROS / 1e6
    assert (used["tokens"], used["steps"]) == (calls * 1100, calls)
    assert "steps=999, " in left[0]
    assert OPENAI_KEY.encode() not in page
    text = sidecar.log.read_text(encoding="utf-8")
    assert not any(secret in text for secret in (OPENAI_KEY, ANTHROPIC_KEY))


REFUSALS = [
    pytest.param("runtime", "max_steps", id="steps"),
    pytest.param("budgets: {max_tokens: 1100}\n", "max_tokens", id="tokens"),
    pytest.param("budgets: {max_spend_usd: 0.004507}\n", "max_spend_usd", id="spend"),
]


@pytest.mark.parametrize("code", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
@pytest.mark.parametrize(("limits", "reason"), REFUSALS)
def test_a_refusal_is_the_sdk_s_error_and_is_not_retried(
    code: str, limits: str, reason: str, tmp_path: Path
) -> None:
    """After one call that used it all; the code can be read off the error, and it came once."""
    settings = {"AGENT_MAX_STEPS": "1"} if limits == "runtime" else {}
    limits = "" if limits == "runtime" else limits
    with Makers(None) as makers, booth(tmp_path, makers, limits, **settings) as sidecar:
        said, _ = run_client(sidecar, code)
        assert said[0] == "hello"
        assert said[1].startswith(f"PermissionDeniedError {reason} ")
        assert "This run has used" in said[1]
        assert said[2] == reason
        assert len(makers.keys) == 1
    assert [record["code"] for record in log(sidecar)] == ["ok", reason]


def test_what_is_left_is_told_before_the_call_is_settled(tmp_path: Path) -> None:
    """`Toolbooth-Budget` holds the estimate of its own call, and the exact sum of those before. The
    first call states no limit, so 4,096 tokens of output are held; the second states ten."""
    twice = OPENAI.replace("    stream = client", """    raw = client.chat.completions.with_raw_response.create(**ask, max_tokens=10)
    left.append(raw.headers["Toolbooth-Budget"])
    stream = client""")  # noqa: E501 # fmt: skip
    limits = "budgets: {max_spend_usd: 1, max_tokens: 100000}\n"
    with Makers(None) as makers, booth(tmp_path, makers, limits) as sidecar:
        _, left = run_client(sidecar, twice)
    first, second = (dict(part.split("=") for part in line.split(", ")) for line in left)
    records = log(sidecar)
    held = [7 + 3 * -(-int(str(r["request_bytes"])) // 4) for r in records[:2]]
    assert round(float(first["spend-usd"]) * 1e6) == 1_000_000 - held[0] - 4096 * 15
    assert round(float(second["spend-usd"]) * 1e6) == 1_000_000 - CALL_MICROS - held[1] - 150
    assert int(second["tokens"]) == 100_000 - 1100


def test_a_rotated_key_is_used_without_a_restart(tmp_path: Path) -> None:
    with Makers(None) as makers, booth(tmp_path, makers) as sidecar:

        def ask() -> None:
            url = f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/anthropic/v1/messages"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, b"{}", timeout=10) as answer:
                assert answer.status == 200

        ask()
        (tmp_path / "next").write_text("sk-ant-RotatedKey1\n")
        (tmp_path / "next").replace(tmp_path / "anthropic-key")
        time.sleep(1.1)
        ask()
        assert makers.keys == [ANTHROPIC_KEY, "sk-ant-RotatedKey1"]


def test_a_missing_secret_is_told_at_start_and_refused(tmp_path: Path) -> None:
    with Makers(None) as makers:
        text = catalog(makers, "http").replace("KEYFILE", str(tmp_path / "nowhere"))
        with running(tmp_path, text, OPENAI_API_KEY=OPENAI_KEY) as sidecar:
            said = "".join(sidecar.said)
            assert "tools.catalog.anthropic.credentials: the secret cannot be read now" in said
            assert "nowhere" not in said
            assert "openai" not in said
            said_by_sdk, _ = run_client(
                sidecar, ANTHROPIC.replace("api_key=", "max_retries=0, api_key=")
            )
            assert said_by_sdk[-1] == "state_unavailable"
            assert makers.keys == []
