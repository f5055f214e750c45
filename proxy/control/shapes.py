"""The shapes of what goes in and comes out, as JSON Schema (draft 2020-12, which OpenAPI 3.1 is).

One name for each; answers may gain fields, so only requests are closed. That answers have these
shapes, and that requests which do not are refused, is tested against the real application.
"""

from collections.abc import Mapping

from proxy.control.orders import (
    LIMIT_RANGES,
    LONGEST_CAPTURE_BYTES,
    LONGEST_TTL_S,
    RUN_ORDERS,
)
from proxy.guards.switches import REASON_LIMIT_CHARS
from proxy.model.reason import Reason
from proxy.telemetry.spotlight import LONGEST_S

Shape = Mapping[str, object]

TEXT: Shape = {"type": "string"}
NUMBER: Shape = {"type": "number"}
WHOLE: Shape = {"type": "integer"}
FLAG: Shape = {"type": "boolean"}
TIME: Shape = {"type": "string", "format": "date-time"}
FLAG_PARAMETER: Shape = {"type": "string", "enum": ["0", "1"]}
LIMIT: Shape = {"type": "integer", "minimum": 1, "maximum": 999_999_999}  # cut to MOST_CALLS
CODE: Shape = {"type": "string", "enum": [str(reason) for reason in Reason]}
RUN_ORDER: Shape = {"type": "string", "enum": list(RUN_ORDERS)}


def named(name: str) -> Shape:
    """A reference to a shape of `SHAPES`."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(shape: Shape) -> Shape:
    """An array."""
    return {"type": "array", "items": shape}


def maybe(shape: Shape) -> Shape:
    """The shape, or null."""
    return {"anyOf": [shape, {"type": "null"}]}


def answer(**fields: Shape) -> Shape:
    """An object with at least these fields."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def order(required: Mapping[str, Shape], optional: Mapping[str, Shape]) -> Shape:
    """An object with these fields and no other."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def map_of(shape: Shape) -> Shape:
    """An object with any keys."""
    return {"type": "object", "additionalProperties": shape}


def _amounts(spend: Shape, count: Shape) -> Shape:
    return answer(
        steps=count, tool_calls=count, seconds=maybe(NUMBER), spend_usd=spend, tokens=count,
        bytes=count,
    )  # fmt: skip


def _limit_shapes() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name, span in LIMIT_RANGES.items():
        kind = "integer" if span.is_whole else "number"
        least = "exclusiveMinimum" if span.is_above else "minimum"
        shapes[name] = maybe({"type": kind, least: span.least, "maximum": span.most})
    return shapes


_ERROR = answer(path=TEXT, line=WHOLE, message=TEXT)
_FAILURE = answer(
    ts=TIME, source=TEXT, detail=TEXT,
    errors=list_of(_ERROR),
)  # fmt: skip
_BEAM = answer(
    scope=TEXT, result_sample_rate=maybe(NUMBER), max_result_bytes=maybe(WHOLE), expires=TIME,
    seconds_left=NUMBER,
)  # fmt: skip

SHAPES: dict[str, Shape] = {
    "Problem": answer(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT, code=TEXT),
    "Switch": answer(key=TEXT, reason=TEXT, actor=TEXT, since=TIME, expires=maybe(TIME)),
    "Tool": answer(
        name=TEXT, allowed=FLAG, kind=TEXT, effect=maybe(TEXT), destinations=list_of(TEXT),
        upstream=maybe(TEXT), calls=WHOLE, errors=WHOLE, refusals=WHOLE, attempts=WHOLE,
        p50_ms=maybe(NUMBER), p95_ms=maybe(NUMBER), p99_ms=maybe(NUMBER), in_flight=WHOLE,
        breaker=TEXT, switch=maybe(named("Switch")), disabled_by_policy=FLAG,
    ),
    "Run": answer(
        run_id=TEXT, used=_amounts(NUMBER, WHOLE), left=_amounts(maybe(NUMBER), maybe(WHOLE)),
        limits=map_of(NUMBER), age_seconds=NUMBER, idle_seconds=NUMBER, in_flight=WHOLE,
        refusals=WHOLE, looped=FLAG, switch=maybe(named("Switch")),
    ),
    "Call": answer(call_id=TEXT, tool=TEXT, code=CODE, status=WHOLE),
    "Status": answer(
        version=TEXT, started=TIME, uptime_seconds=NUMBER, draining=FLAG, listeners=map_of(TEXT),
        policy=answer(
            version=TEXT, tools=WHOLE, allowed=WHOLE, warnings=list_of(TEXT), source=TEXT,
            loaded=TIME, last_error=maybe(_FAILURE),
        ),
        switches=answer(engaged=WHOLE, by_policy=WHOLE), runs=WHOLE,
        totals=answer(calls=WHOLE, errors=WHOLE, refusals=WHOLE),
    ),
    "Ca": answer(
        certificate=TEXT, fingerprint_sha256=TEXT, expires=TIME,
        permitted=maybe(list_of(TEXT)), kept=FLAG,
    ),
    "Policy": answer(
        version=TEXT, source=TEXT, loaded=TIME, yaml=TEXT, warnings=list_of(TEXT),
        effective={"type": "object"}, last_error=maybe(_FAILURE),
    ),
    "PolicyChange": answer(
        version=TEXT, previous=TEXT, applied=FLAG, warnings=list_of(TEXT),
        changes=answer(
            added=list_of(TEXT), removed=list_of(TEXT), changed=list_of(TEXT), reordered=FLAG,
            sections=list_of(TEXT),
        ),
    ),
    # `errors` where it is the document that is refused, and not the request around it.
    "PolicyProblem": {
        "type": "object",
        "properties": {"code": TEXT, "detail": TEXT, "status": WHOLE, "errors": list_of(_ERROR)},
        "required": ["code", "detail", "status"],
    },
    "Explanation": answer(
        method=TEXT, url=TEXT, tool=maybe(TEXT), verdict=CODE, allowed=FLAG, rule=TEXT, detail=TEXT,
        effect=maybe(TEXT), facts=map_of(TEXT), run=maybe(named("Run")),
    ),
    "Observability": answer(
        sampled_tool_results=FLAG, result_sample_rate=NUMBER, sample_rates=map_of(NUMBER),
        slow_ms=maybe(WHOLE), max_result_bytes=WHOLE,
        raised=list_of(_BEAM),
    ),
    "SwitchOrder": order(
        {"reason": {"type": "string", "minLength": 1, "maxLength": REASON_LIMIT_CHARS}},
        {"ttl_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_TTL_S}},
    ),
    "LimitOrder": {**order({}, _limit_shapes()), "minProperties": 1},
    "ExplainOrder": order({"method": TEXT, "url": TEXT}, {"run_id": TEXT}),
    "ObservabilityOrder": order(
        {"ttl_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_S}},
        {
            "result_sample_rate": {"type": "number", "minimum": 0, "maximum": 1},
            "max_result_bytes": {
                "type": "integer", "minimum": 0, "maximum": LONGEST_CAPTURE_BYTES,
            },
            "tool": {"type": "string", "minLength": 1},
            "run": {"type": "string", "minLength": 1},
        },
    ),
}  # fmt: skip
