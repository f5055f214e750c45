"""What the first bytes in a tunnel must be, for it was judged by its authority alone.

TLS has to name the host of the CONNECT. Plain HTTP is not tunnelled but governed. Anything else is
refused, unless the tunnel's tools let it through.
"""

from proxy.model.errors import BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.policy.address import literal_address
from proxy.upstream.tunnel import Judge
from proxy.wire.opening import MAX_OPENING_BYTES, Opening, classify, read_hello


class PlainHttp(Exception):  # noqa: N818 - a discovery
    """The client speaks plain HTTP inside its tunnel."""


def opening_judge(host: str, other: Refusal | None) -> Judge:
    """A judge of the bytes so far: True, they may pass; False, more are needed. Raises `PlainHttp`,
    or `Stopped` for what may not pass. `other`: why not what is neither TLS nor HTTP; None: it
    may."""

    def judge(data: bytes) -> bool:
        opening = classify(data)
        if opening is Opening.HTTP:
            raise PlainHttp
        if opening is Opening.HTTP2:
            raise Stopped(_mismatch("HTTP/2 without TLS is not let through a tunnel"))
        if opening is Opening.TLS:
            return _judge_hello(data, host)
        if opening is Opening.OTHER and other is not None:
            raise Stopped(other)
        return opening is Opening.OTHER

    return judge


def _judge_hello(data: bytes, host: str) -> bool:
    try:
        hello = read_hello(data)
    except BadMessage as problem:
        raise Stopped(_mismatch(str(problem).rstrip("."))) from None
    if hello is None:
        if len(data) > MAX_OPENING_BYTES:
            raise Stopped(_mismatch("the TLS ClientHello is too large"))
        return False
    if hello.server_name is None and literal_address(host) is None:
        raise Stopped(_mismatch("the TLS ClientHello names no server"))
    if hello.server_name is not None and hello.server_name != host:
        raise Stopped(_mismatch("the TLS server name is not the host of the CONNECT"))
    return True


def _mismatch(what: str) -> Refusal:
    return Refusal(Reason.TOOL_NOT_ALLOWED, f"The tunnel was closed: {what}.", "tunnel.server_name")
