from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.model.call import Origin, Target
from proxy.model.errors import BadMessage
from proxy.wire.target import (
    canonical_host,
    check_host_field,
    has_dot_segment,
    parse_absolute,
    parse_connect,
    parse_origin_form,
    split_authority,
)
from tests.wire.authorities import PIECES, other_hosts

LABEL_63 = "a" * 63
LONGEST = ".".join([LABEL_63] * 3 + ["a" * 61])
assert len(LONGEST) == 253

HOSTS = [
    pytest.param("h.test", "h.test", id="a name"),
    pytest.param("H.TeSt", "h.test", id="a name in capitals"),
    pytest.param("h.test.", "h.test", id="one trailing dot is stripped"),
    pytest.param("h", "h", id="a single label"),
    pytest.param("_dmarc.a_b.test", "_dmarc.a_b.test", id="underscores"),
    pytest.param("a--b.test", "a--b.test", id="hyphens within a label"),
    pytest.param("9.a9", "9.a9", id="labels that begin with digits"),
    pytest.param(f"{LABEL_63}.test", f"{LABEL_63}.test", id="a label of 63"),
    pytest.param(LONGEST, LONGEST, id="a name of 253"),
    pytest.param(f"{LONGEST}.", LONGEST, id="a name of 253 and its dot"),
    pytest.param("XN--BCHER-KVA.test", "xn--bcher-kva.test", id="an internationalised label"),
    pytest.param("xn--strae-oqa.test", "xn--strae-oqa.test", id="a sharp s, which has no capital"),
    pytest.param("xn--11b2ezc860kha", "xn--11b2ezc860kha", id="joiners that a script needs"),
    pytest.param("192.0.2.1", "192.0.2.1", id="an IPv4 address"),
    pytest.param("127.1", "127.1", id="an odd spelling is left to the address policy"),
    pytest.param("0x7f000001", "0x7f000001", id="so is a hexadecimal one"),
    pytest.param("2001:DB8:0:0::1", "2001:db8::1", id="an IPv6 address in its shortest form"),
    pytest.param("::FFFF:C000:201", "::ffff:192.0.2.1", id="an IPv4 address in IPv6 shows as one"),
    pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.1", id="also where it came so"),
    pytest.param("::c000:201", "::c000:201", id="not in the form that is no longer used"),
    pytest.param("fe80::1%25eth0", "fe80::1", id="the zone of a link-local address is dropped"),
    pytest.param("fe80::1%25" + "e" * 32, "fe80::1", id="the longest zone"),
]

BAD_HOSTS = [
    pytest.param("", id="an empty host"),
    pytest.param(".", id="the root"),
    pytest.param(".h.test", id="a leading dot"),
    pytest.param("h..test", id="an empty label"),
    pytest.param("h.test..", id="two trailing dots"),
    pytest.param("-h.test", id="a label that begins with a hyphen"),
    pytest.param("h-.test", id="a label that ends with one"),
    pytest.param("h test", id="a space"),
    pytest.param("h\ttest", id="a tab"),
    pytest.param("h.test\x00.g.test", id="a NUL"),
    pytest.param("h.test\n", id="a line end"),
    pytest.param("h.test%00.g.test", id="an encoded NUL"),
    pytest.param("h%2etest", id="an encoded dot"),
    pytest.param("%68.test", id="an encoded letter"),
    pytest.param("h*.test", id="a wildcard"),
    pytest.param("u@h.test", id="userinfo"),
    pytest.param("h.test/p", id="a path"),
    pytest.param("h.test\\g.test", id="a backslash"),
    pytest.param("h.test,g.test", id="a list"),
    pytest.param("\u212aelvin.test", id="a Kelvin sign, which lower case makes a k"),
    pytest.param("\uff11\uff12\uff17.0.0.1", id="full-width digits"),
    pytest.param("127\u30020\u30020\u30021", id="ideographic full stops"),
    pytest.param("\u24db\u24de.test", id="circled letters"),
    pytest.param("h\xad.test", id="a soft hyphen"),
    pytest.param("b\xfccher.test", id="a name not in its ASCII form"),
    pytest.param(f"{LABEL_63}a.test", id="a label of 64"),
    pytest.param(f"{LONGEST}a", id="a name of 254"),
    pytest.param("xn--a", id="an A-label of a control character"),
    pytest.param("xn--dca", id="an A-label of a capital letter"),
    pytest.param("xn--8g7ccp", id="an A-label of full-width digits"),
    pytest.param("xn--b-0", id="an A-label that is cut short"),
    pytest.param("xn--", id="an A-label of nothing"),
    pytest.param("xn--abc-", id="an A-label of plain ASCII"),
    pytest.param("xn--999999999", id="an A-label beyond Unicode"),
    pytest.param("a.xn--bcher-kva0.test", id="an A-label that does not encode back"),
    pytest.param("::1::", id="two gaps in an IPv6 address"),
    pytest.param("1:2:3:4:5:6:7:8:9", id="nine groups"),
    pytest.param("::12345", id="a group of five digits"),
    pytest.param("::127.1", id="an embedded address in an odd spelling"),
    pytest.param("::ffff:127.0.0.01", id="an embedded address with a padded octet"),
    pytest.param("::1/64", id="a network"),
    pytest.param("[::1]", id="brackets belong to the authority"),
    pytest.param("::1%25lo", id="a zone on an address that has none"),
    pytest.param("2001:db8::1%25", id="an empty zone on one"),
    pytest.param("::ffff:169.254.1.1%25eth0", id="a zone on a link-local IPv4 address in IPv6"),
    pytest.param("fe80::1%25", id="an empty zone"),
    pytest.param("fe80::1%eth0", id="a zone whose percent sign is not encoded"),
    pytest.param("::1%x", id="such a zone on an address that has none"),
    pytest.param("fe80::1%25a@g.test", id="userinfo hidden in a zone"),
    pytest.param("fe80::1%25%41", id="an encoded zone"),
    pytest.param("fe80::1%25" + "e" * 33, id="a zone too long"),
]


@pytest.mark.parametrize(("raw", "host"), HOSTS)
def test_a_host_has_one_spelling(raw: str, host: str) -> None:
    assert canonical_host(raw) == host


@pytest.mark.parametrize("raw", BAD_HOSTS)
def test_what_is_no_host_is_refused_not_repaired(raw: str) -> None:
    with pytest.raises(BadMessage):
        canonical_host(raw)


AUTHORITIES = [
    pytest.param("h.test", ("h.test", None), id="no port"),
    pytest.param("h.test:1", ("h.test", 1), id="the lowest port"),
    pytest.param("h.test:65535", ("h.test", 65535), id="the highest port"),
    pytest.param("H.test.:80", ("h.test", 80), id="the host is canonical"),
    pytest.param("[::1]", ("::1", None), id="an IPv6 address"),
    pytest.param("[0::1]:443", ("::1", 443), id="an IPv6 address and a port"),
]

BAD_AUTHORITIES = [
    pytest.param("h.test:", id="an empty port"),
    pytest.param("h.test:0", id="port 0"),
    pytest.param("h.test:65536", id="a port too high"),
    pytest.param("h.test:65616", id="a port that would wrap around to 80"),
    pytest.param("h.test:080", id="a padded port"),
    pytest.param("h.test:+80", id="a sign"),
    pytest.param("h.test: 80", id="a space before the port"),
    pytest.param("h.test:80 ", id="a space after it"),
    pytest.param("h.test:8_0", id="an underscore between digits"),
    pytest.param("h.test:0x50", id="a hexadecimal port"),
    pytest.param("h.test:\uff18\uff10", id="full-width digits"),
    pytest.param("h.test:http", id="a service name"),
    pytest.param("h.test:80:80", id="two ports"),
    pytest.param(":80", id="no host"),
    pytest.param("u@h.test:80", id="a user"),
    pytest.param("u:p@h.test", id="a user and a password"),
    pytest.param("@h.test", id="an empty user"),
    pytest.param("h.test:80@g.test", id="a host that is really a user"),
    pytest.param("::1", id="an IPv6 address without brackets"),
    pytest.param("::1:80", id="and with a port"),
    pytest.param("[h.test]:443", id="a name in brackets"),
    pytest.param("[192.0.2.1]", id="an IPv4 address in brackets"),
    pytest.param("[::1", id="an open bracket"),
    pytest.param("::1]", id="a bracket never opened"),
    pytest.param("[[::1]]", id="brackets twice"),
    pytest.param("[::1]]", id="a bracket too many"),
    pytest.param("[::1]80", id="no colon before the port"),
    pytest.param("[::1].test", id="a name after the brackets"),
    pytest.param("[]", id="empty brackets"),
    pytest.param("g[::1]", id="something before the brackets"),
    pytest.param("[::1%25lo@g.test]", id="userinfo within the brackets"),
    pytest.param("[v1.a:b]", id="an address of a future version"),
    pytest.param("h.test/", id="a path"),
    pytest.param("h.test?q", id="a query"),
    pytest.param("h.test#f", id="a fragment"),
    pytest.param("h.test, g.test", id="a list"),
    pytest.param("", id="nothing"),
]


@pytest.mark.parametrize(("raw", "expected"), AUTHORITIES)
def test_authorities(raw: str, expected: tuple[str, int | None]) -> None:
    assert split_authority(raw) == expected
    assert check_host_field(raw.encode()) == expected
    assert other_hosts(raw) == []


@pytest.mark.parametrize("raw", BAD_AUTHORITIES)
def test_an_authority_that_can_be_read_twice_is_refused(raw: str) -> None:
    for parse in (
        lambda: split_authority(raw),
        lambda: check_host_field(raw.encode()),
        lambda: parse_connect(raw),
    ):
        with pytest.raises(BadMessage):
            parse()
    if not set(raw) & set("/?"):  # these end the authority of a URL, which may then be a good one
        with pytest.raises(BadMessage):
            parse_absolute(f"http://{raw}/", "GET")


ABSOLUTE = [
    pytest.param("http://h.test/", "http", "h.test", 80, "/", id="http"),
    pytest.param("https://h.test/", "https", "h.test", 443, "/", id="https"),
    pytest.param("HTTP://H.test:8080/P", "http", "h.test", 8080, "/P", id="a path keeps its case"),
    pytest.param("http://h.test:80/", "http", "h.test", 80, "/", id="the default port"),
    pytest.param("http://h.test:443/", "http", "h.test", 443, "/", id="the other scheme's port"),
    pytest.param("http://h.test", "http", "h.test", 80, "/", id="an empty path becomes /"),
    pytest.param("http://h.test?q", "http", "h.test", 80, "/?q", id="an empty path with a query"),
    pytest.param("http://h.test?a/b", "http", "h.test", 80, "/?a/b", id="a slash in the query"),
    pytest.param("http://h.test/?", "http", "h.test", 80, "/?", id="an empty query stays"),
    pytest.param("http://h.test//g/", "http", "h.test", 80, "//g/", id="two slashes stay"),
    pytest.param("http://h.test/a@g:1", "http", "h.test", 80, "/a@g:1", id="an @ in the path"),
    pytest.param("http://h.test/\\g", "http", "h.test", 80, "/\\g", id="a backslash in the path"),
    pytest.param("http://[::1]:8080/", "http", "::1", 8080, "/", id="an IPv6 address"),
    pytest.param(
        "http://h.test/a%2Fb/%7E/../x;y?b=%20+&c=%c3%a9", "http", "h.test", 80,
        "/a%2Fb/%7E/../x;y?b=%20+&c=%c3%a9", id="nothing is decoded or normalised",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "scheme", "host", "port", "path"), ABSOLUTE)
def test_absolute_form(raw: str, scheme: str, host: str, port: int, path: str) -> None:
    assert parse_absolute(raw, "GET") == Target(Origin(scheme, host, port), path)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        pytest.param("http://h.test", "*", id="no path means the server"),
        pytest.param("http://h.test/", "/", id="a path is a path"),
        pytest.param("http://h.test?q", "/?q", id="a query needs a path"),
    ],
)
def test_options_of_a_whole_server(raw: str, path: str) -> None:
    """RFC 9112 section 3.2.4."""
    assert parse_absolute(raw, "OPTIONS").path == path


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("ftp://h.test/", id="another scheme"),
        pytest.param("ws://h.test/", id="a scheme that only looks like HTTP's"),
        pytest.param("http\u017f://h.test/", id="a long s, which is an s without case"),
        pytest.param("http:/h.test/", id="one slash"),
        pytest.param("http:h.test", id="no slash"),
        pytest.param("http:///h.test", id="no authority"),
        pytest.param("http://", id="nothing but a scheme"),
        pytest.param("http://?q", id="nothing but a query"),
        pytest.param("//h.test/", id="no scheme"),
        pytest.param("h.test/", id="no scheme and no slashes"),
        pytest.param("http://h.test/#f", id="a fragment"),
        pytest.param("http://h.test#@g.test/", id="a fragment that hides another host"),
        pytest.param("http://h.test/p?q#f", id="a fragment after a query"),
        pytest.param("http://h.test\\@g.test/", id="a backslash that hides another host"),
        pytest.param("http:\\\\h.test/", id="backslashes for slashes"),
        pytest.param("http://h.test/a b", id="a space"),
        pytest.param("http://h.test/\r\nX: 1", id="a line end"),
        pytest.param("http://h.test/\x7f", id="a control character"),
        pytest.param("http://h.test/\xe9", id="a letter beyond ASCII"),
        pytest.param(" http://h.test/", id="a space in front"),
        pytest.param("*", id="the asterisk"),
        pytest.param("", id="nothing"),
    ],
)
def test_other_targets_are_no_absolute_form(raw: str) -> None:
    for method in ("GET", "OPTIONS"):
        with pytest.raises(BadMessage):
            parse_absolute(raw, method)


def test_connect_needs_host_and_port() -> None:
    assert parse_connect("H.test:443") == Target(Origin("https", "h.test", 443), "")
    assert parse_connect("[::1]:8443") == Target(Origin("https", "::1", 8443), "")
    for raw in ("h.test", "[::1]", "/", "*", "https://h.test:443", "h.test:443/"):
        with pytest.raises(BadMessage):
            parse_connect(raw)


def test_origin_form_is_a_path_at_a_known_place() -> None:
    here = Origin("http", "h.test", 80)
    for raw in ("/", "/p?q", "//g.test/", "/\\g.test"):
        assert parse_origin_form(raw, *here) == Target(here, raw)
    for raw in ("", "*", "p", "http://h.test/", "/p#f"):
        with pytest.raises(BadMessage):
            parse_origin_form(raw, *here)


def test_a_host_field_is_ascii() -> None:
    for value in (b"\xe2\x84\xaaelvin.test", b"h\x80", b"\xff"):
        with pytest.raises(BadMessage):
            check_host_field(value)


DOTS = [
    pytest.param("/..", True, id="two dots at the end"),
    pytest.param("/../a", True, id="two dots"),
    pytest.param("/a/./b", True, id="one dot"),
    pytest.param("/a/.", True, id="one dot at the end"),
    pytest.param("..", True, id="two dots alone"),
    pytest.param("/%2e%2E/a", True, id="encoded dots"),
    pytest.param("/.%2e/a", True, id="one of them encoded"),
    pytest.param("/..%2fa", True, id="an encoded slash after them"),
    pytest.param("/a%2F..", True, id="an encoded slash before them"),
    pytest.param("/..\\a", True, id="a backslash after them"),
    pytest.param("/a\\..", True, id="a backslash before them"),
    pytest.param("/..%5Ca", True, id="an encoded backslash after them"),
    pytest.param("/a%5c..", True, id="an encoded backslash before them"),
    pytest.param("/..;/a", True, id="a path parameter after them"),
    pytest.param("/..%3b/a", True, id="an encoded one"),
    pytest.param("/..?q", True, id="a query after them"),
    pytest.param("/", False, id="no segment"),
    pytest.param("/a/b", False, id="plain segments"),
    pytest.param("/a..b/c.", False, id="dots within a segment"),
    pytest.param("/...", False, id="three dots are a name"),
    pytest.param("/.well-known/x", False, id="a name that begins with a dot"),
    pytest.param("/a?b=/../c", False, id="dots in the query"),
    pytest.param("/a%2Fb", False, id="an encoded slash alone"),
]


@pytest.mark.parametrize(("path", "expected"), DOTS)
def test_dot_segments_are_seen_in_any_encoding(path: str, expected: bool) -> None:
    assert has_dot_segment(path) is expected


# --- for any text ---------------------------------------------------------------------------

ODD = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
TEXT = st.one_of(ODD, st.text(max_size=30), st.text("abx-_.:[]%25@0123456789", max_size=30))


@given(raw=TEXT)
@settings(max_examples=400, deadline=None)
@example(raw="h.test.")
@example(raw="fe80::1%25eth0")
@example(raw="::ffff:1.2.3.4")
def test_a_canonical_host_is_its_own_canonical_host(raw: str) -> None:
    try:
        host = canonical_host(raw)
    except BadMessage:
        return
    assert canonical_host(host) == host
    assert host.isascii()
    assert host == host.lower()
    assert not set(host) & set(" /\\@?#%[],;\x00")


@given(raw=TEXT)
@settings(max_examples=400, deadline=None)
@example(raw="[::1%25x@g.test]")
@example(raw="h.test:80@g.test")
def test_nobody_reads_another_host_in_what_we_accept(raw: str) -> None:
    """urllib and ipaddress either agree with us or are not asked, since we refuse."""
    assert not other_hosts(raw)


@given(raw=TEXT, method=st.sampled_from(["GET", "OPTIONS"]))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_target_or_a_bad_message(raw: str, method: str) -> None:
    readings: list[Callable[[], Target]] = [
        lambda: parse_absolute(raw, method),
        lambda: parse_absolute(f"http://{raw}", method),
        lambda: parse_connect(raw),
        lambda: parse_origin_form(raw, "http", "h.test", 80),
    ]
    for read in readings:
        try:
            target = read()
        except BadMessage:
            continue
        origin = target.origin
        assert split_authority(origin.authority) == (
            origin.host,
            None if origin.port == {"http": 80, "https": 443}[origin.scheme] else origin.port,
        )
