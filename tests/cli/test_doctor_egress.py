"""Direct ways out, on loopback only: what listens is open, what does not is closed."""

import socket

import pytest

from proxy.cli.doctor.egress import WELL_KNOWN, check_egress, parse_target
from proxy.cli.doctor.verdicts import Verdict


def test_open_is_a_bypass_and_closed_is_not() -> None:
    """In the order they were given; nothing is sent to what is open."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound, not listening
        ports = listener.getsockname()[1], silent.getsockname()[1]
        checks = check_egress([("127.0.0.1", port) for port in ports], 5)
        assert [check.verdict for check in checks] == [Verdict.BYPASS, Verdict.OK]
        assert checks[1].detail == "Closed (connection refused)."
        listener.settimeout(5)
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(10) == b""
    assert check_egress([]) == []


def test_a_name_that_does_not_resolve_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", fails)
    [check] = check_egress([("world.test", 443)])
    assert (check.verdict, check.detail) == (Verdict.OK, "Closed (the name does not resolve).")


def test_the_well_known_ones_can_be_read() -> None:
    """They are not tried here."""
    assert [parse_target(text)[1] for text in WELL_KNOWN] == [443, 443, 53, 53, 443]


@pytest.mark.parametrize("text", ["", "h", ":80", "h:", "h:x", "h:70000"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError):
        parse_target(text)
