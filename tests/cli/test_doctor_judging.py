"""From what the sidecar saw, and what the client says of itself, to a verdict."""

import pytest

from proxy.cli.doctor.booth import Booth, Seen
from proxy.cli.doctor.children import Outcome
from proxy.cli.doctor.clients import MAKE_BUNDLE, RUNTIMES, Client
from proxy.cli.doctor.judging import Facts, Tried, judge
from proxy.cli.doctor.variables import Endpoint
from proxy.cli.doctor.verdicts import Verdict

CLIENTS = {client.name: client for runtime in RUNTIMES for client in runtime.clients}
CURL, GIT, JAVA = CLIENTS["curl"], CLIENTS["git"], CLIENTS["java HttpClient"]
NODE, AIOHTTP, REQUESTS = (
    CLIENTS["node fetch"],
    CLIENTS["python aiohttp"],
    CLIENTS["python requests"],
)

BOOTH = Booth(Endpoint("booth", 8080, "run-1", "x"), "1", "run-1", True, intercepts=False)
OPEN = Facts(BOOTH, intercepts=False, is_closed=False)
CLOSED = Facts(BOOTH, intercepts=False, is_closed=True)
TLS = Facts(BOOTH, intercepts=True, is_closed=False)

FINE = Outcome(0, "", "")
UNRESOLVED = Outcome(6, "", "curl: (6) Could not resolve host: toolbooth.invalid")
NO_PROXY_HOST = Outcome(5, "", "curl: (5) Could not resolve proxy: booth")
REFUSED = Outcome(7, "", "curl: (7) Failed to connect to booth port 8080")
LATE = Outcome(None, "", "")
UNTRUSTED = Outcome(60, "", "curl: (60) SSL certificate problem: unable to get local issuer")
MISSING = Outcome(3, "3.11", "")

NAMED = {"http": True, "tunnel": True}
BOTH = Seen(http=True, tunnel=True, run_given=NAMED, run_id="run-1")
INSIDE = Seen(True, True, True, {**NAMED, "https": True}, "run-1")
HTTP_ONLY = Seen(http=True, run_given={"http": True})
NOTHING = Seen()

CASES = [
    # Gone through, whatever it says itself.
    (CURL, BOTH, FINE, FINE, OPEN, Verdict.OK, "as run run-1"),
    (CURL, BOTH, UNRESOLVED, UNRESOLVED, OPEN, Verdict.OK, "go through"),
    (CURL, BOTH, FINE, UNTRUSTED, OPEN, Verdict.OK, "go through"),
    (CURL, INSIDE, FINE, FINE, TLS, Verdict.OK, "trusting the CA"),
    (AIOHTTP, BOTH, FINE, FINE, OPEN, Verdict.WARNING, "trust_env=True"),
    # Gone through without its name.
    (GIT, BOTH._replace(run_given={"http": False, "tunnel": False}), FINE, FINE, OPEN,
     Verdict.WARNING, "no run id arrives"),
    (GIT, BOTH._replace(run_given={"http": True, "tunnel": False}), FINE, FINE, OPEN,
     Verdict.WARNING, "one of them without"),
    # Gone around: a name that does not resolve, an answer from elsewhere, silence.
    (CURL, NOTHING, UNRESOLVED, UNRESOLVED, OPEN, Verdict.BYPASS, "for HTTP and HTTPS"),
    (CURL, NOTHING, FINE, FINE, OPEN, Verdict.BYPASS, "goes around"),
    (CURL, NOTHING, LATE, LATE, OPEN, Verdict.BYPASS, "goes around"),
    (CURL, HTTP_ONLY, FINE, UNRESOLVED, OPEN, Verdict.BYPASS, "for HTTPS and goes around"),
    (CURL, Seen(tunnel=True), UNRESOLVED, FINE, OPEN, Verdict.BYPASS, "for HTTP and goes around"),
    (CURL, NOTHING, UNRESOLVED, UNRESOLVED, CLOSED, Verdict.BROKEN, "reaches nothing"),
    # Neither.
    (CURL, NOTHING, REFUSED, REFUSED, OPEN, Verdict.BROKEN, "Failed to connect"),
    (CURL, NOTHING, NO_PROXY_HOST, NO_PROXY_HOST, OPEN, Verdict.BROKEN, "resolve proxy"),
    (CURL, NOTHING, Outcome(9, "", ""), Outcome(9, "", ""), OPEN, Verdict.BROKEN, "exit code 9"),
    (CURL, HTTP_ONLY, FINE, REFUSED, OPEN, Verdict.BROKEN, "HTTPS do not reach"),
    (CURL, BOTH, FINE, UNTRUSTED, TLS, Verdict.BROKEN, "Does not trust"),
    (REQUESTS, NOTHING, MISSING, MISSING, OPEN, Verdict.NOT_FOUND, "Not here"),
]  # fmt: skip


@pytest.mark.parametrize(("client", "seen", "http", "https", "facts", "verdict", "words"), CASES)
def test_verdicts(
    client: Client, seen: Seen, http: Outcome, https: Outcome, facts: Facts, verdict: Verdict,
    words: str,
) -> None:  # fmt: skip
    check = judge(client, Tried(http, https, seen), facts)
    assert (check.verdict, check.name) == (verdict, client.name)
    assert words in check.detail


ADVICE = [
    (NODE, NOTHING, "v20.1.0", OPEN, "Node v20.1.0 knows no proxy variables"),
    (NODE, NOTHING, "v22.1.0", OPEN, "export NODE_USE_ENV_PROXY=1"),
    (JAVA, NOTHING, "17", OPEN, "-Dhttp.proxyHost=booth -Dhttp.proxyPort=8080"),
    (GIT, BOTH._replace(run_given={"http": False}), "", OPEN, "proxyAuthMethod=basic"),
    (REQUESTS, BOTH, "", TLS, "export REQUESTS_CA_BUNDLE="),
    (NODE, BOTH, "v22.1.0", TLS, "export NODE_EXTRA_CA_CERTS="),
]


@pytest.mark.parametrize(("client", "seen", "version", "facts", "words"), ADVICE)
def test_what_to_set(client: Client, seen: Seen, version: str, facts: Facts, words: str) -> None:
    outcome = Outcome(1, version, "getaddrinfo ENOTFOUND toolbooth.invalid")
    lines = judge(client, Tried(outcome, outcome, seen), facts).lines
    assert words in lines[-1]
    assert (lines[:-1] == MAKE_BUNDLE) is (facts is TLS)


def test_nobody_is_blamed_for_a_run_that_was_never_named() -> None:
    """The URL names no run: that is one warning about the URL, not one for each client."""
    nameless = OPEN._replace(booth=BOOTH._replace(run_given=False))
    seen = BOTH._replace(run_given={"http": False, "tunnel": False})
    assert judge(CURL, Tried(FINE, FINE, seen), nameless).verdict is Verdict.OK
