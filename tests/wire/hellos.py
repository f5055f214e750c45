"""ClientHellos as OpenSSL makes them, and as OpenSSL reads them."""

import ssl

from proxy.wire.opening import read_hello


def client_hello(server_name: str | None, *, alpn: tuple[str, ...] = ()) -> bytes:
    """The first flight of a client that asks for `server_name`: one TLS record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake cannot end after its first message")


def reframed(hello: bytes, sizes: list[int]) -> bytes:
    """The same handshake bytes in records of these sizes, the last size repeated."""
    handshake = b""
    while hello:
        size = int.from_bytes(hello[3:5], "big")
        handshake += hello[5 : 5 + size]
        hello = hello[5 + size :]
    records, at, index = b"", 0, 0
    while at < len(handshake):
        part = handshake[at : at + sizes[min(index, len(sizes) - 1)]]
        records += b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        at += len(part)
        index += 1
    return records


class OpenSslReader:
    """An OpenSSL server that is asked which name a ClientHello gives."""

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.sni_callback = self._called
        self._names: list[str | None] = []

    def _called(self, sock: object, name: str | None, context: object) -> None:
        self._names.append(name)

    def names(self, data: bytes) -> list[str | None]:
        """What the server was told: empty if it got no name out of `data`, nor its absence."""
        self._names = []
        incoming = ssl.MemoryBIO()
        incoming.write(data)
        server = self._context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
        try:
            server.do_handshake()
        except (ssl.SSLError, ValueError):
            return self._names
        raise AssertionError("a handshake cannot end after its first message")


def misread(data: bytes, reader: OpenSslReader) -> str | None:
    """Where we accept `data` and OpenSSL was told another name: a sentence about it."""
    hello = read_hello(data)
    if hello is None:
        return None
    for name in reader.names(data):
        if (name or "").lower().removesuffix(".") != (hello.server_name or ""):
            return f"OpenSSL reads {name!r}, and we {hello.server_name!r}"
    return None
