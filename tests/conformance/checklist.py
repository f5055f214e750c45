"""What an HTTP intermediary has to do, requirement by requirement, and what this one does.

The one list: `docs/conformance.md` is written from it, the tests beside it name its numbers, and a
test sees to it that every number has one. Levels and sections are those of RFC 9110 (semantics),
9111 (caching) and 9112 (HTTP/1.1).
"""

from collections import Counter
from typing import NamedTuple

from tests.conformance import test_connections, test_fields, test_framing, test_start_line
from tests.conformance.world import Scenarios
from tests.numbered import counted, titles_of

MODULES: tuple[tuple[str, str, Scenarios], ...] = (
    ("Start line and target", "test_start_line.py", test_start_line.scenarios),
    ("Fields, methods, statuses", "test_fields.py", test_fields.scenarios),
    ("Framing", "test_framing.py", test_framing.scenarios),
    ("Connections and tunnels", "test_connections.py", test_connections.scenarios),
)
_FIRSTS = (1, 22, 50, 63)  # the number each module begins with


class Requirement(NamedTuple):
    """`does`: what we do where the RFC leaves a choice. `deviation`: what we do instead, and why;
    empty where the requirement is met."""

    number: int
    level: str
    section: str
    asks: str
    does: str = ""
    deviation: str = ""


R = Requirement
CHECKLIST = (
    R(1, "SHOULD", "9112 2.2", "ignore an empty line before a request", "up to 16 bytes of them"),
    R(2, "MUST", "9112 2.2", "treat a bare CR as invalid, or as a space", "400"),
    R(
        3,
        "MAY",
        "9112 2.2",
        "read a bare LF as a line's end; never write one",
        "400, and 502 for an answer",
    ),
    R(4, "MUST", "9112 2.2", "refuse or skip blank-led lines before the first field", "400"),
    R(5, "SHOULD", "9112 2.2", "answer what is not HTTP with 400 and close"),
    R(6, "MUST", "9112 2.3", "send the own version on, both ways"),
    R(
        7,
        "SHOULD",
        "9110 6.2, 15.6.6",
        "read a higher minor version as 1.1, refuse another major one",
        "505",
    ),
    R(8, "SHOULD", "9112 3.2", "refuse an invalid request line instead of mending it", "400"),
    R(9, "RECOMMENDED", "9112 3", "take request lines of 8000 octets", "targets of 16,384 bytes"),
    R(10, "MUST", "9112 3", "414 for a target that is too long, 501 for such a method"),
    R(11, "MUST", "9112 3.2", "400 for an HTTP/1.1 request without one valid Host"),
    R(12, "MUST", "9112 3.2.2", "accept absolute-form"),
    R(13, "MUST", "9112 3.2.2", "replace a received Host by the target's"),
    R(14, "MUST", "9112 3.2.3, 9110 9.3.6", "refuse CONNECT without host and valid port", "400"),
    R(15, "MUST", "9112 3.2.4", "turn OPTIONS without path and query into `*`"),
    R(16, "MUST", "9112 3.2.1", "send `/` for an empty path"),
    R(17, "MUST", "9110 4.2.1, 4.2.2", "refuse an empty host", "400"),
    R(18, "SHOULD", "9110 4.2.4", "treat userinfo as an error", "400"),
    R(
        19,
        "MUST NOT",
        "9110 7.7",
        "change a fully qualified host name",
        deviation="the name goes on "
        "in small letters and without a trailing dot: policy, budgets, log and Host spell it alike",
    ),
    R(
        20,
        "MUST NOT",
        "9110 7.7",
        "change path and query",
        "what cannot be sent as it is (a fragment, octets beyond ASCII) is a 400",
    ),
    R(
        21,
        "MUST",
        "9110 9.1",
        "compare methods with case; forward or refuse unknown ones",
        "forwarded, unless the policy names methods",
    ),
    R(22, "MUST", "9110 5.1", "forward unknown fields"),
    R(23, "MUST NOT", "9110 5.3", "change the order of lines of one name"),
    R(24, "MUST NOT", "9110 5.3", "join Set-Cookie lines"),
    R(
        25,
        "MUST",
        "9110 5.5",
        "refuse CR, LF and NUL in a value, or make them spaces",
        "400, and 502 for an answer",
    ),
    R(26, "SHOULD", "9110 5.5", "pass octets beyond ASCII in values"),
    R(
        27,
        "MUST",
        "9112 5.1",
        "refuse a blank before the colon of a request, remove it from an answer",
        deviation="an answer with one is a 502: nobody has to guess what its sender meant",
    ),
    R(28, "MUST", "9112 5.2", "refuse folded lines, or unfold them", "400, and 502 for an answer"),
    R(29, "MUST", "9110 5.4", "4xx for a field section that is too large", "431"),
    R(30, "MUST", "9110 6.6.1", "add Date to an answer without one"),
    R(31, "MUST", "9110 7.6.1", "drop Connection and what it names"),
    R(32, "SHOULD", "9110 7.6.1", "drop hop-by-hop fields that it does not name"),
    R(
        33,
        "MUST",
        "9110 7.6.2",
        "count Max-Forwards of TRACE and OPTIONS down, answer at 0",
        "200 without content",
    ),
    R(
        34,
        "MUST",
        "9110 7.6.3",
        "add Via to what is forwarded, with the version it came in",
        "interim answers and 101 too",
    ),
    R(
        35,
        "SHOULD NOT",
        "9110 7.6.3",
        "name internal hosts in Via",
        "`toolbooth-` and an id of the process",
    ),
    R(
        36,
        "MUST NOT",
        "9110 7.6",
        "forward to itself without protection from loops",
        "403 for own ports, 400 for the own Via",
    ),
    R(
        37,
        "MUST",
        "9110 7.8",
        "switch protocols only as agreed, never in HTTP/1.0",
        "`websocket` is the one that is passed on",
    ),
    R(
        38,
        "MUST",
        "9110 10.1.1",
        "leave `100 Continue` to the origin, or answer finally first",
        "after a second of silence we say it",
    ),
    R(39, "MUST", "9110 15.2", "pass interim answers on, but not to HTTP/1.0", "up to 32 of them"),
    R(40, "MUST NOT", "9110 11.6", "change Authorization or WWW-Authenticate"),
    R(
        41,
        "MUST",
        "9110 11.7, 15.5.8",
        "say how to authenticate on a 407; keep Proxy-Authorization",
    ),
    R(42, "MUST NOT", "9110 10.2.1", "change Allow"),
    R(43, "MUST NOT", "9110 13.2.1", "evaluate preconditions in the origin's place"),
    R(44, "MAY", "9110 14.2", "pass Range and partial content on"),
    R(45, "SHOULD", "9110 15.4.5", "relay a 304 without content"),
    R(46, "MUST NOT", "9110 15.5.20", "answer 421"),
    R(
        47,
        "MUST NOT",
        "9110 7.7",
        "change content under no-transform",
        "no content is ever changed",
    ),
    R(48, "MUST NOT", "9110 12.5.5", "generate `Vary: *`"),
    R(
        49,
        "MUST NOT",
        "9110 9.2.2",
        "repeat what is not idempotent",
        "`retry_writes` and idempotency keys are the operator's word that it is",
    ),
    R(
        50,
        "MUST",
        "9112 6.1",
        "close after a request with length and chunks",
        "400; 502 for an answer",
    ),
    R(51, "MUST", "9112 6.3", "400 and close where chunked is not the last coding"),
    R(52, "SHOULD", "9112 6.1", "501 for a coding that is not understood"),
    R(
        53,
        "MUST",
        "9112 6.1",
        "treat a transfer coding in HTTP/1.0 as faulty",
        "400; 502 for an answer",
    ),
    R(
        54,
        "MUST",
        "9112 6.3",
        "refuse an invalid length: 400 and close, or 502 and nothing relayed",
    ),
    R(
        55,
        "MUST NOT",
        "9110 8.6",
        "forward a length that is wrong or no number",
        "lists are refused, lengths written anew",
    ),
    R(
        56,
        "MUST NOT",
        "9112 6.3, 9110 8.6",
        "read content where there is none: HEAD, 1xx, 204, 304",
    ),
    R(57, "MUST NOT", "9110 9.3.6", "frame the 200 to a CONNECT; nothing of the tunnel is lost"),
    R(
        58,
        "MUST",
        "9112 7.1",
        "read large sizes without overflow, ignore extensions, bound them",
        "16,384 bytes of extensions, then 431",
    ),
    R(59, "MUST NOT", "9110 6.5.1", "merge trailers into the head", "they stop here"),
    R(60, "MUST", "9112 8", "let an incomplete answer look incomplete"),
    R(
        61,
        "SHOULD",
        "9112 6.3, 9.8",
        "frame anew what ends by close; over TLS only its alert is an end",
    ),
    R(62, "MUST", "9112 7.4, 9110 10.1.4", "keep TE to one connection"),
    R(63, "MUST", "9112 9.3", "read all of a request, or close"),
    R(64, "MUST NOT", "9112 9.3", "keep a connection with an HTTP/1.0 client"),
    R(65, "MUST", "9112 9.3.2", "answer pipelined requests in their order"),
    R(66, "MUST", "9112 9.6", "honour `close` from both sides"),
    R(67, "MUST NOT", "9112 9.2", "take bytes on an idle connection for an answer", "they end it"),
    R(68, "SHOULD", "9112 9.5", "notice a client that is gone, and stop its work upstream"),
    R(69, "MUST", "9110 9.3.6", "flush what a tunnel's closed end had sent, then close the other"),
    R(70, "MUST", "9112 9.8", "end TLS with an alert", "towards upstreams"),
    R(71, "MUST", "9111 5.1", "leave Age alone where nothing is cached"),
)


def titles() -> list[str]:
    """Of all tests."""
    return titles_of(scenarios for _, _, scenarios in MODULES)


def counts() -> Counter[int]:
    """How many tests each number has."""
    return counted("R", titles())


def conformance_page() -> str:
    """`docs/conformance.md`."""
    met = sum(not requirement.deviation for requirement in CHECKLIST)
    lines = [
        "# Conformance",
        "",
        "What RFC 9110, 9111 and 9112 ask of an HTTP/1.1 intermediary, and what this one does.",
        "Each row has tests over raw sockets that compare the bytes that origin and client get:",
        "`.venv/bin/python -m pytest -q tests/conformance`. Where there is a choice we refuse",
        "rather than mend: see [threats.md](threats.md).",
        "",
        f"{met} of {len(CHECKLIST)} are met. The others are deviations, with their reason.",
        "",
        "<!-- written by `make docs` from `tests/conformance/checklist.py`: do not edit -->",
    ]
    tested = counts()
    for requirement in CHECKLIST:
        if requirement.number in _FIRSTS:
            title, module, _ = MODULES[_FIRSTS.index(requirement.number)]
            lines += [
                "",
                f"## {title}",
                "",
                f"Tests: [`tests/conformance/{module}`](../tests/conformance/{module}).",
                "",
                "| # | level | RFC | requirement | verdict | tests |",
                "| --- | --- | --- | --- | --- | --- |",
            ]
        lines.append(_row(requirement, tested[requirement.number]))
    return "\n".join([*lines, ""])


def _row(r: Requirement, tests: int) -> str:
    verdict = f"**deviation**: {r.deviation}" if r.deviation else "pass"
    if r.does:
        verdict += f": {r.does}"
    return f"| R{r.number:02} | {r.level} | {r.section} | {r.asks} | {verdict} | {tests} |"
