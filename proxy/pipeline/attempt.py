"""Attempts: dial, send, await the answer's head; again where that may help.

A retry needs all of: a call that can be replayed, a failure that another try can change, content
that was kept, room in the tool's count and in its retry budget, and time before the deadline.
Whatever is missing, the caller gets what happened last. Nothing here waits past the deadline: the
call's timer cancels it wherever it stands.
"""

import asyncio
import random
from typing import Final

from proxy.guards.breaker import counts_as_failure
from proxy.guards.retry import (
    RetryBudget,
    backoff_s,
    can_replay,
    is_retryable_failure,
    is_retryable_status,
    parse_retry_after,
)
from proxy.model.errors import Refusal, Stopped, UpstreamFailed
from proxy.model.reason import Reason
from proxy.pipeline.early import CONTINUE
from proxy.pipeline.tracing import end_attempt, start_attempt
from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.upstream.answer import Answer
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import FRESH_S, MAX_IDLE_S
from proxy.wire.forward import Outgoing, relayed_lines
from proxy.wire.head import ResponseHead

_CONTINUE_AFTER_S: Final = 1.0  # RFC 9110 section 10.1.1: an origin may never send its 100


async def attempt(
    visit: Visit, outgoing: Outgoing, upload: Upload
) -> tuple[UpstreamConnection, Answer]:
    """The answer's head and the connection it is on. Raises `UpstreamFailed` when the last
    attempt failed, `Stopped` when the breaker is open."""
    booth, rule, record = visit.booth, visit.rule, visit.record
    started_s = booth.clock.monotonic()
    budget = booth.retry_budgets.of(rule.name)
    budget.deposit(started_s)
    replays = rule.retries.max_retries > 0 and _can_replay(visit)
    failure: UpstreamFailed | None = None
    while True:
        try:
            connection, answer = await _attempt_once(visit, outgoing, upload, replays=replays)
            failure = None
        except UpstreamFailed as problem:
            failure, answer = problem, None
        try:
            if record.trace is not None:
                came = (answer.head.status, connection) if answer is not None else None
                end_attempt(visit, record.trace, failure, came)
            may_help = replays and _may_help(failure, answer)
            wait_s = _again_in_s(visit, upload, budget, answer) if may_help else None
        except BaseException:
            if answer is not None:
                connection.abort()  # nobody else knows of it
            raise
        if wait_s is None:
            break
        if answer is not None:
            await let_go(visit, connection, upload)
        else:
            await upload.stop()
        await asyncio.sleep(wait_s)
        visit.is_retried_out = False
    record.upstream_ms = (booth.clock.monotonic() - started_s) * 1000
    if failure is not None or answer is None:
        raise failure or RuntimeError("an attempt gave neither answer nor failure")
    if record.trace is not None:
        record.trace.attempts[-1].end_s = 0.0  # it lasts as long as its answer
    return connection, answer


async def let_go(visit: Visit, connection: UpstreamConnection, upload: Upload) -> None:
    """An exchange is over: keep the connection if it can be used again. One that still waits for
    content would take the next call's head for it."""
    try:
        is_all_sent = await upload.stop()
    except BaseException:
        connection.abort()
        raise
    if is_all_sent:
        visit.booth.pool.give_back(connection)
    else:
        connection.abort()


def _can_replay(visit: Visit) -> bool:
    header = visit.rule.idempotency_header
    has_key = header is not None and header in visit.exchange.head.named
    return can_replay(visit.rule, visit.call.method, has_key)


def _may_help(failure: UpstreamFailed | None, answer: Answer | None) -> bool:
    if answer is not None:
        return is_retryable_status(answer.head.status)
    if failure is None:
        return False
    return is_retryable_failure(failure.reason) or failure.unsent


def _again_in_s(
    visit: Visit, upload: Upload, budget: RetryBudget, answer: Answer | None
) -> float | None:
    """How long to wait before an attempt that may help; None: there will be none."""
    wait_s = _wait_s(visit, answer) if upload.can_repeat else None
    visit.is_retried_out = True
    if wait_s is None or not budget.withdraw(visit.rule.retries):
        return None
    return wait_s


def _wait_s(visit: Visit, answer: Answer | None) -> float | None:
    """How long to wait before the next attempt; None: there is no room for one."""
    retry, record = visit.rule.retries, visit.record
    if record.attempts > retry.max_retries:
        return None
    wait_s = backoff_s(retry, record.attempts - 1, random.random)
    told = answer.head.value(b"retry-after") if answer is not None else None
    if told is not None:
        wait_s = max(wait_s, parse_retry_after(told, visit.booth.clock.wall()) or 0.0)
    fits = visit.booth.clock.monotonic() + wait_s < visit.live.deadline_s
    return wait_s if fits else None


async def _attempt_once(
    visit: Visit, outgoing: Outgoing, upload: Upload, *, replays: bool
) -> tuple[UpstreamConnection, Answer]:
    """One attempt, seen by the breaker however it ends."""
    breaker = visit.rule.breaker
    if breaker is None:
        return await _send_and_wait(visit, outgoing, upload, replays=replays)
    breakers, origin = visit.booth.breakers, visit.call.target.origin
    key = (visit.rule.name, origin.host, origin.port)
    is_probe = breakers.enter(key, breaker)
    if isinstance(is_probe, Refusal):
        raise Stopped(is_probe)
    try:
        connection, answer = await _send_and_wait(visit, outgoing, upload, replays=replays)
    except BaseException as problem:
        if _is_upstreams_fault(problem, visit, upload):
            breakers.record(key, breaker, ok=False)
        elif is_probe:
            breakers.abandon(key)  # nobody learnt whether the upstream is well
        raise
    breakers.record(key, breaker, ok=not counts_as_failure(answer.head.status))
    return connection, answer


def _is_upstreams_fault(problem: BaseException, visit: Visit, upload: Upload) -> bool:
    """Did the attempt end because the upstream is unwell, and not because we or the client were?
    A deadline that passed while the client was still sending says nothing about the upstream."""
    if isinstance(problem, UpstreamFailed):
        return problem.reason is not Reason.ADDRESS_DENIED
    stopped = visit.live.stopped
    return stopped is not None and stopped.reason is Reason.TIMEOUT and upload.is_sent


async def _send_and_wait(
    visit: Visit, outgoing: Outgoing, upload: Upload, *, replays: bool
) -> tuple[UpstreamConnection, Answer]:
    booth, rule, exchange = visit.booth, visit.rule, visit.exchange
    origin = visit.call.target.origin
    trace_line = _begin(visit)
    connection, now_s = None, booth.clock.monotonic()
    if not outgoing.upgrade:
        oldest_s = now_s - (MAX_IDLE_S if replays else FRESH_S)
        connection = booth.pool.take_idle(origin, rule, oldest_s)
    if connection is None:
        connection = await booth.pool.connect(origin, rule)
        now_s = booth.clock.monotonic()
    has_expectation = b"expect" in exchange.head.named
    is_expecting = has_expectation and _expects_continue(visit)
    nudge: asyncio.TimerHandle | None = None
    try:
        waiting = connection.begin(
            visit.call.method,
            on_interim=lambda head: exchange.interim(_interim_head(head, booth.via)),
            upgrade=outgoing.upgrade,
            idle_limit_s=_idle_limit_s(visit, now_s),
        )
        visit.has_sent = True
        drops = has_expectation and not is_expecting
        head = outgoing.head(upload.framing, drop_expect=drops, trace=trace_line)
        upload.start(connection, head)
        if is_expecting:
            loop = asyncio.get_running_loop()
            nudge = loop.call_later(_CONTINUE_AFTER_S, exchange.interim, CONTINUE)
        return connection, await waiting
    except BaseException as problem:
        connection.abort()
        await upload.stop()
        raise problem  # noqa: TRY201 - compiled, it is forgotten while this awaits
    finally:
        if nudge is not None:
            nudge.cancel()


def _idle_limit_s(visit: Visit, now_s: float) -> float:
    """How long the upstream may be silent; 0: the deadline comes first."""
    idle_s = visit.rule.timeouts.idle_s
    if visit.stream_idle_s:
        return visit.stream_idle_s
    return idle_s if visit.live.deadline_s - now_s > idle_s else 0.0


def _begin(visit: Visit) -> bytes:
    """Count one more attempt; returns the line that makes its span the upstream's parent, if it
    has one."""
    visit.record.attempts += 1
    trace = visit.record.trace
    return start_attempt(visit, trace) if trace is not None else b""


def _expects_continue(visit: Visit) -> bool:
    """Does the client wait for a 100 before it sends its content?"""
    exchange = visit.exchange
    return exchange.head.minor == 1 and not exchange.body.size


def _interim_head(head: ResponseHead, via: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.phrase), *relayed_lines(head), via]
    return b"\r\n".join(lines) + b"\r\n\r\n"
