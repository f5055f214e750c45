"""`toolbooth status` and `tail`: what a sidecar is doing."""

import argparse
import contextlib
import json
from collections.abc import Iterable

from proxy.cli.client import ControlClient, Event, View
from proxy.cli.exit_codes import DONE
from proxy.cli.reading import number, text, view, views
from proxy.cli.tables import Colour, cut, duration, facts, paint, shown, table

_LONGEST_PLACE = 100
_ERRORS_SHOWN = 5


def status_text(client: ControlClient, arguments: argparse.Namespace) -> str:
    """The sidecar, what is switched off, and every tool."""
    whole = client.get("/v1/status")
    tools = views(client.get("/v1/tools"), "tools")
    switched = client.get("/v1/switches")
    if arguments.json:
        return json.dumps({**whole, "tools": tools, "switched_off": switched})
    parts = [facts(_status_facts(whole))]
    switches = views(switched, "switches")
    if switches:
        parts.append(_switch_table(switches))
    by_policy = _policy_switches(view(switched, "policy"))
    if by_policy:
        parts.append(by_policy)
    if tools:
        parts.append(_tool_table(tools))
    return "\n\n".join(parts)


def _status_facts(whole: View) -> list[tuple[str, object]]:
    policy, totals = view(whole, "policy"), view(whole, "totals")
    listeners = view(whole, "listeners")
    state = "draining" if whole.get("draining") else "serving"
    return [
        ("toolbooth", f"{shown(text(whole, 'version'))}, {state}, up "
         f"{duration(number(whole, 'uptime_seconds') or 0)}"),
        *((f"{name} port", where) for name, where in listeners.items()),
        ("policy", f"{shown(text(policy, 'version'))}, {shown(number(policy, 'tools'))} tools, "
         f"{shown(number(policy, 'allowed'))} allowed"),
        ("calls", f"{shown(number(totals, 'calls'))}, {shown(number(totals, 'refusals'))} refused,"
         f" {shown(number(totals, 'errors'))} failed"),
        ("runs", number(whole, "runs")),
        *_failure_facts(view(policy, "last_error")),
        *(("warning", warning) for warning in _strings(policy, "warnings")),
    ]  # fmt: skip


def _failure_facts(failure: View) -> list[tuple[str, object]]:
    """The policy that was offered last and refused."""
    if not failure:
        return []
    found = [
        f"{text(error, 'path')} (line {number(error, 'line') or 0:g}): {text(error, 'message')}"
        for error in views(failure, "errors")[:_ERRORS_SHOWN]
    ]
    return [("NOT LOADED", text(failure, "detail")), *(("", sentence) for sentence in found)]


def _switch_table(switches: list[View]) -> str:
    rows = [
        (text(s, "key"), text(s, "expires") or "revived", text(s, "actor"), text(s, "reason"))
        for s in switches
    ]
    cut_rows = [(cut(key, 30), until, cut(actor, 12), reason) for key, until, actor, reason in rows]
    return table(("OFF", "UNTIL", "BY", "REASON"), cut_rows, flexible=3)


def _policy_switches(policy: View) -> str:
    names = [f"tool:{name}" for name in _strings(policy, "disabled")]
    if policy.get("writes_disabled"):
        names.append("writes")
    return f"off by the policy file: {', '.join(map(shown, names))}" if names else ""


def _strings(document: View, name: str) -> list[str]:
    value = document.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _tool_table(tools: list[View]) -> str:
    headings = ("TOOL", "STATE", "CALLS", "FAILED", "REFUSED", "NOW", "P50 ms", "P99 ms", "BREAKER")
    rows = [
        (
            text(tool, "name"),
            _tool_state(tool),
            number(tool, "calls"),
            number(tool, "errors"),
            number(tool, "refusals"),
            number(tool, "in_flight"),
            _rounded(number(tool, "p50_ms")),
            _rounded(number(tool, "p99_ms")),
            text(tool, "breaker"),
        )
        for tool in tools
    ]
    return table(headings, rows)


def _tool_state(tool: View) -> str:
    if tool.get("switch") is not None or tool.get("disabled_by_policy"):
        return "off"
    return "on" if tool.get("allowed") else "refused"


def _rounded(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)


def tail(client: ControlClient, arguments: argparse.Namespace) -> int:
    """The last calls, then every call as it ends, one line each, until interrupted."""
    # The stream is opened first: a call that ends in between is seen twice rather than never.
    following = client.events() if arguments.follow else contextlib.nullcontext(())
    with following as events:
        _print_last_and_next(client, arguments, events)
    return DONE


def _print_last_and_next(
    client: ControlClient, arguments: argparse.Namespace, events: Iterable[Event]
) -> None:
    last = []
    if arguments.n:
        wanted = {"tool": arguments.tool, "code": arguments.code, "run": arguments.run}
        last = views(client.get("/v1/calls", **wanted, limit=arguments.n), "calls")
    seen = {text(call, "call_id") for call in last}
    for call in reversed(last):
        _print_call(call, arguments)
    for event in events:
        if event.name != "call":
            _print_notice(event.name, event.data, arguments)
        elif text(event.data, "call_id") not in seen and _is_wanted(event.data, arguments):
            _print_call(event.data, arguments)


def _is_wanted(call: View, arguments: argparse.Namespace) -> bool:
    filters: Iterable[tuple[str, str | None]] = (
        ("tool", arguments.tool), ("code", arguments.code), ("run_id", arguments.run),
    )  # fmt: skip
    return all(wanted is None or text(call, name) == wanted for name, wanted in filters)


def _print_call(call: View, arguments: argparse.Namespace) -> None:
    print(json.dumps(call) if arguments.json else call_line(call), flush=True)


def call_line(call: View) -> str:
    """`13:11:05.123 search.read ok 200 12ms GET api.example/v1/search run=r1`, in columns."""
    code = shown(text(call, "code"))
    status_shown = shown(number(call, "status") or None)
    place = shown(text(call, "host") + text(call, "path"))
    return "  ".join(
        (
            shown(text(call, "ts"))[11:23].ljust(12),
            shown(text(call, "tool")).ljust(16),
            paint(code.ljust(16), Colour.GREEN if code == "ok" else Colour.RED),
            status_shown.rjust(3),
            f"{number(call, 'total_ms') or 0:.0f}ms".rjust(7),
            shown(text(call, "method")),
            cut(place, _LONGEST_PLACE),
            paint(f"run={shown(text(call, 'run_id'))}", Colour.DIM),
        )
    )


def _print_notice(name: str, data: View, arguments: argparse.Namespace) -> None:
    """Switches, policies and drops, among the calls."""
    if arguments.json:
        return  # one kind of object a line: whoever parses calls gets calls
    if name == "dropped":
        print(
            paint(f"-- {number(data, 'events') or 0:g} events not shown: too slow", Colour.YELLOW)
        )
        return
    if name == "policy":
        word = "loaded" if text(data, "action") == "loaded" else "NOT LOADED"
        said = shown(text(data, "detail") or f"version {text(data, 'version')}")
        print(paint(f"-- policy {word}", Colour.YELLOW), f"({said})", flush=True)
        return
    if name != "switch":
        return  # of a later version
    switch = view(data, "switch")
    word = "off" if text(data, "action") == "engaged" else "on"
    print(
        paint(f"-- {shown(text(switch, 'key'))} is {word}", Colour.YELLOW),
        f"({shown(text(switch, 'reason'))})",
        flush=True,
    )
