"""Record lines for tests: as the sidecar writes them, and a made-up afternoon of them."""

import random

import orjson

from proxy.model.clock import utc_timestamp
from proxy.model.reason import MEANINGS, Reason
from proxy.policy.policy import RedactRule
from proxy.telemetry.line import record_line
from proxy.telemetry.redact import Redactor
from tests.telemetry.records import make_record

NOON_S = 1_790_000_000.0  # 2026-09-21T14:13:20Z
REDACTOR = Redactor(RedactRule())


def line(**values: object) -> bytes:
    """One line with any field set, without its end."""
    base: dict[str, object] = orjson.loads(record_line(make_record(ts=NOON_S), REDACTOR))
    return orjson.dumps(base | values)


def at(seconds: float) -> str:
    """The timestamp so many seconds after the first."""
    return utc_timestamp(NOON_S + seconds)


_TOOLS = {  # name: share, median ms, cost, share of failures
    "search.read": (0.46, 180.0, 0.001, 0.01),
    "http.get": (0.22, 420.0, 0.0, 0.05),
    "llm": (0.16, 2400.0, 0.012, 0.01),
    "crm.read": (0.10, 60.0, 0.0005, 0.0),
    "tickets.write": (0.06, 310.0, 0.004, 0.02),
}


def afternoon(calls: int = 6000, runs: int = 180, seed: int = 7) -> list[bytes]:
    """Three hours of an agent fleet, with an outage in the middle and some runs that went on after
    their budget."""
    chance = random.Random(seed)
    lines = []
    used: dict[str, int] = {}
    for number in range(calls):
        second = 10_800 * number / calls + chance.random() * 40
        born = int(runs * second / 10_800)
        run = f"run-{max(0, born - int(chance.expovariate(0.35))):04d}"
        tool = chance.choices(list(_TOOLS), [share for share, *_ in _TOOLS.values()])[0]
        lines.append(_call(number, second, run, tool, used, chance))
    return lines


def _call(
    number: int, second: float, run: str, tool: str, used: dict[str, int], chance: random.Random
) -> bytes:
    _, median_ms, cost, failing = _TOOLS[tool]
    is_outage = tool == "http.get" and 5400 < second < 6300
    code, attempts = Reason.OK, 1
    if used.get(run, 0) >= 40:
        code = Reason.MAX_TOOL_CALLS
    elif chance.random() < 0.012:
        code = chance.choice(
            [Reason.RATE_LIMITED, Reason.RATE_LIMITED, Reason.TOOL_UNKNOWN, Reason.BUSY,
             Reason.TOOL_DISABLED, Reason.LOOP_DETECTED, Reason.ADDRESS_DENIED, Reason.CLIENT_GONE]
        )  # fmt: skip
    elif is_outage and chance.random() < 0.8:
        code = chance.choice([Reason.CIRCUIT_OPEN, Reason.CIRCUIT_OPEN, Reason.TIMEOUT])
    elif chance.random() < failing:
        code = chance.choice([Reason.TIMEOUT, Reason.UPSTREAM_CONNECT])
    was_sent = code in (Reason.OK, Reason.TIMEOUT, Reason.UPSTREAM_CONNECT)
    total_ms = median_ms * chance.lognormvariate(0, 0.7) if was_sent else 0.4
    if code is Reason.TIMEOUT:
        total_ms = 8000 + chance.random() * 5
    if was_sent:
        used[run] = used.get(run, 0) + 1
        attempts = 1 + (chance.random() < 0.04) + (code is not Reason.OK)
    return line(
        ts=at(second), call_id=f"7f3a-{number:x}", run_id=run, tool=tool, code=str(code),
        status=MEANINGS[code].status, attempts=attempts if was_sent else 0,
        total_ms=round(total_ms, 3), host=f"api.{tool.partition('.')[0]}.example",
        path="/v1/query?q=[redacted]", method="POST" if tool == "tickets.write" else "GET",
        cost_usd=cost * chance.uniform(0.5, 3) if code is Reason.OK and cost > 0.01
        else cost * (code is Reason.OK),
        tokens=int(chance.uniform(200, 4000)) if tool == "llm" and code is Reason.OK else 0,
        request_bytes=int(chance.uniform(0, 900)),
        response_bytes=int(chance.lognormvariate(8, 1)) if code is Reason.OK else 300,
        detail="" if code is Reason.OK else MEANINGS[code].title + "; go on without it.",
    )  # fmt: skip
