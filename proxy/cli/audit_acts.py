"""`toolbooth audit`: is an audit log unbroken, and what does it say. Files only, no sidecar."""

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from proxy.cli.exit_codes import BAD_USAGE, DONE, FAILED, CommandError
from proxy.cli.tables import Colour, paint, shown, table
from proxy.settings import audit_key
from proxy.store.audit_chain import MAX_LINE_BYTES, read_line
from proxy.store.audit_check import Checker, Findings, is_stop

_HEADINGS = ("SEQ", "WHEN", "WHO", "ACT", "KEY", "OUTCOME")


def verify(arguments: argparse.Namespace) -> int:
    """Check the files as one log. Exit 0: unbroken; 1: broken, each break with its file and line;
    2: a file cannot be read."""
    key = _key(arguments.key_file)
    checker = Checker(key, expected_hash=arguments.head or "")
    names = _oldest_first(arguments.files)
    for name in names:
        checker.begin_file(name)
        for raw in _lines(name):
            checker.feed(raw)
        checker.end_file()
    findings = checker.finish()
    if arguments.json:
        print(json.dumps(_document(names, findings, is_keyed=key is not None)))
    else:
        _print(findings)
    return FAILED if findings.problems else DONE


def show(arguments: argparse.Namespace) -> int:
    """The last entries of one file, as a table or as they stand. Checks nothing."""
    last: deque[dict[str, object]] = deque(maxlen=arguments.n)
    for raw in _lines(arguments.file):
        line = read_line(raw.removesuffix(b"\n"))
        if line is not None:
            last.append({**line.entry(), "seq": line.seq})
    if arguments.json:
        for entry in last:
            print(json.dumps(entry))
        return DONE
    print(table(_HEADINGS, [_row(entry) for entry in last], flexible=4))
    return DONE


def _row(entry: dict[str, object]) -> list[object]:
    outcome = entry.get("outcome") or entry.get("why")
    said = (entry.get("reason"), entry.get("detail"))
    key = ": ".join(str(part) for part in (entry.get("key"), *said) if part)
    who = entry.get("actor") or entry.get("event")
    return [entry["seq"], str(entry.get("ts", ""))[:19], who, entry.get("action"), key, outcome]


def _print(findings: Findings) -> None:
    for problem in findings.problems:
        place = f"{shown(problem.file)}:{problem.line}" if problem.line else shown(problem.file)
        print(f"{place}: {paint(problem.kind, Colour.RED)}: {shown(problem.detail)}")
    if findings.more:
        print(f"and {findings.more} more")
    for note in findings.notes:
        print(f"note: {shown(note)}")
    last = findings.last
    span = "" if last is None else f", seq {findings.first_seq} to {last.seq}, head {last.hash}"
    word = paint("broken", Colour.RED) if findings.problems else paint("intact", Colour.GREEN)
    print(f"{word}: {findings.lines} lines{span}")


def _document(names: list[str], findings: Findings, *, is_keyed: bool) -> dict[str, object]:
    last = findings.last
    return {
        "ok": not findings.problems,
        "files": names,
        "lines": findings.lines,
        "first_seq": findings.first_seq,
        "last_seq": None if last is None else last.seq,
        "head": None if last is None else last.hash,
        "last_ts": None if last is None else last.entry().get("ts"),
        "ends_with_stop": last is not None and is_stop(last),
        "macs_checked": is_keyed,
        "problems": [
            {"file": p.file, "line": p.line, "kind": p.kind, "detail": p.detail}
            for p in findings.problems
        ],
        "more_problems": findings.more,
        "notes": findings.notes,
    }


def _oldest_first(names: list[str]) -> list[str]:
    """By the number of the first line, since a shell sorts `log` before `log.1`; as given where
    a first line tells none."""
    first = [next(_lines(name), b"").removesuffix(b"\n") for name in names]
    found = [read_line(raw) for raw in first]
    if any(line is None for line in found):
        return names
    seqs = [line.seq for line in found if line is not None]
    return [name for _, name in sorted(zip(seqs, names, strict=True), key=lambda pair: pair[0])]


def _lines(name: str) -> Iterator[bytes]:
    """One line after the other; what is longer than any line of ours comes in pieces, which no
    check takes for one."""
    try:
        with Path(name).open("rb") as file:
            while raw := file.readline(MAX_LINE_BYTES + 2):
                yield raw
    except OSError as error:
        raise CommandError(f"{shown(name)}: {error.strerror}", BAD_USAGE) from None


def _key(key_file: str | None) -> bytes | None:
    """The key in the file, else that of the environment."""
    key = audit_key() if key_file is None else audit_key({"TOOLBOOTH_AUDIT_KEY_FILE": key_file})
    if key is None:
        print("toolbooth: no key: only the chain is checked", file=sys.stderr)
    return key
