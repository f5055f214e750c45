"""R01 to R21: the start line, the target, the host, the method."""

import pytest

from tests.conformance.world import (
    CONNECT,
    END,
    GET,
    VIA,
    Run,
    Scenarios,
    a_world,
    after_head,
    plain,
    upstream,
)
from tests.fakes.origin import OK

scenarios = Scenarios()
refuses, passes, answers = scenarios.refuses, scenarios.passes, scenarios.answers
HOST = b"Host: a.test\r\n"
SEEN = upstream(b"GET / HTTP/1.1")


def get(target: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + HOST + END


passes("R01: one empty line before a request", END + GET + END, SEEN)
passes("R01: a few empty lines before a request", END * 3 + GET + END, SEEN)
refuses("R01: empty lines without end", END * 20 + GET + END, 400)
refuses("R01: a bare CR before a request", b"\r" + GET + END, 400)

refuses("R02: a bare CR in a value", GET + b"X: a\rb\r\n\r\n", 400)
refuses("R02: a bare CR at the end of a value", GET + b"X: a\r\r\n\r\n", 400)
refuses(
    "R02: a bare CR in the request line", b"GET http://a.test/\r HTTP/1.1\r\n" + HOST + END, 400
)
refuses("R02: a bare CR in a field name", GET + b"X\rY: a\r\n\r\n", 400)

refuses("R03: a request with bare LF only", (GET + END).replace(b"\r\n", b"\n"), 400)
refuses("R03: one line with bare LF", GET + b"X: a\n\r\n", 400)
refuses("R03: an empty line with bare LF", GET + b"X: a\r\n\n", 400)

refuses(
    "R04: a blank before the first field", get(b"http://a.test/").replace(b"Host", b" Host"), 400
)
refuses(
    "R04: a tab before the first field", get(b"http://a.test/").replace(b"Host", b"\tHost"), 400
)
refuses(
    "R04: a line of blanks before the fields",
    b"GET http://a.test/ HTTP/1.1\r\n \r\n" + HOST + END,
    400,
)

refuses(
    "R05: a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400
)
refuses("R05: random octets", bytes(range(256)), 400)
refuses("R05: another protocol's greeting", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400)
refuses("R05: the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505)
refuses("R05: a SOCKS5 greeting", b"\x05\x01\x00", 400)
refuses("R05: an answer in place of a request", OK, 400)

passes(
    "R06: an HTTP/1.0 request goes on as HTTP/1.1",
    get(b"http://a.test/", b"HTTP/1.0"),
    SEEN.replace(VIA, VIA.replace(b"1.1 ", b"1.0 ")),
)
answers("R06: an HTTP/1.0 answer comes back as HTTP/1.1", OK.replace(b"1.1", b"1.0"), OK)

passes("R07: a higher minor version is read as 1.1", get(b"http://a.test/", b"HTTP/1.2"), SEEN)
refuses("R07: HTTP/2.0 in text", get(b"http://a.test/", b"HTTP/2.0"), 505)
refuses("R07: HTTP/0.9 with a version", get(b"http://a.test/", b"HTTP/0.9"), 505)
refuses("R07: HTTP/0.9 without a version", b"GET http://a.test/\r\n\r\n", 400)
refuses("R07: a version of two digits", get(b"http://a.test/", b"HTTP/1.10"), 400)
refuses("R07: a version in small letters", get(b"http://a.test/", b"http/1.1"), 400)

refuses("R08: two spaces before the target", get(b" http://a.test/"), 400)
refuses("R08: two spaces before the version", get(b"http://a.test/ "), 400)
refuses("R08: a tab between the words", b"GET\thttp://a.test/ HTTP/1.1\r\n" + HOST + END, 400)
refuses("R08: a space in the target", get(b"http://a.test/a b"), 400)
refuses("R08: a vertical tab between the words", get(b"http://a.test/\x0b"), 400)
refuses("R08: a space before the method", b" " + GET + END, 400)
refuses("R08: a blank after the version", get(b"http://a.test/", b"HTTP/1.1 "), 400)
refuses("R08: a fragment", get(b"http://a.test/#f"), 400)
refuses("R08: octets beyond ASCII in the target", get(b"http://a.test/\xc3\xa9"), 400)

LONG = b"/" + b"x" * (8000 - len(b"GET http://a.test/ HTTP/1.1"))
passes(
    "R09: a request line of 8000 octets",
    get(b"http://a.test" + LONG),
    upstream(b"GET " + LONG + b" HTTP/1.1"),
)

refuses("R10: a target of 20 KB", get(b"http://a.test/" + b"x" * 20_000), 414)
refuses("R10: a target of 100 KB", get(b"http://a.test/" + b"x" * 100_000), 414)
refuses(
    "R10: a method of 100 octets", b"G" * 100 + b" http://a.test/ HTTP/1.1\r\n" + HOST + END, 501
)

refuses("R11: no Host", b"GET http://a.test/ HTTP/1.1\r\n\r\n", 400)
refuses("R11: two Hosts", GET + HOST + END, 400)
refuses("R11: two Hosts that differ", GET + b"Host: b.test\r\n\r\n", 400)
refuses("R11: a list of hosts", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400)
refuses("R11: a Host with userinfo", b"GET http://a.test/ HTTP/1.1\r\nHost: u@a.test\r\n\r\n", 400)
refuses("R11: a Host with a path", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400)
refuses("R11: an empty Host", b"GET http://a.test/ HTTP/1.1\r\nHost:\r\n\r\n", 400)

passes("R12: absolute-form", GET + END, SEEN)
passes("R12: a scheme in capitals", get(b"HTTP://a.test/"), SEEN)
passes("R12: the default port spelt out", get(b"http://a.test:80/"), SEEN)
passes("R12: another port", get(b"http://a.test:443/"), SEEN.replace(b"a.test", b"a.test:443"))

passes(
    "R13: a Host that differs from the target",
    b"GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n",
    SEEN,
)
passes(
    "R13: a Host of another port", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test:81\r\n\r\n", SEEN
)

refuses("R14: CONNECT without a port", b"CONNECT a.test HTTP/1.1\r\n" + HOST + END, 400)
refuses("R14: CONNECT with an empty port", b"CONNECT a.test: HTTP/1.1\r\n" + HOST + END, 400)
refuses(
    "R14: CONNECT with a port beyond 65535", b"CONNECT a.test:65979 HTTP/1.1\r\n" + HOST + END, 400
)
refuses("R14: CONNECT with port 0", b"CONNECT a.test:0 HTTP/1.1\r\n" + HOST + END, 400)
refuses("R14: CONNECT with a padded port", b"CONNECT a.test:0443 HTTP/1.1\r\n" + HOST + END, 400)
refuses("R14: CONNECT with a URL", b"CONNECT https://a.test:443 HTTP/1.1\r\n" + HOST + END, 400)
refuses("R14: CONNECT with userinfo", CONNECT.replace(b" a.test", b" u:p@a.test"), 400)

OPTIONS = b"OPTIONS http://a.test%b HTTP/1.1\r\n" + HOST + END
passes(
    "R15: OPTIONS without path and query becomes *", OPTIONS % b"", upstream(b"OPTIONS * HTTP/1.1")
)
passes("R15: OPTIONS with a path keeps it", OPTIONS % b"/", upstream(b"OPTIONS / HTTP/1.1"))
passes("R15: OPTIONS with a query has a path", OPTIONS % b"?q", upstream(b"OPTIONS /?q HTTP/1.1"))

passes("R16: an empty path becomes /", get(b"http://a.test"), SEEN)
passes("R16: and / stands before a query", get(b"http://a.test?q"), upstream(b"GET /?q HTTP/1.1"))

refuses("R17: an empty host", get(b"http:///x"), 400)
refuses("R17: an empty host with a port", get(b"http://:80/"), 400)
refuses("R17: a host of one dot", get(b"http://./"), 400)
refuses("R17: CONNECT to an empty host", b"CONNECT :443 HTTP/1.1\r\n" + HOST + END, 400)

refuses("R18: a user name", get(b"http://u@a.test/"), 400)
refuses("R18: a user name and password", get(b"http://u:p@a.test/"), 400)
refuses("R18: a user name that looks like the host", get(b"http://a.test@b.test/"), 400)
refuses("R18: an empty user name", get(b"http://@a.test/"), 400)

passes("R19: the host goes on as it was named", get(b"http://a.test/"), SEEN)
passes("R19: in small letters and without its last dot", get(b"http://A.Test./"), SEEN)

ODD = b'/a%2Fb/%7E/./x;y=1/../%2e?b=%20+&c=%c3%a9&d={|}^`\\"<>'
passes(
    "R20: path and query arrive byte for byte",
    get(b"http://a.test" + ODD),
    upstream(b"GET " + ODD + b" HTTP/1.1"),
)
passes("R20: two slashes stay two", get(b"http://a.test//x//"), upstream(b"GET //x// HTTP/1.1"))
passes(
    "R20: broken percent-encodings too",
    get(b"http://a.test/%%zz%4"),
    upstream(b"GET /%%zz%4 HTTP/1.1"),
)

passes(
    "R21: small letters make another method", b"get" + (GET + END)[3:], upstream(b"get / HTTP/1.1")
)
passes(
    "R21: a method that only the origin knows",
    b"PROPFIND" + (GET + END)[3:],
    upstream(b"PROPFIND / HTTP/1.1"),
)
passes(
    "R21: any token is a method", b"M-SEARCH!" + (GET + END)[3:], upstream(b"M-SEARCH! / HTTP/1.1")
)


@scenarios("R21: where a policy says GET, `get` is not it")
async def _method_rule() -> None:
    text = "tools:\n  allowlist: [a]\n  catalog: {a: {match: [{host: a.test, methods: [GET]}]}}\n"
    async with a_world(policy=text) as world:
        assert (await world.ask(GET + END)).startswith(b"HTTP/1.1 200 ")
        assert (await world.ask(b"get" + (GET + END)[3:])).startswith(b"HTTP/1.1 403 ")
        assert world.seen == SEEN


@scenarios("R03: bare LF in an answer is never relayed")
async def _no_bare_lf() -> None:
    async with a_world(after_head(OK.replace(b"\r\n", b"\n"))) as world:
        got = await world.to_the_end(GET + END)
        assert got.startswith(b"HTTP/1.1 502 ")
        assert b"\n" not in plain(got).partition(b"\r\n\r\n")[0].replace(b"\r\n", b"")


@pytest.mark.parametrize("run", scenarios.params)
async def test_requirement(run: Run) -> None:
    await run()
