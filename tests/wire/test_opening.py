import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.model.errors import BadMessage
from proxy.wire.opening import MAX_OPENING_BYTES, Opening, classify, read_hello
from tests.wire.hellos import OpenSslReader, client_hello, misread, reframed
from tests.wire.pieces import contradicts, openings

OPENINGS = [
    pytest.param(b"", Opening.UNDECIDED, id="nothing yet"),
    pytest.param(b"GET / HTTP/1.1\r\n", Opening.HTTP, id="a request"),
    pytest.param(b"GET ", Opening.HTTP, id="a known method and a space"),
    pytest.param(b"get / HTTP/1.1\r\n", Opening.HTTP, id="a method in lower case"),
    pytest.param(b"PropPatch / HTTP/1.1\r\n", Opening.HTTP, id="the longest known method"),
    pytest.param(b"CONNECT g.test:443 HTTP/1.1\r\n", Opening.HTTP, id="a tunnel in a tunnel"),
    pytest.param(b"GET /\r\n", Opening.HTTP, id="HTTP/0.9"),
    pytest.param(b"GET\t/ HTTP/1.1\r\n", Opening.HTTP, id="a tab after the method"),
    pytest.param(b"GET\x0b/ HTTP/1.1\r\n", Opening.HTTP, id="a vertical tab"),
    pytest.param(b"GET\xa0/ HTTP/1.1\r\n", Opening.HTTP, id="a blank of another character set"),
    pytest.param(b"GET / HTTP/1.1\n", Opening.HTTP, id="a line that ends in LF"),
    pytest.param(b"\r\nGET / HTTP/1.1\r\n", Opening.HTTP, id="an empty line in front"),
    pytest.param(b"\r\n" * 20 + b"PROPPATCH / HTTP/1.1", Opening.HTTP, id="many empty lines"),
    pytest.param(b" \t\x1cGET / HTTP/1.1\r\n", Opening.HTTP, id="blanks in front"),
    pytest.param(b"BREW /pot HTTP/1.1\r\n", Opening.HTTP, id="a method nobody knows"),
    pytest.param(b"M-SEARCH * HTTP/1.1\r\n", Opening.HTTP, id="a method with a hyphen"),
    pytest.param(b"BREW /pot  http/1.1\n", Opening.HTTP, id="and odd spacing and case"),
    pytest.param(b"BREW /a b HTTP/1.0\n", Opening.HTTP, id="and a target with a blank"),
    pytest.param(b"A" * 32 + b" / HTTP/1.1", Opening.HTTP, id="the longest method"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Opening.HTTP2, id="the HTTP/2 preface"),
    pytest.param(b"PRI / HTTP/1.1\r\n", Opening.HTTP, id="its method in HTTP/1"),
    pytest.param(b"G", Opening.UNDECIDED, id="the beginning of a method"),
    pytest.param(b"GET", Opening.UNDECIDED, id="a method that may go on"),
    pytest.param(b"gE", Opening.UNDECIDED, id="the beginning in mixed case"),
    pytest.param(b"\r\n", Opening.UNDECIDED, id="an empty line"),
    pytest.param(b"BREW /pot HTT", Opening.UNDECIDED, id="a line that may become a request"),
    pytest.param(b"BREW ", Opening.OTHER, id="nothing is held back for an unknown word"),
    pytest.param(b"HELLO", Opening.OTHER, id="a greeting in capitals"),
    pytest.param(b"PRI * HTTP/2", Opening.UNDECIDED, id="a preface that may go on"),
    pytest.param(b"\x16", Opening.UNDECIDED, id="the first byte of a handshake"),
    pytest.param(b"\x16\x03", Opening.TLS, id="a TLS record"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01", Opening.TLS, id="a ClientHello"),
    pytest.param(b"\x16\x02", Opening.OTHER, id="a version TLS never had"),
    pytest.param(b"\x00", Opening.OTHER, id="a binary protocol"),
    pytest.param(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Opening.OTHER, id="PostgreSQL"),
    pytest.param(b"\x10\x0e\x00\x04MQTT", Opening.OTHER, id="MQTT"),
    pytest.param(b"SSH-2.0-OpenSSH_9.6 x\r\n", Opening.OTHER, id="SSH"),
    pytest.param(b"EHLO h.test\r\n", Opening.OTHER, id="SMTP"),
    pytest.param(b"*1\r\n$4\r\nPING\r\n", Opening.OTHER, id="Redis"),
    pytest.param(b"PING\r\n", Opening.OTHER, id="a line of one word"),
    pytest.param(b"CONNECT\naccept-version:1.2\n", Opening.OTHER, id="STOMP"),
    pytest.param(b"ping", Opening.OTHER, id="a word that begins no method"),
    pytest.param(b"hello", Opening.OTHER, id="a word that begins like HEAD and goes on otherwise"),
    pytest.param(b"A" * 33, Opening.OTHER, id="a word longer than any method"),
    pytest.param(b"USER a b\r\n", Opening.OTHER, id="a line of words without HTTP"),
]


@pytest.mark.parametrize(("data", "expected"), OPENINGS)
def test_openings(data: bytes, expected: Opening) -> None:
    verdicts = openings(data)
    assert verdicts[-1] is expected
    assert not contradicts(verdicts)


@given(
    data=st.one_of(
        st.binary(max_size=40),
        st.lists(
            st.sampled_from(
                [b"GET", b"get", b"PRI", b"X", b"-", b" ", b"\t", b"/", b"*", b"HTTP/1.1",
                 b"HTTP/2.0", b"http/", b"\r\n", b"\n", b"\r", b"\x16", b"\x03", b"\xa0"]
            ), max_size=8,
        ).map(b"".join),
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
@example(data=b"PRI * HTTP/1.1\r\n")
@example(data=b"GET\r\n\r\n")
def test_more_bytes_never_change_a_decided_verdict(data: bytes) -> None:
    assert not contradicts(openings(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\n" * MAX_OPENING_BYTES, id="empty lines for ever"),
        pytest.param(b" " * (MAX_OPENING_BYTES + 1), id="blanks for ever"),
    ],
)
def test_nothing_stays_undecided_for_ever(data: bytes) -> None:
    """What is undecided is held back in memory, so there must be an end to it; and the end is
    that it is read as HTTP, or it would be a way around the HTTP policy."""
    assert classify(data[:MAX_OPENING_BYTES]) is Opening.UNDECIDED
    assert classify(data[: MAX_OPENING_BYTES + 1]) is Opening.HTTP
    assert classify(data) is Opening.HTTP


# --- ClientHellos ---------------------------------------------------------------------------

LONG_NAME = "a." * 100 + "test"
MANY_PROTOCOLS = tuple(f"protocol-{number:04}" for number in range(400))


@pytest.fixture(scope="module")
def openssl() -> OpenSslReader:
    return OpenSslReader()


@pytest.mark.parametrize(
    ("hello", "name"),
    [
        pytest.param(client_hello("h.test"), "h.test", id="a name"),
        pytest.param(client_hello("H.TEST"), "h.test", id="a name in capitals"),
        pytest.param(client_hello(LONG_NAME), LONG_NAME, id="a long name"),
        pytest.param(client_hello(None), None, id="no name"),
        pytest.param(client_hello("192.0.2.1"), None, id="an address is never sent as a name"),
        pytest.param(client_hello("h.test", alpn=("h2",)), "h.test", id="with a protocol"),
        pytest.param(client_hello("h.test", alpn=MANY_PROTOCOLS), "h.test", id="a large one"),
        pytest.param(
            reframed(client_hello("h.test"), [1, 3, 1, 200]), "h.test", id="several records"
        ),
        pytest.param(
            reframed(client_hello("h.test"), [9] * 20 + [50]), "h.test", id="small records"
        ),
    ],
)
def test_the_server_name_of_real_hellos(
    hello: bytes, name: str | None, openssl: OpenSslReader
) -> None:
    assert classify(hello) is Opening.TLS
    read = read_hello(hello)
    assert read is not None
    assert (read.server_name, read.encrypted) == (name, False)
    assert openssl.names(hello)[0] in (name, name and name.upper())
    for count in range(0, len(hello), 1 if len(hello) < 1000 else 37):
        assert read_hello(hello[:count]) is None
    after = read_hello(hello + b"\x16\x03\x01 and what not")
    assert after is not None
    assert after.server_name == name


def sni(name: bytes, kind: int = 0) -> bytes:
    entry = bytes([kind]) + len(name).to_bytes(2, "big") + name
    return len(entry).to_bytes(2, "big") + entry


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def hello_with(*extensions: bytes, kind: int = 1) -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    if extensions:
        joined = b"".join(extensions)
        body += len(joined).to_bytes(2, "big") + joined
    handshake = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake


def test_what_a_hello_may_say_otherwise() -> None:
    plain = read_hello(hello_with())
    assert plain is not None
    assert plain.server_name is None
    hidden = read_hello(hello_with(extension(0xFE0D, b"\x00"), extension(0, sni(b"h.test."))))
    assert hidden is not None
    assert (hidden.server_name, hidden.encrypted) == ("h.test", True)
    padded = read_hello(hello_with(extension(21, bytes(4000)), extension(0, sni(b"h.test"))))
    assert padded is not None
    assert padded.server_name == "h.test"
    ticket = read_hello(hello_with(extension(35, bytes(9000)), extension(0, sni(b"h.test"))))
    assert ticket is not None
    assert ticket.server_name == "h.test"


TWO_NAMES = (2 * len(sni(b"h.test")[2:])).to_bytes(2, "big") + 2 * sni(b"h.test")[2:]
BAD_HELLOS = [
    pytest.param(hello_with(extension(0, sni(b"h.test")) * 2), id="the name given twice"),
    pytest.param(hello_with(extension(0, TWO_NAMES)), id="two names in one extension"),
    pytest.param(hello_with(extension(0, sni(b"h.test", kind=1))), id="a name of another kind"),
    pytest.param(hello_with(extension(0, sni(b""))), id="an empty name"),
    pytest.param(hello_with(extension(0, b"")), id="no list of names"),
    pytest.param(hello_with(extension(0, b"\x00\x00")), id="an empty list"),
    pytest.param(hello_with(extension(0, sni(b"h.test")[:-1])), id="a name longer than its list"),
    pytest.param(hello_with(extension(0, sni(b"h\x00.test"))), id="a NUL in the name"),
    pytest.param(hello_with(extension(0, sni(b"h\xe9.test"))), id="a name beyond ASCII"),
    pytest.param(hello_with(extension(0, sni(b"h test"))), id="a blank in the name"),
    pytest.param(hello_with(extension(0, sni(b"a" * 64))), id="a label of 64"),
    pytest.param(hello_with(extension(0, sni(b"h.test:443"))), id="a port in the name"),
    pytest.param(hello_with(b"\x00"), id="extensions that end in the middle"),
    pytest.param(hello_with(kind=2), id="a ServerHello"),
    pytest.param(b"\x16\x03\x01\x00\x00", id="an empty record"),
    pytest.param(b"\x16\x03\x01\x41\x01", id="a record too large"),
    pytest.param(b"\x17\x03\x03\x00\x01a", id="another kind of record"),
    pytest.param(
        reframed(client_hello("h.test"), [50])[:55] + b"\x15\x03\x01\x00\x02\x01\x00",
        id="an alert in the middle",
    ),
    pytest.param(reframed(client_hello("h.test"), [1]), id="hundreds of records"),
]  # fmt: skip


@pytest.mark.parametrize("data", BAD_HELLOS)
def test_an_odd_hello_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        read_hello(data)


HELLOS = st.sampled_from(
    [
        client_hello("h.test"), client_hello(None), reframed(client_hello("h.test"), [1, 40, 200]),
        hello_with(extension(0, sni(b"h.test")), extension(35, bytes(40))),
    ]
)  # fmt: skip


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_hello_or_a_bad_message(data: bytes) -> None:
    for prefix in (b"", b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc", b"\x16\x03\x01"):
        try:
            hello = read_hello(prefix + data)
        except BadMessage:
            continue
        assert hello is None or hello.server_name is None or hello.server_name.isascii()


@given(
    hello=HELLOS,
    changes=st.lists(st.tuples(st.integers(0, 520), st.integers(0, 255)), max_size=4),
    cut_at=st.integers(0, 600),
)
@settings(max_examples=300, deadline=None)
def test_openssl_finds_the_same_name_wherever_we_accept(
    openssl: OpenSslReader, hello: bytes, changes: list[tuple[int, int]], cut_at: int
) -> None:
    """A server behind us would be told another name than the one that was judged."""
    changed = bytearray(hello)
    for at, value in changes:
        changed[at % len(changed)] = value
    try:
        problem = misread(bytes(changed[:cut_at] if cut_at < len(changed) else changed), openssl)
    except BadMessage:
        return
    assert problem is None
