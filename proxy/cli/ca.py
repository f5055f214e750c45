"""`toolbooth ca`: the certificate that clients of intercepted tools have to trust, and how each
runtime is told to. The key never passes here: `ca.key` is not read, and the control API has no way
to show it."""

import argparse
import json
import re
import shlex
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from proxy.cli.client import ControlClient, View
from proxy.cli.exit_codes import DONE, CommandError
from proxy.cli.reading import text
from proxy.settings import client_settings

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_ROOTS = (  # where distributions keep them, should OpenSSL have been built for another one
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem",
)  # fmt: skip


class Variable(NamedTuple):
    """An environment variable that names a file of CAs, and whom it concerns."""

    name: str
    readers: str


EXTEND = (Variable("NODE_EXTRA_CA_CERTS", "Node.js"), Variable("DENO_CERT", "Deno"))
REPLACE = (
    Variable(
        "SSL_CERT_FILE",
        "httpx, the OpenAI, Anthropic and MCP SDKs, aiohttp, urllib, Go, uv, curl, Ruby",
    ),
    Variable("REQUESTS_CA_BUNDLE", "requests"),
    Variable("CURL_CA_BUNDLE", "curl"),
    Variable("GIT_SSL_CAINFO", "git"),
    Variable("PIP_CERT", "pip"),
    Variable("npm_config_cafile", "npm"),
    Variable("AWS_CA_BUNDLE", "the AWS command line and SDKs"),
    Variable("CARGO_HTTP_CAINFO", "cargo"),
)


def export(arguments: argparse.Namespace, client: Callable[[], ControlClient]) -> int:
    """The certificate from the directory it is kept in, else from the running sidecar."""
    directory = arguments.dir or client_settings().ca_dir
    found = _kept(Path(directory)) if directory is not None else client().get("/v1/ca")
    pem = _certificates(text(found, "certificate"))
    content = pem + _system_roots() if arguments.bundle else pem
    if arguments.out is not None:
        _write(Path(arguments.out), content)
    if arguments.json:
        print(json.dumps({**found, "certificate": content, "out": arguments.out}))
    elif arguments.out is None:
        print(content, end="")
    return DONE


def env(arguments: argparse.Namespace) -> int:
    """What to set in a client's environment so that it trusts the certificates in a file."""
    path = str(Path(arguments.file).absolute())
    if arguments.json:
        print(json.dumps(_as_json(path)))
        return DONE
    print("\n".join(_lines(path)))
    return DONE


def _kept(directory: Path) -> View:
    path = directory / "ca.pem"
    try:
        return {"certificate": path.read_text(encoding="ascii"), "kept": True}
    except FileNotFoundError:
        raise CommandError(
            f"{path} does not exist; a sidecar makes it when it starts with TOOLBOOTH_CA_DIR and a "
            "policy that intercepts a tool."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {_words(error)}.") from None


def _certificates(source: str) -> str:
    """Only certificates, whatever else a file holds."""
    found = _CERTIFICATE.findall(source)
    if not found:
        raise CommandError("What was found holds no certificate in PEM.")
    return "".join(f"{block}\n" for block in found)


def _system_roots() -> str:
    """The roots this machine trusts. Ours stands first in a bundle: keytool reads no further."""
    paths = ssl.get_default_verify_paths()
    for place in (paths.cafile, paths.openssl_cafile, *_ROOTS):
        if place and Path(place).is_file():
            return _certificates(Path(place).read_text(encoding="utf-8", errors="replace"))
    raise CommandError("This machine has no file of root certificates to make a bundle with.")


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="ascii")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {_words(error)}.") from None


def _words(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return (strerror or type(error).__name__).lower()


def _java(path: str) -> tuple[list[str], str]:
    """Java has a store of its own: commands that copy the JDK's and add ours, and the option."""
    store = f"{path.removesuffix('.pem')}-java.store"
    commands = [
        f'cp "$JAVA_HOME/lib/security/cacerts" {shlex.quote(store)} && chmod u+w '
        f"{shlex.quote(store)}",
        f"keytool -importcert -noprompt -alias toolbooth -file {shlex.quote(path)} "
        f"-keystore {shlex.quote(store)} -storepass changeit",
    ]
    options = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
    return commands, options


def _as_json(path: str) -> View:
    commands, options = _java(path)
    return {
        "file": path,
        "extend": {variable.name: path for variable in EXTEND},
        "replace": {variable.name: path for variable in REPLACE},
        "java": {"commands": commands, "JAVA_TOOL_OPTIONS": options},
    }


def _lines(path: str) -> list[str]:
    """As an environment file, which a shell reads too."""
    lines = ["# These add to the roots that the program trusts:"]
    for variable in EXTEND:
        lines += [f"# {variable.readers}", f"{variable.name}={shlex.quote(path)}"]
    lines += ["# These take the place of those roots, so the file has to hold them too"]
    lines += ["# (toolbooth ca export --bundle --out FILE):"]
    for variable in REPLACE:
        lines += [f"# {variable.readers}", f"{variable.name}={shlex.quote(path)}"]
    commands, options = _java(path)
    lines += ["# Java has a store of its own. Make one, which adds to the JDK's roots, with:"]
    lines += [f"#   {command}" for command in commands]
    lines += [f"JAVA_TOOL_OPTIONS={shlex.quote(options)}"]
    return lines
