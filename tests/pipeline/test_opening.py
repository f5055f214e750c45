"""What the first bytes in a tunnel must be."""

import pytest

from proxy.model.errors import Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.opening import PlainHttp, opening_judge
from tests.wire.hellos import client_hello

OTHER = Refusal(Reason.TOOL_NOT_ALLOWED, "Neither.", "the.rule")
HELLO = client_hello("a.test")

VERDICTS = [
    pytest.param("a.test", b"", False, id="nothing yet"),
    pytest.param("a.test", HELLO[:40], False, id="half a hello"),
    pytest.param("a.test", HELLO, True, id="a hello for the host"),
    pytest.param("b.test", HELLO, "tunnel.server_name", id="a hello for another host"),
    pytest.param("a.test", client_hello(None), "tunnel.server_name", id="a hello for nobody"),
    pytest.param("10.0.0.1", client_hello(None), True, id="a hello for nobody to an address"),
    pytest.param("a.test", b"PRI * HTTP/2.0\r\n", "tunnel.server_name", id="HTTP/2"),
    pytest.param("a.test", b"GET / HTTP/1.1\r\n", PlainHttp, id="HTTP"),
    pytest.param("a.test", b"\x00\x01", "the.rule", id="another protocol"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "data", "verdict"), VERDICTS)
def test_the_first_bytes(host: str, data: bytes, verdict: object) -> None:
    judge = opening_judge(host, OTHER)
    if verdict is PlainHttp:
        with pytest.raises(PlainHttp):
            judge(data)
    elif isinstance(verdict, str):
        with pytest.raises(Stopped) as caught:
            judge(data)
        assert caught.value.refusal.rule == verdict
    else:
        assert judge(data) is verdict


def test_another_protocol_passes_where_it_may() -> None:
    assert opening_judge("a.test", None)(b"\x00\x01") is True
