"""The rows of `abuse.jsonl`: hostile inputs, and what has to become of each.

One JSON object a line. `mode` says how `input` is played:

- `raw`: bytes for the proxy port (each character up to U+00FF is one byte)
- `absolute`, `connect`, `gateway`: the target of a GET or CONNECT; in `gateway` `/svc` stands for
  the gateway path of the tool `svc`
- `upstream`: the bytes that an allowed origin answers
- `control`: bytes for the control port
- `policy`: a policy file
- `scene`: `input` is a description; the function of that id in `abuse_scenes.py` plays it

`{{text*1000}}` repeats; `{{proxy}}`, `{{control}}`, `{{token}}`, `{{viewer}}` are put in.

`verdict`: REJECT (400, nothing asked, nothing dialled), DENY (the same with 403), ALLOW (200 from
the origin), HERE (200 without it), BADGATEWAY (502), TRUNCATED (200, then broken off), CUT (a
tunnel that is opened and closed, the origin getting nothing), PASS (a tunnel that carries what is
sent), EITHER (one of `answers`; what reaches the origin must be as said). The other fields narrow
it: see `Row`.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.wire.hellos import client_hello

_STATUS = {"REJECT": 400, "DENY": 403, "BADGATEWAY": 502}
_REPEATED = re.compile(r"\{\{(.*?)\*(\d+)\}\}", re.DOTALL)
ABSENT = "absent"


@dataclass(frozen=True)
class Row:
    """`answers`: the statuses, one after the other, or lists of those that will do. `code`: of the
    first record. `seen`, `unseen`: of what the origin gets; `got`, `ungot`: of what the client
    gets. `heads`: requests that reach the origin. `dns`: answers for every name, one after the
    other; `resolves`: a look-up is made though it is refused. `streams`: content may be on its way
    before it turns out bad. `fin`: the client half-closes. `follow`: a clean request can follow.
    `sni`, `ech`, `early`: what a tunnel begins with. `secret`: is nowhere in the log. `run`: the
    run it is charged to. `only`: where the gateway may lead."""

    id: str
    kind: str
    mode: str
    world: str
    input: str
    verdict: str = ""
    answers: tuple[frozenset[int], ...] = ()
    code: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    got: tuple[str, ...] = ()
    ungot: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    heads: int | None = None
    closes: bool | None = None
    dns: tuple[tuple[str, ...], ...] | None = None
    resolves: bool = False
    streams: bool = False
    fin: bool = False
    follow: bool = True
    sni: str | None = ABSENT
    ech: bool = False
    early: str | None = None
    tunnel: str | None = None
    target: str = "http://allowed.test/"
    method: str = "GET"
    secret: str | None = None
    run: str | None = None
    only: str | None = None

    @property
    def is_refused(self) -> bool:
        """Nothing may be asked or dialled for it."""
        return self.verdict in ("REJECT", "DENY", "HERE")

    @property
    def is_tunnel(self) -> bool:
        """It opens a tunnel, and the connection ends with that."""
        return self.verdict in ("CUT", "PASS") or self.tunnel is not None or self.ech


def expanded(text: str) -> str:
    """`text` with its repetitions written out."""
    return _REPEATED.sub(lambda found: found[1] * int(found[2]), text)


def as_bytes(text: str) -> bytes:
    """One byte a character where that is possible, else UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def rows() -> list[Row]:
    """All of them, in the order of the file."""
    text = (Path(__file__).parent / "abuse.jsonl").read_text(encoding="utf-8")
    return [_row(json.loads(line)) for line in text.splitlines()]


def _row(given: dict[str, object]) -> Row:
    given["kind"] = given.pop("class")
    for name in ("code", "seen", "unseen", "got", "ungot", "unsaid"):
        if name in given:
            given[name] = tuple(map(str, _list(given[name])))
    if "dns" in given:
        given["dns"] = tuple(tuple(map(str, _list(one))) for one in _list(given["dns"]))
    answers = given.get("answers") or [_STATUS.get(str(given.get("verdict")), 200)]
    given["answers"] = tuple(
        frozenset(one) if isinstance(one, list) else frozenset((one,)) for one in _list(answers)
    )
    return Row(**given)  # type: ignore[arg-type]  # unknown fields are errors, values are checked by use


def _list(value: object) -> list[object]:
    assert isinstance(value, list), value
    return value


@lru_cache(maxsize=64)
def hello_of(row: Row) -> bytes:
    """The ClientHello that a row's tunnel begins with."""
    if row.sni is None:
        return client_hello(None)
    name = str(row.sni)
    if re.fullmatch(r"[0-9.]+", name):  # an address is never sent as a name by those who know
        stand_in = "x" * len(name)
        hello = client_hello(stand_in).replace(stand_in.encode(), name.encode())
    else:
        hello = client_hello(name)
    return _with_ech(hello) if row.ech else hello


def _with_ech(hello: bytes) -> bytes:
    """The same with an encrypted ClientHello (extension 0xfe0d) that nobody can read."""
    extension = b"\xfe\x0d\x00\x08" + b"\x00\x01\x00\x01\x00\x00\x00\x00"
    at = 9 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    size = int.from_bytes(hello[at : at + 2], "big") + len(extension)
    body = hello[9:at] + size.to_bytes(2, "big") + hello[at + 2 :] + extension
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return hello[:3] + len(handshake).to_bytes(2, "big") + handshake
