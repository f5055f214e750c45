"""Redaction: megabytes a second, recall and precision, beside detect-secrets and presidio's
pattern recognisers on the same texts: `python -m bench.redaction`.

The peers are installed below `bench/.peers/` the first time. Each round gives every subject the
same texts in turn, so a slow spell of the machine hits all alike; ratios are of one run.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.telemetry.labelled import cases, score
from tests.telemetry.labelled.cases import Case

PEERS = Path(__file__).resolve().parent / ".peers"
WORDS_TEXT = (
    "the quick brown fox jumps over a lazy dog report status value item order result search query "
    "list price total name tool agent response request"
)
WORDS = WORDS_TEXT.split()
CLAIMS = {"detect-secrets": ("credentials",), "presidio-analyzer": ("personal data",)}
ROUNDS = 5
Run = Callable[[list[str]], tuple[float, list[str]]]  # seconds, and what is shown of each


def prose(rng: Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def record(rng: Random) -> dict[str, object]:
    return {
        "id": rng.randrange(10**6), "title": prose(rng, 6), "score": rng.random(),
        "url": f"https://example.com/a/{rng.randrange(10**5)}?x=1", "at": "2026-01-31T10:00:00Z",
        "uuid": f"{rng.getrandbits(128):032x}", "tags": [rng.choice(WORDS) for _ in range(3)],
    }  # fmt: skip


def bodies() -> dict[str, tuple[str, str]]:
    """Bodies of a few KiB as tools answer them: name, then text and media type."""
    rng = Random(3)
    records = [record(rng) for _ in range(40)]
    inner = json.dumps({"content": [{"type": "text", "text": json.dumps(records)}]})
    html = "".join(
        f'<p class="sk-{rng.choice(WORDS)}"><a href="/x">{prose(rng, 7)}</a></p>\n'
        for _ in range(90)
    )
    log = "".join(
        f"2026-01-31T10:00:{i % 60:02d}Z INFO id={rng.getrandbits(64):016x} ip=10.0.0.{i} "
        f"{prose(rng, 4)}\n"
        for i in range(100)
    )
    events = "".join(f'data: {{"delta":{{"content":"{prose(rng, 3)}"}}}}\n\n' for _ in range(90))
    found = "".join(
        f"user{i}@example.com password=hunter{i} phone +1 415 555 {i:04d}\n" for i in range(60)
    )
    image = json.dumps({"image": base64.b64encode(rng.randbytes(6000)).decode()})
    return {
        "JSON": (json.dumps(records), "application/json"),
        "JSON in JSON": (inner, "application/json"),
        "prose": (prose(rng, 1400), "text/plain"),
        "HTML": (html, "text/html"),
        "log lines": (log, "text/plain"),
        "event stream": (events, "text/event-stream"),
        "picture in JSON": (image, "application/json"),
        "a finding in every word": (found, "text/plain"),
    }


class Peer:
    """Another redactor in a process of its own, installed once."""

    def __init__(self, package: str) -> None:
        folder = PEERS / package
        if not (folder / ".installed").exists():
            print(f"installing {package} below {PEERS} ...", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, package], check=True)
            (folder / ".installed").touch()
        python = str(folder / "bin" / "python")
        code = f"from importlib.metadata import version; print(version({package!r}))"
        told = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
        self.name = f"{package} {told.stdout.strip()}"
        self._child = subprocess.Popen(
            [python, str(Path(__file__).with_name("redaction_peer.py")), package],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __call__(self, texts: list[str]) -> tuple[float, list[str]]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(texts) + "\n")
        self._child.stdin.flush()
        took_s, shown = json.loads(self._child.stdout.readline())
        return took_s, shown

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(10)


def plain(redactor: Redactor) -> Run:
    """Our patterns alone, which is what the peers do."""

    def run(texts: list[str]) -> tuple[float, list[str]]:
        start_s = time.perf_counter()
        shown = [redactor.text(text) for text in texts]
        return time.perf_counter() - start_s, shown

    return run


def structured(redactor: Redactor, kinds: list[str]) -> Run:
    """As a record has it: decoded, taken apart, masked by key too."""

    def run(texts: list[str]) -> tuple[float, list[str]]:
        raws = [text.encode() for text in texts]
        start_s = time.perf_counter()
        shown = [redactor.body(raw, kind, "", False) for raw, kind in zip(raws, kinds, strict=True)]
        return time.perf_counter() - start_s, shown

    return run


def throughput(subjects: dict[str, Run], texts: dict[str, tuple[str, str]]) -> None:
    print(f"\n{'MB/s, best of ' + str(ROUNDS):26}" + "".join(f"{name:>26}" for name in subjects))
    total: dict[str, float] = dict.fromkeys(subjects, 0.0)
    size = 0
    for number, (label, (text, _)) in enumerate(texts.items()):
        size += len(text)
        row = f"{label:26}"
        took: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(ROUNDS):
            for name, run in subjects.items():
                given = [""] * len(texts)
                given[number] = text
                took[name].append(run(given)[0])
        for name in subjects:
            best_s = min(took[name])
            total[name] += best_s
            row += f"{len(text) / best_s / 1e6:26.3f}"
        print(row, flush=True)
    print(
        f"{'all, by time':26}" + "".join(f"{size / total[name] / 1e6:26.3f}" for name in subjects)
    )
    first = next(iter(total.values()))
    print(f"{'times as long':26}" + "".join(f"{total[name] / first:26.1f}" for name in subjects))


def quality(name: str, part: tuple[Case, ...], run: Run | None) -> None:
    """What a subject finds of the labelled texts, seen as plain text; None: ours, by medium."""
    if run is None:
        result = score.scores(part, score.ours())
    else:
        shown = dict(zip([c.text for c in part], run([c.text for c in part])[1], strict=True))
        result = score.scores(part, lambda case: shown[case.text])
    for family in CLAIMS.get(name.partition(" ")[0], ("credentials", "personal data")):
        one = result[family]
        print(f"{name:34}{family:16}{one.recall:8.3f}{one.precision:11.3f}")


def main() -> None:
    texts = bodies()
    redactor = Redactor(RedactRule(), 1 << 20)
    peers = [Peer("detect-secrets"), Peer("presidio-analyzer")]
    subjects: dict[str, Run] = {
        "toolbooth, patterns": plain(redactor),
        "toolbooth, bodies": structured(redactor, [kind for _, kind in texts.values()]),
        **{peer.name: peer for peer in peers},
    }
    throughput(subjects, texts)
    for label, part in (
        ("worked on", cases.tuned()),
        ("held out", cases.held_out()),
        ("sealed", cases.sealed()),
    ):
        print(f"\n{'corpus: ' + label:34}{'kinds':16}{'recall':>8}{'precision':>11}")
        quality("toolbooth, by medium", part, None)
        for name, run in subjects.items():
            if "bodies" not in name:
                quality(name, part, run)
    for peer in peers:
        peer.close()


if __name__ == "__main__":
    main()
