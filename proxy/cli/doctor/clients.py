"""The clients that are tried: how each is started, and what to set for it.

A table, so that another client is another row. Commands hold `{exe}`, `{url}`, `{dir}`, `{file}`,
`{binary}` and `{timeout}` as whole words, which are replaced when they are run.
"""

from collections.abc import Mapping
from typing import NamedTuple

from proxy.cli.doctor.programs import GO, JAVA, NODE, PYTHON
from proxy.model.call import PROBE_HOST

# Most of these variables replace what a client trusts, so they get the public roots as well.
MAKE_BUNDLE = (
    f"curl -s http://{PROBE_HOST}/ca.pem -o toolbooth-ca.pem  # or: toolbooth ca export",
    "cat toolbooth-ca.pem /etc/ssl/certs/ca-certificates.crt > bundle.pem",
)
_CA = '"$PWD/bundle.pem"'
_SSL_CERT_FILE = f"export SSL_CERT_FILE={_CA}"


class Client(NamedTuple):
    """One way of asking. The lines and sentences are for when it goes around (`around`), does not
    trust the CA (`trust`), sends no run id (`unnamed`); `caveat` holds though all is well."""

    name: str
    command: tuple[str, ...]
    around: str = ""
    trust: str = _SSL_CERT_FILE
    unnamed: str = ""
    caveat: str = ""
    path: str = ""  # behind the nonce


class Runtime(NamedTuple):
    """What is looked for on PATH, the first name that is there, and the clients it brings.
    `prepare` is run once before them, with `source` in a file of its own. `environment` is added
    to the container's."""

    name: str
    executables: tuple[str, ...]
    clients: tuple[Client, ...]
    source: tuple[str, str] | None = None  # name of the file, text
    prepare: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}


def _python(library: str, *, trust: str = _SSL_CERT_FILE, caveat: str = "") -> Client:
    command = ("{exe}", "-c", PYTHON, library, "{url}")
    return Client(f"python {library}", command, trust=trust, caveat=caveat)


def _node(how: str) -> Client:
    trust = 'export NODE_EXTRA_CA_CERTS="$PWD/toolbooth-ca.pem"'
    return Client(f"node {how}", ("{exe}", "-e", NODE, how, "{url}"), trust=trust)


def _java(how: str) -> Client:
    return Client(
        f"java {how}",
        ("{exe}", "-cp", "{dir}", "Probe", how, "{url}"),
        around=(
            'export JAVA_TOOL_OPTIONS="-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} '
            '-Dhttps.proxyHost={host} -Dhttps.proxyPort={port} -Dhttp.nonProxyHosts="'
        ),
        trust=(
            "# Java: keytool -importcert -file toolbooth-ca.pem into its trust store, or "
            "-Djavax.net.ssl.trustStore=FILE -Djavax.net.ssl.trustStorePassword=WORD"
        ),
        unnamed="# Java names its run only with an Authenticator: docs/clients.md, Java",
    )


RUNTIMES = (
    Runtime(
        "python",
        ("python3", "python"),
        (
            _python("urllib"),
            _python("requests", trust=f"export REQUESTS_CA_BUNDLE={_CA}"),
            _python("httpx"),
            _python("httpx2"),
            _python("aiohttp", caveat="only with ClientSession(trust_env=True)"),
        ),
    ),
    Runtime("node", ("node",), (_node("fetch"), _node("http"))),
    Runtime(
        "java",
        ("java",),
        (_java("HttpClient"), _java("URLConnection")),
        source=("Probe.java", JAVA),
        # The compiler by its module: it need not be on PATH, and a JRE has none.
        prepare=("{exe}", "--module", "jdk.compiler/com.sun.tools.javac.Main", "-d", "{dir}",
                 "{file}"),
    ),
    Runtime(
        "go",
        ("go",),
        (Client("go net/http", ("{binary}", "{url}")),),
        source=("probe.go", GO),
        prepare=("{exe}", "build", "-o", "{binary}", "{file}"),
        environment={"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""},
    ),
    Runtime(
        "curl",
        ("curl",),
        (
            Client(
                "curl",
                ("{exe}", "-sS", "-o", "/dev/null", "--max-time", "{timeout}", "{url}"),
                trust=f"export CURL_CA_BUNDLE={_CA}",
            ),
        ),
    ),
    Runtime(
        "git",
        ("git",),
        (
            Client(
                "git",
                ("{exe}", "ls-remote", "{url}"),
                trust=f"export GIT_SSL_CAINFO={_CA}",
                unnamed="export GIT_CONFIG_PARAMETERS=\"'http.proxyAuthMethod=basic'\"",
                path="/x.git",
            ),
        ),
        environment={"GIT_TERMINAL_PROMPT": "0"},
    ),
    Runtime(
        "wget",
        ("wget",),
        (
            Client(
                "wget",
                ("{exe}", "-O", "/dev/null", "-T", "{timeout}", "{url}"),
                trust='echo "ca_certificate = $PWD/bundle.pem" >> ~/.wgetrc',
            ),
        ),
    ),
)  # fmt: skip
NAMES = tuple(runtime.name for runtime in RUNTIMES)
