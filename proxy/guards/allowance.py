"""What is left of a run, in words: the values of `Toolbooth-Budget` and `Toolbooth-Warning`, and
the operator's view.

Only reads. What is left goes with every answer, so it is put together as the bytes that it will be.
"""

from typing import Final, NamedTuple

from proxy.policy.policy import MICROS_PER_USD, BudgetRule

_Number = int | float

# Of a dollar, as digits behind the point: at least two.
_THOUSANDTHS: Final = tuple(
    f"{number // 10:02d}" if number % 10 == 0 else f"{number:03d}" for number in range(1000)
)


class Usage:
    """The part of a run that is counted. `spend_micros` and `tokens` are settled, `held_micros`
    and `held_tokens` reserved; `started_s` is monotonic."""

    __slots__ = (
        "byte_count", "held_micros", "held_tokens", "spend_micros", "started_s", "steps", "tokens",
        "tool_calls",
    )  # fmt: skip

    def __init__(self, now_s: float) -> None:
        self.started_s = now_s
        self.steps = 0
        self.tool_calls = 0
        self.spend_micros = 0
        self.held_micros = 0
        self.tokens = 0
        self.held_tokens = 0
        self.byte_count = 0


class Amounts(NamedTuple):
    """One number per limit; None where there is no limit."""

    steps: int | None
    tool_calls: int | None
    seconds: float | None
    spend_micros: int | None
    tokens: int | None
    bytes: int | None


def used_amounts(run: Usage, now_s: float) -> Amounts:
    """What the run has used; spend includes what is reserved."""
    return Amounts(
        run.steps,
        run.tool_calls,
        now_s - run.started_s,
        run.spend_micros + run.held_micros,
        run.tokens,
        run.byte_count,
    )


def left_amounts(run: Usage, rule: BudgetRule, now_s: float) -> Amounts:
    """What the run may still use, never below zero; None without a limit."""
    spend_micros = run.spend_micros + run.held_micros
    return Amounts(
        None if rule.max_steps is None else max(0, rule.max_steps - run.steps),
        None if rule.max_tool_calls is None else max(0, rule.max_tool_calls - run.tool_calls),
        None if rule.max_seconds is None else max(0.0, rule.max_seconds - now_s + run.started_s),
        None if rule.max_spend_micros is None else max(0, rule.max_spend_micros - spend_micros),
        None if rule.max_tokens is None else max(0, rule.max_tokens - run.tokens),
        None if rule.max_bytes is None else max(0, rule.max_bytes - run.byte_count),
    )


def left_text(run: Usage, rule: BudgetRule, now_s: float) -> bytes:
    """`steps=24, tool-calls=11, seconds=57, spend-usd=0.99`: the limits that exist, in that order,
    then tokens and bytes. Seconds are rounded down. Empty without any limit."""
    text = b""
    if rule.max_steps is not None:
        left = rule.max_steps - run.steps
        text = b", steps=%d" % (left if left > 0 else 0)
    if rule.max_tool_calls is not None:
        left = rule.max_tool_calls - run.tool_calls
        text = b"%b, tool-calls=%d" % (text, left if left > 0 else 0)
    if rule.max_seconds is not None:
        left = int(rule.max_seconds - now_s + run.started_s)
        text = b"%b, seconds=%d" % (text, left if left > 0 else 0)
    if rule.max_spend_micros is not None:
        left = rule.max_spend_micros - run.spend_micros - run.held_micros
        text = b"%b, spend-usd=%b" % (text, usd(left if left > 0 else 0).encode())
    if rule.max_tokens is not None:
        left = rule.max_tokens - run.tokens
        text = b"%b, tokens=%d" % (text, left if left > 0 else 0)
    if rule.max_bytes is not None:
        left = rule.max_bytes - run.byte_count
        text = b"%b, bytes=%d" % (text, left if left > 0 else 0)
    return text[2:]


def warning_text(run: Usage, rule: BudgetRule, now_s: float) -> str | None:
    """`tool-calls 80% used (10 of 12)`: the limit the run is nearest to and the highest `warn_at`
    it has passed, or None. A limit of zero never warns; it refuses."""
    if not rule.warn_at or not _may_warn(run, rule.warns_from, now_s):
        return None
    nearest, nearest_share = None, 0.0
    for name, used, limit in _uses(run, rule, now_s):
        if limit and used / limit > nearest_share:
            nearest, nearest_share = (name, used, limit), used / limit
    threshold = max((share for share in rule.warn_at if share <= nearest_share), default=None)
    if nearest is None or threshold is None:
        return None
    name, used, limit = nearest
    percent = f"{round(threshold * 100, 2):g}"
    return f"{name} {percent}% used ({_shown(name, used)} of {_shown(name, limit)})"


def _may_warn(run: Usage, lowest: tuple[float, ...], now_s: float) -> bool:
    """Has any of the amounts reached what the lowest `warn_at` is of its limit? Nearly every answer
    is told nothing, and that has to be found out for each."""
    steps, tool_calls, seconds, spend_micros, tokens, byte_count = lowest
    return (
        run.steps >= steps
        or run.tool_calls >= tool_calls
        or now_s - run.started_s >= seconds
        or run.spend_micros + run.held_micros >= spend_micros
        or run.tokens >= tokens
        or run.byte_count >= byte_count
    )


def used_share(run: Usage, rule: BudgetRule, now_s: float) -> float:
    """What the run has used of the limit it is nearest to: 1.0 is all of it; 0.0 without limits."""
    shares = [used / limit for _, used, limit in _uses(run, rule, now_s) if limit]
    return max(shares, default=0.0)


def _uses(
    run: Usage, rule: BudgetRule, now_s: float
) -> tuple[tuple[str, _Number, _Number | None], ...]:
    """(name, used, limit) of every limit there can be."""
    return (
        ("steps", run.steps, rule.max_steps),
        ("tool-calls", run.tool_calls, rule.max_tool_calls),
        ("seconds", now_s - run.started_s, rule.max_seconds),
        ("spend-usd", run.spend_micros + run.held_micros, rule.max_spend_micros),
        ("tokens", run.tokens, rule.max_tokens),
        ("bytes", run.byte_count, rule.max_bytes),
    )


def usd(micros: int) -> str:
    """Dollars with two to six decimals: `0.99`, `1.00`, `0.000125`."""
    dollars = micros // MICROS_PER_USD
    rest = micros - dollars * MICROS_PER_USD
    thousandths = rest // 1000
    if thousandths * 1000 == rest:
        return f"{dollars}.{_THOUSANDTHS[thousandths]}"
    return f"{dollars}.{str(MICROS_PER_USD + rest)[1:].rstrip('0')}"


def _shown(name: str, amount: _Number) -> str:
    if name == "spend-usd":
        return usd(int(amount))
    return str(int(amount)) if name == "seconds" else str(amount)
