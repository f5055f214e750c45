"""`toolbooth run`: start in order, serve, drain, stop in reverse.

Sockets are bound first, so that a port in use leaves nothing half started. SIGTERM (or SIGINT)
drains: readiness turns false, no new connection and no new call is taken, what is under way may
finish within the grace and is then cut. A second signal cuts at once.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from aiohttp import http as aiohttp_http

from proxy import __version__
from proxy.app import collector
from proxy.app.assemble import build_booth, open_sink, warn_of_missing_secrets
from proxy.app.audit import AuditTrail, open_trail
from proxy.app.build import build_name
from proxy.app.listen import ListenError, bind, bound_address
from proxy.app.policy_source import is_open_to_all
from proxy.app.process_log import ProcessLog
from proxy.app.serve import Sidecar, policy_keeper
from proxy.app.state import State, open_state
from proxy.app.tasks import Tasks
from proxy.ca.authority import Authority, NoContextError
from proxy.model.clock import SystemClock
from proxy.policy.compile import load_policy
from proxy.policy.policy import Policy
from proxy.policy.problem import PolicyError
from proxy.settings import Settings, SettingsError, read_settings
from proxy.store.store import StoreError
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.reporting import Telemetry

if TYPE_CHECKING:
    from proxy.app.tracing import Spans

_LOG = logging.getLogger("toolbooth")
_RECORDER_FLUSH_S = 3.0
_SPANS_FLUSH_S = 2.0
_LOG_FLUSH_S = 2.0

FAILED, BAD_POLICY = 1, 2


def run(policy_path: str | None = None) -> int:
    """Serve until a signal; returns the exit code. Prints one clear line when it cannot start."""
    log = ProcessLog(sys.stderr.fileno())
    logging.basicConfig(handlers=[log], level=logging.INFO, format="toolbooth: %(message)s")
    try:
        return _run(policy_path, log)
    finally:
        log.stop(_LOG_FLUSH_S)


def _run(policy_path: str | None, log: ProcessLog) -> int:
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    # It would print malformed requests with a traceback, bytes and all; our own edge answers bugs.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    try:
        settings = read_settings(policy_path)
        _require_c_parser()
        text = _read_policy(settings)
        policy = load_policy(text, env=settings.budget_overrides)
        sockets = _bind_all(settings)
        authority = _authority(settings, policy)
        trail = open_trail(settings.audit_path, settings.audit_key, SystemClock())
        spans = _start_spans(settings, sockets)
        state = open_state(settings.state_path, policy.budgets, SystemClock())
    except SettingsError as problem:
        return _cannot_start(str(problem), BAD_POLICY)
    except PolicyError as problem:
        for error in problem.errors:
            _LOG.error("%s: %s", settings.policy_path, error)
        return _cannot_start("the policy has errors; nothing was started.", BAD_POLICY)
    except (ListenError, StoreError, NoContextError) as problem:
        return _cannot_start(str(problem), FAILED)
    try:
        recorder = Recorder(open_sink(settings.log, SystemClock()))
    except OSError as error:
        state.close()
        return _cannot_start(f"TOOLBOOTH_LOG cannot be opened: {error.strerror}.", FAILED)
    recorder.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            telemetry = Telemetry(policy, recorder, spans.tracing if spans else None)
            telemetry.figures.watch("toolbooth_log_lines_dropped_total", lambda: log.dropped)
            runner.run(_serve(settings, policy, text, sockets, telemetry, state, authority, trail))
    except StoreError as problem:
        return _cannot_start(str(problem), FAILED)
    finally:
        is_kept = _close(recorder, spans, state, trail)
    return 0 if is_kept else FAILED


def _close(recorder: Recorder, spans: "Spans | None", state: State, trail: AuditTrail) -> bool:
    """Write what is left; False if some of what has to outlive the process does not."""
    recorder.stop(_RECORDER_FLUSH_S)
    if spans is not None:
        spans.stop(_SPANS_FLUSH_S)
    is_kept = state.close()
    return trail.close() and is_kept


def _start_spans(settings: Settings, sockets: list[socket.socket]) -> "Spans | None":
    """What exports spans, where an endpoint is set. Raises `SettingsError`."""
    if settings.tracing is None:
        return None
    try:
        from proxy.app.tracing import start_spans  # megabytes that most do without
    except ImportError:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the OpenTelemetry SDK is not installed: "
            "install toolbooth[otel]."
        ) from None
    return start_spans(settings.tracing, [bound_address(sock) for sock in sockets])


def _cannot_start(sentence: str, code: int) -> int:
    _LOG.error("cannot start: %s", sentence)
    return code


def _require_c_parser() -> None:
    """aiohttp's pure-Python parser, which the control port would fall back to, accepts more than
    HTTP allows."""
    if aiohttp_http.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise SettingsError("aiohttp runs without its C parser (AIOHTTP_NO_EXTENSIONS?).")


def _read_policy(settings: Settings) -> bytes:
    try:
        return Path(settings.policy_path).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"the policy {settings.policy_path} cannot be read: {(error.strerror or '').lower()}."
        ) from None


def _authority(settings: Settings, policy: Policy) -> Authority:
    """The CA for interception, loaded or made if the policy needs one. Raises `NoContextError`."""
    authority = Authority(settings.ca_dir, SystemClock())
    authority.follow(policy)
    for note in authority.prepare():
        _LOG.warning("%s", note)
    return authority


def _bind_all(settings: Settings) -> list[socket.socket]:
    wanted = (
        ("proxy", "TOOLBOOTH_PROXY_LISTEN", settings.proxy_listen),
        ("control API", "TOOLBOOTH_CONTROL_LISTEN", settings.control_listen),
        ("health port", "TOOLBOOTH_HEALTH_LISTEN", settings.health_listen),
    )
    bound: list[socket.socket] = []
    try:
        for what, variable, address in wanted:
            bound.append(bind(what, variable, address))
    except ListenError:
        for sock in bound:
            sock.close()
        raise
    return bound


async def _serve(
    settings: Settings,
    policy: Policy,
    text: bytes,
    sockets: list[socket.socket],
    telemetry: Telemetry,
    state: State,
    authority: Authority,
    trail: AuditTrail,
) -> None:
    await trail.started(policy.version, len(state.switches.active()))
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    instance = secrets.token_hex(4)
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group, _report_bug)
            booth = build_booth(policy, tasks, telemetry, instance, _report_bug, state, authority)
            keeper = policy_keeper(settings, booth, telemetry, text, trail)
            loop.add_signal_handler(signal.SIGHUP, keeper.ask)
            sidecar = Sidecar(settings, booth, telemetry, keeper, instance, trail, state)
            await sidecar.start(sockets)
            warn_of_missing_secrets(booth)
            _announce(policy, sockets, settings)
            collector.settle()
            await signals.get()
            _LOG.info("draining for up to %g s; a second signal ends at once", settings.drain_s)
            await sidecar.drain(settings.drain_s, signals)
            await sidecar.stop()
            tasks.cancel_all()
    _LOG.info("stopped")


def _report_bug(bug: BaseException) -> None:
    """An error nobody foresaw. The traceback names code, not what agents sent."""
    _LOG.error("a bug: %s", type(bug).__name__, exc_info=bug)


def _announce(policy: Policy, sockets: list[socket.socket], settings: Settings) -> None:
    _LOG.info("version %s, data path %s", __version__, build_name())
    for name, sock in zip(("proxy", "control", "health"), sockets, strict=True):
        _LOG.info("%s on %s", name, bound_address(sock))
    allowed = sum(rule.allowed for rule in policy.tools.values())
    _LOG.info("policy %s: %d tools known, %d allowed", policy.version, len(policy.tools), allowed)
    for warning in policy.warnings:
        _LOG.warning("policy: %s", warning)
    if is_open_to_all(settings.policy_path):
        _LOG.warning(
            "every user may write %s: no change of it will be loaded until that is changed",
            settings.policy_path,
        )
    if settings.control_token is None:
        _LOG.warning(
            "the control API asks for no token: set TOOLBOOTH_CONTROL_TOKEN unless nothing but "
            "operators can reach %s",
            bound_address(sockets[1]),
        )
    _LOG.info("ready")
