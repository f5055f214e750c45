"""Tries every client that is here, each with nonces of its own, a few at once."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from proxy.cli.doctor import children
from proxy.cli.doctor.booth import Booth, NoBoothError, Seen, ask_seen
from proxy.cli.doctor.clients import Client, Runtime
from proxy.cli.doctor.judging import Facts, Tried, judge
from proxy.cli.doctor.verdicts import Check, Group, Verdict
from proxy.model.call import PROBE_HOST

_AT_ONCE = 4
_PREPARE_S = 180.0  # a first Go build compiles its standard library


class Bench(NamedTuple):
    """What the clients are tried with. `timeout_s`: each request of each."""

    environ: Mapping[str, str]
    booths: Sequence[Booth]
    facts: Facts
    timeout_s: float


def new_nonce() -> str:
    """Unguessable, so that nobody else can be seen in its place; fits a label of a host."""
    return secrets.token_hex(16)


def check_clients(runtimes: Iterable[Runtime], bench: Bench) -> list[Check]:
    """A check for each client of each runtime."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [check for checks in pool.map(lambda r: _runtime(r, bench), runtimes)
                for check in checks]  # fmt: skip


def unchecked(runtimes: Iterable[Runtime], environ: Mapping[str, str]) -> Iterator[Check]:
    """Where no sidecar answers there is nobody to ask, and a client's own word proves nothing."""
    for runtime in runtimes:
        if find(runtime, environ) is None:
            yield _about(runtime, Verdict.NOT_FOUND, "Not on PATH.")
        else:
            yield _about(runtime, Verdict.UNCHECKED, "No sidecar answers that could say.")


def find(runtime: Runtime, environ: Mapping[str, str]) -> str | None:
    """Its program on the container's PATH."""
    path = environ.get("PATH", "")
    found = (shutil.which(name, path=path) for name in runtime.executables)
    return next((exe for exe in found if exe is not None), None)


def _runtime(runtime: Runtime, bench: Bench) -> list[Check]:
    exe = find(runtime, bench.environ)
    if exe is None:
        return [_about(runtime, Verdict.NOT_FOUND, "Not on PATH.")]
    with tempfile.TemporaryDirectory(prefix="toolbooth-doctor-") as name:
        folder = Path(name)
        words = {"{exe}": exe, "{dir}": name, "{binary}": str(folder / "probe")}
        if runtime.source is not None:
            file = folder / runtime.source[0]
            file.write_text(runtime.source[1], encoding="utf-8")
            words["{file}"] = str(file)
        environ = {**bench.environ, **runtime.environment}

        def start(command: Sequence[str], timeout_s: float) -> children.Outcome:
            return children.run(command, environ, folder, timeout_s)

        if runtime.prepare:
            done = start([words.get(word, word) for word in runtime.prepare], _PREPARE_S)
            if done.code != 0:
                text = f"Its compiler does not run here: {done.error or done.code}"
                return [_about(runtime, Verdict.UNCHECKED, text)]
        return [_client(client, words, bench, start) for client in runtime.clients]


def _client(
    client: Client, words: dict[str, str], bench: Bench,
    start: Callable[[Sequence[str], float], children.Outcome],
) -> Check:  # fmt: skip
    nonce = new_nonce()

    def ask(url: str) -> children.Outcome:
        here = {**words, "{url}": url + client.path, "{timeout}": f"{bench.timeout_s:g}"}
        command = [here.get(word, word) for word in client.command]
        return start(command, bench.timeout_s + 1)

    http = ask(f"http://{PROBE_HOST}/probe/{nonce}")
    # The nonce stands in the name too, which a tunnel shows even where its TLS stays closed.
    https = ask(f"https://{nonce}.{PROBE_HOST}/probe/{nonce}")
    try:
        seen = _merged([ask_seen(booth.endpoint, nonce) for booth in bench.booths])
    except NoBoothError as error:
        return Check(Group.CLIENTS, client.name, error.verdict, str(error))
    return judge(client, Tried(http, https, seen), bench.facts)


def _merged(seen: Sequence[Seen]) -> Seen:
    """Several sidecars: it went through if it reached any of them."""
    return Seen(
        any(one.http for one in seen),
        any(one.tunnel for one in seen),
        any(one.https for one in seen),
        {way: given for one in seen for way, given in one.run_given.items()},
        next((one.run_id for one in seen if one.run_given), ""),
        next((one.user_agent for one in seen if one.user_agent), ""),
    )


def _about(runtime: Runtime, verdict: Verdict, text: str) -> Check:
    return Check(Group.CLIENTS, runtime.name, verdict, text)
