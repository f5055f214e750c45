"""Every row of `abuse.jsonl`, played as it says: alone, followed by a clean request on the same
connection, and cut in two at every byte. See `abuse.py` for what the rows mean."""

import asyncio
from collections import Counter

import pytest
from _pytest.mark.structures import ParameterSet

from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.problem import PolicyError
from tests.fakes.origin import OriginConnection, Script
from tests.security.abuse import ABSENT, Row, as_bytes, expanded, hello_of, rows
from tests.security.abuse_scenes import SCENES
from tests.security.abuse_stage import CLEAN, CONTROL_PORT, Heard, Stage, a_stage

ROWS = rows()
WIRE = ("raw", "absolute", "connect", "gateway", "upstream")
_AT_ONCE = 32  # connections at a time when a row is cut at every byte
_MOST_CUTS = 24  # of a row that is longer than its start is interesting
_LONG_BYTES = 400
_HUGE_BYTES = 500_000
_FOREIGN = (b"denied.test", b"evil.test", b"other.test")


def params(*modes: str) -> list[ParameterSet]:
    return [pytest.param(row, id=row.id) for row in ROWS if row.mode in modes]


FOLLOWED = [pytest.param(row, id=row.id) for row in ROWS if row.mode in WIRE and row.follow]
PLAYED = [pytest.param(row, id=row.id) for row in ROWS if row.id in SCENES]


def sent(row: Row, proxy_port: int) -> bytes:
    """The bytes a client sends for a row."""
    text = expanded(row.input).replace("{{proxy}}", str(proxy_port))
    text = text.replace("{{control}}", str(CONTROL_PORT))
    if row.mode == "upstream":
        text = row.target
    if row.mode == "gateway" or text.startswith("/svc"):
        text = text.replace("/svc", "/tools/svc", 1)
    if row.mode == "raw" or text.startswith(("GET ", "PUT ")):
        raw = as_bytes(text)
    elif row.mode == "connect":
        raw = b"CONNECT %b HTTP/1.1\r\nHost: allowed.test\r\n\r\n" % as_bytes(text)
    else:
        start = b"%b %b HTTP/1.1\r\n" % (row.method.encode(), as_bytes(text))
        raw = start + b"Host: allowed.test\r\n\r\n"
    if row.sni is not ABSENT:
        raw += hello_of(row)
    return raw + as_bytes(row.early or "")


def script_of(row: Row) -> Script | None:
    """The origin's part."""
    if row.mode != "upstream":
        return None
    answer = as_bytes(expanded(row.input))

    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            is_row = b"/clean " not in head
            await connection.send(answer if is_row else b"HTTP/1.1 200 OK\r\nContent-Length: ")
            if is_row and row.verdict == "TRUNCATED":
                return
            if not is_row:
                target = head.split(b" ")[1]
                await connection.send(b"%d\r\n\r\n%b" % (len(target), target))

    return script


@pytest.mark.parametrize("row", params(*WIRE))
async def test_alone(row: Row) -> None:
    """On a connection of its own."""
    async with a_stage(row.world, script_of(row), dns=row.dns) as stage:
        raw = sent(row, stage.sidecar.port)
        heard = await stage.play([raw], len(row.answers), fin=row.fin, is_head=raw[:5] == b"HEAD ")
        check_answers(row, heard)
        await stage.recorded(len(row.answers))
        check_origin(row, stage, 1)
        check_records(row, stage)
    check_log(row, stage)


@pytest.mark.parametrize("row", FOLLOWED)
async def test_with_a_clean_request_behind_it(row: Row) -> None:
    """The clean one is answered as if it stood alone, or not at all."""
    clean = CLEAN.get(row.world, CLEAN[""])
    async with a_stage(row.world, script_of(row), dns=row.dns) as stage:
        raw = sent(row, stage.sidecar.port)
        if row.fin or row.is_tunnel:
            return
        heard = await stage.play([raw + clean], len(row.answers) + 1, is_head=raw[:5] == b"HEAD ")
        assert heard.rest == b""
        answered = list(zip(heard.statuses, row.answers, strict=False))
        assert all(status in expected for status, expected in answered), heard.raw
        await stage.recorded(len(heard.statuses))
        assert len(stage.sidecar.records) == len(heard.statuses)
        if len(heard.statuses) > len(row.answers):
            target = b"/base/clean" if row.world == "gateway" else b"/clean"
            is_head = raw[:5] == b"HEAD "
            resolves = row.dns is None
            expected = 200 if resolves else heard.statuses[-1]
            assert heard.statuses[-1] == expected, heard.raw
            assert is_head or not resolves or heard.contents[-1] == target, heard.raw
            assert row.closes is not True
        else:
            assert b"\r\nConnection: close\r\n" in heard.raw or row.verdict == "TRUNCATED"
        check_origin(row, stage, 1, is_followed=True)


def cuts(raw: bytes) -> list[int]:
    """Where it is cut in two: everywhere, or where lines end and at a few places besides."""
    if len(raw) <= _LONG_BYTES:
        return list(range(1, len(raw)))
    if len(raw) > _HUGE_BYTES:
        return [1, len(raw) // 2, len(raw) - 1]
    ends = [at + n for at in _line_ends(raw)[: _MOST_CUTS // 3] for n in (1, 2, 3)]
    spread = range(len(raw) // 7, len(raw), len(raw) // 7)
    return sorted({at for at in (*ends, *spread, 1, len(raw) - 1) if 0 < at < len(raw)})


def _line_ends(raw: bytes) -> list[int]:
    found: list[int] = []
    at = raw.find(b"\r\n")
    while at >= 0 and len(found) < 100:
        found.append(at)
        at = raw.find(b"\r\n", at + 2)
    return found


@pytest.mark.parametrize("row", params("raw", "absolute", "connect", "gateway"))
async def test_cut_at_every_byte(row: Row) -> None:
    """Wherever the bytes are cut on the way, the verdict is the same."""
    if row.mode != "raw" and row.kind != "host-canonicalisation":
        return  # the target is the only thing that differs
    async with a_stage(row.world, script_of(row), dns=row.dns) as stage:
        raw = sent(row, stage.sidecar.port)
        places = cuts(raw)
        gate = asyncio.Semaphore(_AT_ONCE if len(raw) < _LONG_BYTES else 4)

        async def one(at: int) -> int:
            async with gate:
                heard = await stage.play(
                    [raw[:at], raw[at:]], len(row.answers), fin=row.fin,
                    is_head=raw[:5] == b"HEAD ",
                )  # fmt: skip
                check_answers(row, heard, is_cut=True)
                return len(heard.statuses)

        answered = sum(await asyncio.gather(*(one(at) for at in places)))
        await stage.recorded(answered)
        check_origin(row, stage, len(places), is_cut=True)
        assert len(stage.sidecar.records) == answered


def check_answers(row: Row, heard: Heard, *, is_cut: bool = False) -> None:
    """`is_cut`: a refusal may have come before all of the content, and then it closes."""
    is_early = is_cut and row.verdict == "DENY" and b"\r\nConnection: close\r\n" in heard.raw
    assert len(heard.statuses) == len(row.answers) or is_early, heard.raw[:500]
    for status, expected in zip(heard.statuses, row.answers, strict=not is_early):
        assert status in expected, heard.raw[:500]
    if row.verdict == "REJECT" and row.closes is None and row.mode == "raw" and not row.fin:
        assert heard.is_closed is (b"\r\nConnection: close\r\n" in heard.raw)
    if row.closes is not None:
        assert heard.is_closed is row.closes, heard.raw
    if not row.is_tunnel:
        assert heard.rest == b"", heard.rest
    for text in row.got:
        assert as_bytes(text) in heard.raw
    for text in (*row.ungot, *row.unsaid):
        assert as_bytes(text) not in heard.raw + heard.rest
    assert not set(heard.raw.replace(b"\r\n", b"").partition(b"\r\n\r\n")[0]) & {10, 13}


def check_origin(
    row: Row, stage: Stage, times: int, *, is_followed: bool = False, is_cut: bool = False
) -> None:
    """What was asked, dialled and seen, after the row was played `times` over."""
    heads = [head for head in stage.origin.heads if b"/clean " not in head]
    network = stage.network
    for head in stage.origin.heads:
        hosts = [line for line in head.split(b"\r\n")[1:] if line.lower().startswith(b"host:")]
        assert len(hosts) == 1, head
        assert not any(foreign in hosts[0] for foreign in _FOREIGN), head
        assert b" HTTP/1.1\r\n" in head
        if row.only is not None:
            assert head.split(b" ")[1].startswith(row.only.encode()), head
    if row.is_refused and not (row.streams and (is_cut or row.fin)):
        assert heads == []
        if not is_followed:
            assert network.asked == [] or row.resolves
            assert network.dialled == []
    elif row.streams:
        assert not stage.origin.received.endswith(b"0\r\n\r\n") or not heads
    elif row.verdict == "ALLOW" and row.tunnel is None:
        expected = row.heads if row.heads is not None else 1
        assert len(heads) == expected * times, heads
    for text in row.seen:
        assert not heads or any(as_bytes(text) in head for head in heads), (text, heads)
    content = b"".join(heads)
    for text in row.unseen:
        assert as_bytes(text) not in content.replace(b"Host: allowed.test", b""), text
    if row.verdict == "CUT":
        assert stage.origin.received == b""
    if row.verdict == "PASS":
        assert stage.origin.received == hello_of(row)
    if row.ech:
        assert stage.origin.received in (b"", hello_of(row))
    if row.dns is not None:
        forbidden = {address for _, address in _flat(row) if address != "8.8.4.4"}
        assert not forbidden & {address for address, _ in network.dialled}


def _flat(row: Row) -> list[tuple[int, str]]:
    return [(n, address) for n, one in enumerate(row.dns or ()) for address in one]


def check_records(row: Row, stage: Stage) -> None:
    records = stage.sidecar.records
    assert len(records) == len(row.answers)
    codes = {
        "REJECT": (Reason.BAD_REQUEST, Reason.HEADERS_TOO_LARGE),
        "DENY": (Reason.TOOL_UNKNOWN, Reason.ADDRESS_DENIED),
        "BADGATEWAY": (Reason.UPSTREAM_INVALID, Reason.UPSTREAM_DNS, Reason.UPSTREAM_TLS),
        "TRUNCATED": (Reason.UPSTREAM_RESET,),
    }.get(row.verdict)
    codes = tuple(Reason(code) for code in row.code) or codes
    assert codes is None or records[0].code in codes, records[0].code
    if row.verdict not in ("TRUNCATED", "CUT"):
        for record, expected in zip(records, row.answers, strict=True):
            assert record.status in expected
    if row.run is not None:
        assert records[0].caller is not None
        assert records[0].caller.run_id == row.run


def check_log(row: Row, stage: Stage) -> None:
    """The log is written by a thread, so this comes after the sidecar's end."""
    lines = stage.sidecar.sink.data
    assert lines.count(b"\n") == len(stage.sidecar.records)
    if row.secret is not None:
        assert as_bytes(row.secret) not in lines
        assert row.secret.encode() not in lines
    assert not any(octet < 32 and octet != 10 for octet in lines)


@pytest.mark.parametrize("row", params("policy"))
def test_a_policy(row: Row) -> None:
    """A file that means nothing is refused whole; the one of nothing refuses everything."""
    if row.verdict == "ALLOW":
        assert load_policy(row.input).allowlist == frozenset()
        return
    with pytest.raises(PolicyError) as caught:
        load_policy(row.input)
    for text in row.got:
        assert text in str(caught.value)


@pytest.mark.parametrize("row", PLAYED)
async def test_a_scene(row: Row) -> None:
    await SCENES[row.id]()


def test_every_row_can_be_played() -> None:
    known = {*WIRE, "control", "policy", "scene"}
    assert {row.mode for row in ROWS} == known
    scenes = {row.id for row in ROWS if row.mode == "scene" and row.world != "control"}
    assert scenes | {"rel-001", "rel-003", "rel-004"} == set(SCENES)
    assert len({row.id for row in ROWS}) == len(ROWS)
    kinds = Counter(row.kind for row in ROWS)
    assert len(kinds) == 20
    assert len(ROWS) > 700
