"""More than there is room for: crowds of connections, slow ones, and too little of what a process
has. The sidecar says no to those who are too many, serves the others, and is back afterwards."""

import re
import signal
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.scenarios.asking import kill, metric, wait_for
from tests.scenarios.crowds import (
    Before,
    Bystanders,
    Crowd,
    many_descriptors,
    open_files,
    output_of,
    rss_mib,
)
from tests.scenarios.processes import HttpOrigin, SidecarProcess, local_tool, policy, running

pytestmark = pytest.mark.scenario

BUSY = "503 busy, told when"
LARGE = b"x" * (4 << 20)
MANY_CALLS = 10**6
TIMES = "  timeouts_ms: {default: 1500, idle: 1000}\n"


def at(origin: HttpOrigin, path: str = "/", method: str = "GET", more: str = "") -> bytes:
    host = f"127.0.0.1:{origin.port}"
    return f"{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


def connect_to(origin: HttpOrigin) -> bytes:
    host = f"127.0.0.1:{origin.port}"
    return f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def echo_policy(origin: HttpOrigin, extra: str = "", more: str = "") -> str:
    tool = local_tool("echo", "127.0.0.1", origin.port, more)
    return policy(tool, budget=MANY_CALLS, extra=extra)


def get_in(sidecar: SidecarProcess, raw: bytes) -> bool:
    """Is a new client served now?"""
    with socket.create_connection(("127.0.0.1", sidecar.ports["proxy"]), timeout=10) as one:
        one.sendall(raw)
        try:
            return one.recv(65_536).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


# --- connections ----------------------------------------------------------------------------


def test_a_flood_of_connections_is_told_to_come_back_and_makes_room_by_itself(
    tmp_path: Path,
) -> None:
    """Those beyond the cap get 503 and when to try again. Those who only sit there lose their
    place while others find none, so that newcomers get in though the flood goes on."""
    with HttpOrigin() as origin:
        text = echo_policy(origin)
        with running(tmp_path, text, TOOLBOOTH_MAX_CONNECTIONS="200") as sidecar:
            before = Before(sidecar)
            proxy = sidecar.ports["proxy"]
            with Bystanders(sidecar, origin), Crowd(proxy) as flood, Crowd(proxy) as late:
                flood.join(199, addresses=4)
                late.join(300, addresses=4)
                heard = late.answers(0.05)
                assert heard[BUSY] > 250
                assert set(heard) <= {BUSY, "nothing", "closed"}
                assert metric(sidecar, "toolbooth_client_connections_refused_total") > 250
                wait_for(lambda: get_in(sidecar, at(origin)), 20)
                assert flood.answers(0.01)["closed"] > 0
            before.wait()


def test_a_burst_waits_while_the_sidecar_does_something_else(tmp_path: Path) -> None:
    """The system holds as many new connections as the page of bounds says; none is lost, and none
    has to try again a second later."""
    with HttpOrigin() as origin, running(tmp_path, echo_policy(origin)) as sidecar:
        before = Before(sidecar)
        with Crowd(sidecar.ports["proxy"]) as burst:
            sidecar.process.send_signal(signal.SIGSTOP)
            try:
                burst.join(1_000, at(origin))
            finally:
                sidecar.process.send_signal(signal.SIGCONT)
            assert burst.answers(10) == {"200": 1_000}
        before.wait()


def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    """Its own cap comes first; others are served."""
    with HttpOrigin() as origin:
        text = echo_policy(origin)
        with running(tmp_path, text, TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT="50") as sidecar:
            before = Before(sidecar)
            with Bystanders(sidecar, origin), Crowd(sidecar.ports["proxy"]) as flood:
                flood.join(80)
                assert flood.answers(0.05) == {BUSY: 30, "nothing": 50}
                with Crowd(sidecar.ports["proxy"]) as neighbour:
                    neighbour.join(1, at(origin), first=9)
                    assert neighbour.answers(5) == {"200": 1}
            before.wait()
            assert '"rule":"TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT"' in sidecar.log.read_text()


def test_ten_thousand_idle_clients_and_a_thousand_tunnels(tmp_path: Path) -> None:
    """Both have room by default. They cost little, carry what they are for, and leave nothing."""
    with many_descriptors(), HttpOrigin() as origin, socket.create_server(
        ("127.0.0.1", 0), backlog=1024
    ) as far_end:  # fmt: skip
        echo = local_tool("echo", "127.0.0.1", origin.port)
        port = far_end.getsockname()[1]
        raw = local_tool("raw", "127.0.0.1", port, "tunnel: {raw: true}")
        extra = "  timeouts_ms: {idle: 60000}\n"
        text = policy(echo, raw, budget=MANY_CALLS, extra=extra)
        with running(tmp_path, text) as sidecar:
            before, small_mib = Before(sidecar), rss_mib(sidecar)
            proxy = sidecar.ports["proxy"]
            with Bystanders(sidecar, origin), Crowd(proxy) as idle, Crowd(proxy) as tunnels:
                idle.join(10_000, addresses=8)
                tunnels.join(
                    1_000, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                )
                others = [far_end.accept()[0] for _ in range(1_000)]
                assert tunnels.answers(5) == {"200": 1_000}
                wait_for(lambda: metric(sidecar, "toolbooth_client_connections") == 10_001)
                assert metric(sidecar, "toolbooth_open_tunnels") == 1_000
                assert (rss_mib(sidecar) - small_mib) * 1024 / 11_000 < 32  # KiB each
                for one in others:
                    one.sendall(b"hello")
                assert {one.recv(5) for one in tunnels.sockets} == {b"hello"}
                for one in others:
                    one.close()
            before.wait()
            used_mib = rss_mib(sidecar)
            with Crowd(proxy) as again:
                again.join(10_000, addresses=8)
                wait_for(lambda: metric(sidecar, "toolbooth_client_connections") == 10_000)
            before.wait()
            assert rss_mib(sidecar) < used_mib * 1.1  # what the first have used serves the next


# --- slow clients ---------------------------------------------------------------------------


def test_whoever_stops_half_way_is_ended_in_every_phase(tmp_path: Path) -> None:
    """Heads have ten seconds in all, contents and answers their call's deadline, a tunnel's first
    bytes its silence. Meanwhile everybody else is served."""
    with (
        HttpOrigin(waits_or_is_large) as origin,
        running(tmp_path, echo_policy(origin, TIMES)) as sidecar,
    ):
        before = Before(sidecar)
        proxy = sidecar.ports["proxy"]
        phases = half_ways(origin)
        crowds = {name: Crowd(proxy, 4096 * (name == "a slow reader")) for name in phases}
        try:
            with Bystanders(sidecar, origin):
                for name, crowd in crowds.items():
                    crowd.join(30, phases[name][0])
                heard = {name: crowd.answers(15) for name, crowd in crowds.items()}
                wait_for(lambda: before.is_back(connections=1), 20)
        finally:
            for crowd in crowds.values():
                crowd.leave()
        assert heard == {name: {answer: 30} for name, (_, answer) in phases.items()}
        before.wait()


def half_ways(origin: HttpOrigin) -> dict[str, tuple[bytes, str]]:
    """What is sent, and what is heard in the end."""
    body = at(origin, "/waits", "POST", "Content-Length: 100\r\n") + b"half"
    chunk = at(origin, "/waits", "POST", "Transfer-Encoding: chunked\r\n") + b"64\r\nhalf"
    hello = connect_to(origin) + b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"
    return {
        "half a request line": (b"GET http://127.0.0", "408 bad_request"),
        "half a head": (at(origin)[:-2], "408 bad_request"),
        "half a body": (body, "504 timeout"),
        "half a chunk": (chunk, "504 timeout"),
        "half a ClientHello": (hello, "200"),  # granted, then closed
        "a slow reader": (at(origin, "/large"), "200"),  # begun, then cut
    }


def waits_or_is_large(path: str) -> tuple[int, dict[str, str], bytes]:
    """An upstream that takes its time, and one that has much to say."""
    if path == "/waits":
        time.sleep(5)
    return 200, {}, LARGE if path == "/large" else b"ok"


SLOW_ATTACKS = [
    pytest.param(("-H", "-i", "1"), id="slow heads"),
    pytest.param(("-B", "-i", "1", "-s", "4096"), id="slow bodies"),
    pytest.param(
        ("-X", "-w", "64", "-y", "128", "-n", "1", "-z", "32", "-k", "1"), id="slow reading"
    ),
]


@pytest.mark.parametrize("attack", SLOW_ATTACKS)
def test_slowhttptest_does_not_make_the_service_unavailable(
    attack: tuple[str, ...], tmp_path: Path
) -> None:
    """Its own probe connects anew each second and says whether it was served."""
    with HttpOrigin(lambda path: (200, {}, b"y" * 200_000)) as origin:
        more = f'upstream: "http://127.0.0.1:{origin.port}"'
        with running(tmp_path, echo_policy(origin, TIMES, more)) as sidecar:
            before = Before(sidecar)
            with Bystanders(sidecar, origin, "/"):
                said = output_of(
                    "slowhttptest", *attack, "-c", "400", "-r", "400", "-l", "4", "-p", "3",
                    "-u", f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/echo/",
                )  # fmt: skip
            assert set(re.findall(r"service available: +(\w+)", said)) == {"YES"}, said
            before.wait()


def test_hey_is_served_or_told_to_come_back_and_nothing_else(tmp_path: Path) -> None:
    """Four calls at once have room and a hundred ask: every answer is a 200 or a 503."""
    with HttpOrigin() as origin:
        extra = "  concurrency: {default: 4}\n"
        with running(tmp_path, echo_policy(origin, extra)) as sidecar:
            before = Before(sidecar)
            said = output_of(
                "hey", "-n", "5000", "-c", "100", "-x", sidecar.proxy_url("hey"),
                f"http://127.0.0.1:{origin.port}/hey",
            )  # fmt: skip
            counts = {int(c): int(n) for c, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", said)}
            assert "Error distribution" not in said
            assert set(counts) == {200, 503}, said
            assert sum(counts.values()) == 5000
            assert counts[200] == origin.hits["/hey"]
            before.wait()
            assert get_in(sidecar, at(origin))


def test_wrk_keeps_two_hundred_connections_of_the_gateway_busy(tmp_path: Path) -> None:
    """All there is room for is served: no refusal, no connection lost, nothing left."""
    with HttpOrigin() as origin:
        more = f'upstream: "http://127.0.0.1:{origin.port}"'
        with running(tmp_path, echo_policy(origin, more=more)) as sidecar:
            before = Before(sidecar)
            said = output_of(
                "wrk", "-t2", "-c200", "-d3s", "--timeout", "20s",
                f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/echo/wrk",
            )  # fmt: skip
            done = re.search(r"(\d+) requests in", said)
            assert done is not None, said
            assert 200 < int(done[1]) <= origin.hits["/wrk"]
            assert "Non-2xx" not in said, said
            assert "Socket errors" not in said, said
            before.wait()


# --- what a process has ---------------------------------------------------------------------


def test_running_out_of_open_files_leaves_the_operators_theirs(tmp_path: Path) -> None:
    """With 256 files in all, clients that are too many for them are turned away, calls that find
    none for an upstream get 503, and both operator ports answer throughout."""
    with HttpOrigin() as origin, socket.create_server(("127.0.0.1", 0), backlog=1024) as far_end:
        port = far_end.getsockname()[1]
        raw = local_tool("raw", "127.0.0.1", port, "tunnel: {raw: true}")
        text = policy(local_tool("echo", "127.0.0.1", origin.port), raw, budget=MANY_CALLS)
        limited = ("prlimit", "--nofile=256:256")
        sidecar = SidecarProcess(tmp_path, text, inside=limited)
        try:
            before = Before(sidecar)
            proxy = sidecar.ports["proxy"]
            assert metric(sidecar, "toolbooth_descriptor_limit") == 256
            connect = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            with Bystanders(sidecar, origin):
                with Crowd(proxy) as idle:
                    idle.join(200)
                    heard = idle.answers(0.02)
                    assert open_files(sidecar) < 256 - 16
                assert heard["nothing"] > 80
                assert heard[BUSY] > 0
                assert set(heard) <= {"nothing", BUSY, "closed"}
                wait_for(lambda: before.is_back(connections=1), 20)
                with Crowd(proxy) as tunnels:
                    tunnels.join(120, connect)
                    heard = tunnels.answers(5)
                    assert open_files(sidecar) < 256 - 16
                assert heard["200"] > 40
                assert heard[BUSY] > 0
                assert set(heard) <= {"200", BUSY, "closed"}
            before.wait()
            assert get_in(sidecar, at(origin))
        finally:
            sidecar.stop()
        assert not [line for line in sidecar.said if "a bug" in line]


def _has_lost(crowd: Crowd, count: int) -> bool:
    return crowd.answers(0.001)["closed"] >= count


def test_a_crowd_at_the_operators_ports_neither_locks_them_nor_takes_the_files(
    tmp_path: Path,
) -> None:
    """Whoever comes last is served, the oldest loses its place."""
    with HttpOrigin() as origin, running(tmp_path, echo_policy(origin)) as sidecar:
        before = Before(sidecar)
        with Bystanders(sidecar, origin):
            for name in ("health", "control"):
                with Crowd(sidecar.ports[name]) as crowd:
                    crowd.join(500)
                    wait_for(lambda: open_files(sidecar) < 110)
                    wait_for(partial(_has_lost, crowd, 500 - 64))
        before.wait()


def test_nobody_who_reads_what_the_process_says_is_no_reason_to_stop(tmp_path: Path) -> None:
    """Each kill says a line on stderr; when the pipe is full, calls, kills and the end go on."""
    reads_little = (
        "bash",
        "-c",
        'exec "$@" 2> >(sed -u 12q >&2; exec sleep 20 2>/dev/null)',
        "reads little",
    )
    with HttpOrigin() as origin:
        sidecar = SidecarProcess(tmp_path, echo_policy(origin), inside=reads_little)
        with Bystanders(sidecar, origin):
            for number in range(400):  # a pipe takes 64 KiB
                assert kill(sidecar, f"run:other-{number}").ok
        sidecar.process.terminate()
        assert sidecar.process.wait(10) == 0
        sidecar.stop()


def test_short_of_memory_new_calls_are_refused_until_there_is_some(tmp_path: Path) -> None:
    """Clients that do not read their answers fill the buffers, though their calls are over: above
    the soft mark calls get 503, but for one now and then. Those clients are ended though they stay,
    the memory is given back, and calls pass again."""
    with HttpOrigin(waits_or_is_large) as origin:
        text = echo_policy(origin)
        with running(tmp_path, text, TOOLBOOTH_MEMORY_SOFT_MIB="100") as sidecar:
            before = Before(sidecar)
            assert metric(sidecar, "toolbooth_memory_soft_limit_bytes") == 100 << 20
            with Crowd(sidecar.ports["proxy"]) as readers:
                while not metric(sidecar, "toolbooth_memory_refusals_total"):
                    readers.join(20, at(origin, "/large"))
                assert heard_by_twenty(sidecar, origin)[BUSY] > 10
                assert rss_mib(sidecar) < 150
                wait_for(lambda: heard_by_twenty(sidecar, origin) == {"200": 20}, 30)
            before.wait()


def heard_by_twenty(sidecar: SidecarProcess, origin: HttpOrigin) -> Counter[str]:
    with Crowd(sidecar.ports["proxy"]) as twenty:
        twenty.join(20, at(origin))
        return twenty.answers(5)
