"""Three networks on one machine: an agent that reaches only the booth, the booth, and the world.

Made of network namespaces and pairs of virtual Ethernet, under names of their own, and taken away
again whatever happens. Needs root and iproute2.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

# Documentation networks (RFC 5737): nobody's addresses, in namespaces that nobody else sees.
AGENT, BOOTH_INSIDE = "192.0.2.2", "192.0.2.1"
BOOTH_OUTSIDE, WORLD = "198.51.100.1", "198.51.100.2"


class NoNamespacesError(Exception):
    """Namespaces cannot be made here; `str()` says why."""


class Networks(NamedTuple):
    """Names of the three namespaces."""

    agent: str
    booth: str
    world: str

    def open_a_way_around(self) -> None:
        """What a mistaken administrator does: the booth's host routes for the agent."""
        _in(self.booth, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        _ip("-n", self.agent, "route", "add", "default", "via", BOOTH_INSIDE)
        _ip("-n", self.world, "route", "add", f"{AGENT}/32", "via", BOOTH_OUTSIDE)


def inside(namespace: str) -> tuple[str, ...]:
    """The words in front of a command that run it there; it keeps its process id."""
    return ("ip", "netns", "exec", namespace)


@contextmanager
def three_networks() -> Iterator[Networks]:
    """Made for the length of a test. Raises `NoNamespacesError` where that is not possible."""
    if os.geteuid() != 0:
        raise NoNamespacesError("network namespaces need root")
    if shutil.which("ip") is None:
        raise NoNamespacesError("network namespaces need iproute2")
    tag = f"tb{secrets.token_hex(3)}"
    networks = Networks(f"{tag}-agent", f"{tag}-booth", f"{tag}-world")
    try:
        _make(networks, tag)
        yield networks
    finally:
        for name in networks:
            # What still runs there would keep it alive, unseen.
            done = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
            )
            for pid in done.stdout.split():
                subprocess.run(["kill", "-9", pid], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _make(networks: Networks, tag: str) -> None:
    try:
        for name in networks:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _pair(tag, "i", (networks.agent, AGENT), (networks.booth, BOOTH_INSIDE))
        _pair(tag, "o", (networks.world, WORLD), (networks.booth, BOOTH_OUTSIDE))
        _in(networks.booth, "sysctl", "-qw", "net.ipv4.ip_forward=0")
    except subprocess.CalledProcessError as error:
        raise NoNamespacesError(f"{error.cmd}: {error.stderr.strip()}") from None


def _pair(tag: str, side: str, one: tuple[str, str], other: tuple[str, str]) -> None:
    """A wire between two namespaces; each end has a route to the other's address and no more."""
    ends = f"{tag}{side}0", f"{tag}{side}1"
    _ip("link", "add", ends[0], "netns", one[0], "type", "veth", "peer", ends[1], "netns", other[0])
    for end, (name, address), (_, peer) in ((ends[0], one, other), (ends[1], other, one)):
        _ip("-n", name, "addr", "add", address, "peer", f"{peer}/32", "dev", end)
        _ip("-n", name, "link", "set", end, "up")


def _in(namespace: str, *command: str) -> None:
    _call([*inside(namespace), *command])


def _ip(*arguments: str) -> None:
    _call(["ip", *arguments])


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
