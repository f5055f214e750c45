"""Requests at a fixed modest rate: what one call takes longer through a proxy when nothing queues.

A request is sent at its time, whether or not the one before was answered, on the next of a few
kept connections; latency is counted from the moment it was due.
"""

import argparse
import json
import socket
import sys
import time

from workload import WORKLOADS

_CONNECTIONS = 8


def drive(port: int, authority: str, rate_per_s: int, seconds: float) -> dict[str, float]:
    """Blocking sockets: at this rate one call is over long before the next is due, and a call that
    is not makes the next one late, which counts."""
    requests = WORKLOADS["get"].requests(authority, 1000)
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
    for each in connections:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _call(each, requests[0])
    taken_ns = []
    interval_ns = 1_000_000_000 // rate_per_s
    due_ns = time.perf_counter_ns() + interval_ns
    for number in range(int(rate_per_s * seconds)):
        while (left_ns := due_ns - time.perf_counter_ns()) > 0:
            if left_ns > 300_000:
                time.sleep((left_ns - 200_000) / 1e9)
        _call(connections[number % _CONNECTIONS], requests[number % len(requests)])
        taken_ns.append(time.perf_counter_ns() - due_ns)
        due_ns += interval_ns
    taken_ns.sort()
    return {
        "p50_us": taken_ns[len(taken_ns) // 2] / 1000,
        "p99_us": taken_ns[len(taken_ns) * 99 // 100] / 1000,
    }


def _call(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    answer = b""
    while not answer.endswith(WORKLOADS["get"].answer_body):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {answer[:60]!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {answer[:60]!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--authority", required=True)
    parser.add_argument("--rate", type=int, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    json.dump(drive(given.port, given.authority, given.rate, given.seconds), sys.stdout)
