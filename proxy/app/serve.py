"""The three listeners of a running sidecar, and their end."""

import asyncio
import logging
import socket
from collections import Counter

from aiohttp import web

from proxy import __version__
from proxy.app.assemble import swap_policy
from proxy.app.audit import AuditTrail
from proxy.app.descriptors import all_descriptors
from proxy.app.gauges import Lag, watch_guards, watch_process, watch_records, watch_ways
from proxy.app.listen import BACKLOG, bound_address
from proxy.app.memory import memory_mark, watch_memory
from proxy.app.reload import Loaded, PolicyKeeper
from proxy.app.state import State
from proxy.ca.authority import NoContextError
from proxy.control.access import Access
from proxy.control.api import control_app
from proxy.control.doorkeeper import BACKLOG as OPERATORS_BACKLOG
from proxy.control.doorkeeper import doorkeeper
from proxy.control.health import health_app
from proxy.control.operator import Operator, keep_nothing
from proxy.control.policies import PolicyEvent
from proxy.guards.descriptors import Descriptors
from proxy.listeners.front import Front, FrontLimits
from proxy.model.call import Mode
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.pipeline.booth import Booth
from proxy.settings import Settings
from proxy.store.journal import Journal
from proxy.telemetry.reporting import Telemetry

_LOG = logging.getLogger("toolbooth")
_LAG_EVERY_S = 0.5
_CUT = Refusal(Reason.DRAINING, "The sidecar is shutting down.", retry_after_ms=1000)


class Sidecar:
    """Started once, drained once, stopped once."""

    def __init__(
        self,
        settings: Settings,
        booth: Booth,
        telemetry: Telemetry,
        keeper: PolicyKeeper,
        instance: str,
        trail: AuditTrail,
        state: State,
    ) -> None:
        journal = state.journal
        self._journal = journal
        self._trail = trail
        self._expired = state.expired
        self._keeper = keeper
        self._settings = settings
        self._booth = booth
        self._telemetry = telemetry
        descriptors = all_descriptors()
        booth.pool.descriptors_end = descriptors.upstreams
        booth.memory = memory_mark(settings.memory_soft_bytes)
        self._front = Front(booth, instance, _limits(settings, descriptors))
        self._server: asyncio.Server | None = None
        self._operator_ports: list[tuple[asyncio.Server, web.AppRunner]] = []
        self._is_ready = False
        self._lag = Lag()
        self._addresses: dict[str, str] = {}
        self._watch_gauges()
        trail.show(telemetry.figures)
        if journal is not None:
            telemetry.figures.watch("toolbooth_state_lag_seconds", lambda: journal.lag_s)
            telemetry.figures.watch(
                "toolbooth_state_write_errors_total", lambda: journal.write_errors
            )

    async def start(self, sockets: list[socket.socket]) -> None:
        """Serve on (proxy, control, health) sockets. The proxy comes last: by then an operator
        can already reach its switches."""
        proxy, control, health = sockets
        addresses = [bound_address(sock) for sock in sockets]
        names = ("proxy", "control", "health")
        self._addresses = {n: str(a) for n, a in zip(names, addresses, strict=True)}
        self._booth.pool.own_ports = frozenset(a.port for a in addresses if a.kind == "tcp")
        await self._serve_app(health_app(self._readiness, self._telemetry.figures), health)
        access = Access(self._settings.control_token, self._settings.viewer_token, addresses[1])
        await self._serve_app(control_app(self._operator(), access), control)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._front.connect, sock=proxy, backlog=BACKLOG)
        self._booth.spawn(self._front.watch())
        self._booth.spawn(self._measure_lag())
        self._booth.spawn(watch_memory(self._booth.memory, self._booth.pool.close))
        self._booth.spawn(self._keeper.watch())
        self._keeper.subscribe(self._follow_policy)
        self._booth.spawn(self._trail.watch(self._booth.switches, self._expired))
        if self._journal is not None:
            self._keep_policies(self._journal)
            self._booth.spawn(self._journal.run())
        self._is_ready = True

    def _keep_policies(self, journal: Journal) -> None:
        """Have every policy that comes into force remembered, this one included."""

        def keep(_: object = None) -> None:
            state = self._keeper.state
            journal.saw_policy(state.policy.version, state.text.encode(), state.source)

        keep()
        self._keeper.subscribe(keep)

    def _follow_policy(self, event: PolicyEvent) -> None:
        if event["action"] == "loaded":
            self._booth.spawn(self._prepare_ca())

    async def _prepare_ca(self) -> None:
        """A new policy may be the first that intercepts, or intercept what the CA may not vouch
        for. In a thread: making a CA takes a while, and what it lacks is only said."""
        loop = asyncio.get_running_loop()
        try:
            notes = await loop.run_in_executor(None, self._booth.authority.prepare)
        except NoContextError as problem:
            _LOG.error("%s Tunnels to intercepted tools are refused.", problem)
            return
        for note in notes:
            _LOG.warning("%s", note)

    async def _serve_app(self, app: web.Application, sock: socket.socket) -> None:
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, keepalive_timeout=30.0, shutdown_timeout=1.0
        )
        await runner.setup()
        loop = asyncio.get_running_loop()
        server = runner.server
        assert server is not None  # noqa: S101 - it has been set up
        listener = await loop.create_server(
            doorkeeper(server), sock=sock, backlog=OPERATORS_BACKLOG
        )
        self._operator_ports.append((listener, runner))

    async def drain(self, grace_s: float, signals: "asyncio.Queue[int]") -> None:
        """Take nothing new; wait until nothing is under way, the grace is over or another signal
        comes; then cut what is left."""
        self._booth.is_draining = True
        self._trail.says("process.drain")
        if self._server is not None:
            self._server.close()
        self._front.close_idle()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + grace_s
        while len(self._booth.live) and loop.time() < end_s and signals.empty():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if len(self._booth.live):
            _LOG.info("cutting %d calls still under way", len(self._booth.live))
        self._booth.live.stop_where(lambda _: _CUT)
        for _ in range(50):  # each call writes its record on its way out
            if not len(self._booth.live):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)  # last answers leave

    async def stop(self) -> None:
        """Close every connection and listener."""
        self._front.abort_all()
        self._booth.pool.close()
        for listener, runner in reversed(self._operator_ports):
            listener.close()
            await runner.cleanup()

    def _readiness(self) -> tuple[bool, str]:
        if self._booth.is_draining:
            return False, "draining"
        return (True, "ready") if self._is_ready else (False, "starting")

    def _operator(self) -> Operator:
        booth, telemetry = self._booth, self._telemetry
        return Operator(
            policy=lambda: booth.policy,
            switches=booth.switches,
            ledger=booth.ledger,
            breakers=booth.breakers,
            figures=telemetry.figures,
            recent=telemetry.recent,
            clock=booth.clock,
            started_wall_s=booth.clock.wall(),
            is_draining=lambda: booth.is_draining,
            in_flight=booth.slots.in_flight,
            audit=self._trail,
            listeners=lambda: self._addresses,
            ca=booth.authority.view,
            keep_switches=keep_nothing if self._journal is None else self._journal.keep,
            policies=self._keeper,
            spotlight=booth.spotlight,
            widen=lambda limit_bytes: telemetry.widen(booth.policy, limit_bytes),
        )

    async def _measure_lag(self) -> None:
        """How late the event loop runs a timer: the first thing to look at when all is slow."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self._lag.note(max(0.0, loop.time() - due_s))

    def _watch_policy(self) -> None:
        figures, keeper = self._telemetry.figures, self._keeper
        figures.watch("toolbooth_policy_info", lambda: self._booth.policy.version)
        figures.watch("toolbooth_policy_reloads_total", lambda: keeper.results)
        figures.watch(
            "toolbooth_policy_last_reload_success", lambda: int(keeper.state.last_error is None)
        )

    def _watch_spans(self) -> None:
        figures, tracing = self._telemetry.figures, self._telemetry.tracing
        if tracing is None:
            return
        queue = tracing.queue
        figures.watch("toolbooth_span_queue_depth", lambda: queue.depth)
        figures.watch("toolbooth_spans_exported_total", lambda: queue.exported)
        figures.watch("toolbooth_spans_dropped_total", queue.dropped)
        figures.watch("toolbooth_span_export_failures_total", lambda: queue.failures)

    def _watch_gauges(self) -> None:
        booth, figures = self._booth, self._telemetry.figures
        live = booth.live
        figures.watch(
            "toolbooth_calls_in_flight",
            lambda: Counter(call.rules[0].name for call in live if call.rules),
        )
        figures.watch(
            "toolbooth_open_tunnels",
            lambda: sum(call.call.mode is Mode.CONNECT for call in live),
        )
        watch_ways(self._telemetry, booth, self._front)
        watch_guards(self._telemetry, booth)
        watch_records(self._telemetry)
        watch_process(self._telemetry, self._lag)
        self._watch_policy()
        self._watch_spans()
        figures.watch("toolbooth_build_info", lambda: __version__)
        figures.watch("toolbooth_draining", lambda: int(booth.is_draining))
        started_s = booth.clock.wall()
        figures.watch("toolbooth_start_time_seconds", lambda: started_s)


def _limits(settings: Settings, descriptors: Descriptors) -> FrontLimits:
    return FrontLimits(
        max_connections=settings.max_connections,
        max_tls=settings.max_tls,
        max_per_client=settings.max_per_client,
        descriptors=descriptors,
    )


def policy_keeper(
    settings: Settings, booth: Booth, telemetry: Telemetry, text: bytes, trail: AuditTrail
) -> PolicyKeeper:
    """The keeper of the policy that `booth` was started with, which was compiled from `text`."""
    policy = booth.policy
    return PolicyKeeper(
        settings.policy_path,
        settings.budget_overrides,
        Loaded(policy, telemetry.redactor_of(policy), text),
        redactor_of=telemetry.redactor_of,
        adopt=lambda policy, redactor: swap_policy(booth, telemetry, policy, redactor),
        clock=booth.clock,
        audit=trail.note,
    )
