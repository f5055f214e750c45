"""Puts the parts together: guards, the way out, telemetry, and the booth that holds them."""

import logging
import sys
from collections.abc import Callable

from proxy.app.state import State, state_in_memory
from proxy.app.tasks import Tasks
from proxy.ca.authority import Authority
from proxy.guards.breaker import Breakers
from proxy.guards.concurrency import Slots
from proxy.guards.rate import RateLimits
from proxy.guards.retry import RetryBudgets
from proxy.mcp.judge import called, effect_of_messages, judge_message
from proxy.model.call import Effect, Kind, Mode
from proxy.model.clock import Clock, SystemClock
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.pipeline.booth import Booth
from proxy.pipeline.live import LiveCall
from proxy.pipeline.sightings import Sightings
from proxy.policy.authorize import authorize, authorize_tunnel, is_intercepted
from proxy.policy.effect import effect_of
from proxy.policy.match import find_tool, find_tunnel_tools
from proxy.policy.policy import Policy, ToolRule
from proxy.settings import secret_variable
from proxy.telemetry.redact import Redactor
from proxy.telemetry.reporting import Telemetry
from proxy.telemetry.sinks import DescriptorSink, FileSink, Sink
from proxy.upstream.credentials import Secrets
from proxy.upstream.dial import upstream_tls
from proxy.upstream.pool import Pool
from proxy.upstream.resolver import Resolver

_TO_BE_READ = Refusal(
    Reason.TOOL_NOT_ALLOWED,
    "The tunnel was closed: from now on what it carries is read; connect again.",
    "tools.catalog",
)
_MOVED = Refusal(
    Reason.TOOL_UNKNOWN, "The tool has moved to another upstream; call it again.", "tools.catalog"
)
_LOG = logging.getLogger("toolbooth")


def open_sink(log: str, clock: Clock) -> Sink:
    """`stdout`, or a file that is followed when it is rotated. Raises `OSError`."""
    return DescriptorSink(sys.stdout.fileno()) if log == "stdout" else FileSink(log, clock)


def build_booth(
    policy: Policy, tasks: Tasks, telemetry: Telemetry, instance: str,
    report_bug: Callable[[BaseException], None], state: State | None = None,
    authority: Authority | None = None,
) -> Booth:  # fmt: skip
    """Everything a call meets; without `state` nothing is known and nothing survives, without
    `authority` the CA lives in memory."""
    clock = SystemClock()
    authority = authority or Authority(None, clock)
    authority.follow(policy)
    state = state or state_in_memory(clock)
    secrets = Secrets(clock, secret_variable)
    telemetry.hide(lambda: secrets.known)
    booth = Booth(
        policy=policy,
        clock=clock,
        switches=state.switches,
        ledger=state.ledger,
        rates=RateLimits(clock),
        slots=Slots(),
        breakers=Breakers(clock),
        retry_budgets=RetryBudgets(clock),
        pool=Pool(Resolver(clock), clock, upstream_tls),
        secrets=secrets,
        captures=telemetry.recorder.budget,
        report=telemetry.report,
        report_bug=report_bug,
        spawn=tasks.spawn,
        via=f"Via: 1.1 toolbooth-{instance}".encode(),
        sightings=Sightings(clock),
        authority=authority,
        tracing=telemetry.tracing,
    )
    booth.switches.subscribe(lambda: rejudge(booth))
    return booth


def swap_policy(booth: Booth, telemetry: Telemetry, policy: Policy, redactor: Redactor) -> None:
    """Put `policy` in force, in one step: no call sees half of it. Calls under way keep the rules
    they were let through with, but those that it would refuse are ended."""
    booth.policy = policy
    booth.authority.follow(policy)
    telemetry.adopt(policy, redactor)
    warn_of_missing_secrets(booth)
    booth.live.stop_where(lambda live: judge_again(booth, live))


def warn_of_missing_secrets(booth: Booth) -> None:
    """Tell the operator which calls will be refused for want of a secret. Not a reason to refuse
    the policy: the secret may come later, and other tools need none."""
    for rule in booth.policy.tools.values():
        if rule.credentials is not None and booth.secrets.read(rule.credentials) is None:
            _LOG.warning(
                "tools.catalog.%s.credentials: the secret cannot be read now, so its calls are "
                "refused until it can be", rule.name,
            )  # fmt: skip


def judge_again(booth: Booth, live: LiveCall) -> Refusal | None:
    """Would the policy in force refuse this call, which an earlier one let through? By its
    destination, as when it came, so that a tool that was only renamed ends nothing; through the
    gateway by the name it was called by. The call is counted under its tool of now."""
    if not live.rules:
        return None  # still on its way to being judged
    call, policy = live.call, booth.policy
    origin = call.target.origin
    if call.mode is Mode.CONNECT:
        rules = find_tunnel_tools(policy, origin.host, origin.port)
        refusal = _TO_BE_READ if _is_read(rules) else authorize_tunnel(rules, call.target)
    else:
        rule = (
            policy.tools.get(live.rules[0].name)
            if call.mode is Mode.GATEWAY
            else find_tool(policy, origin, call.method, call.target.path)
        )
        rules = () if rule is None else (rule,)
        refusal = authorize(rule, call.mode, call.method, call.target)
        if rule is not None and refusal is None:
            if rule.kind is Kind.MCP and live.rules[0].kind is not Kind.MCP:
                refusal = _TO_BE_READ  # nobody has judged what it says
            elif call.mode is Mode.GATEWAY and rule.upstream != origin:
                refusal = _MOVED
    if refusal is not None:
        return refusal
    live.rules, live.effect = rules, effect_of(rules[0], call.method)
    if not live.messages:
        return booth.switches.refuse(policy, rules, live.effect, call.caller)
    return _judge_messages_again(booth, live, rules[0])


def _is_read(rules: tuple[ToolRule, ...]) -> bool:
    return is_intercepted(rules) or any(rule.kind is Kind.MCP for rule in rules)


def _judge_messages_again(booth: Booth, live: LiveCall, server: ToolRule) -> Refusal | None:
    """The same for what a request to an MCP server says, by the server's name of now."""
    live.effect = effect_of_messages(server, live.messages)
    live.mcp_tools = called(server, live.messages)

    def switched_off(names: tuple[str, ...], effect: Effect) -> Refusal | None:
        caller = live.call.caller
        return booth.switches.refuse(booth.policy, live.rules, effect, caller, mcp_tools=names)

    for message in live.messages:
        refusal = judge_message(booth.policy, server, message, switched_off)
        if refusal is not None:
            return refusal
    return None


def rejudge(booth: Booth) -> None:
    """A switch was flipped: end what is under way and is now switched off, tunnels included."""

    def judge(live: LiveCall) -> Refusal | None:
        return booth.switches.refuse(
            booth.policy, live.rules, live.effect, live.call.caller, mcp_tools=live.mcp_tools
        )

    booth.live.stop_where(judge)
