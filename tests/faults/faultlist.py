"""Every fault, what becomes of it, and how many tests say so.

The one list: `docs/faults.md` is written from it. Each module of tests has the faults it shows
(`FAULTS`) and their tests (`faults`); a test sees to it that every number has both.
"""

from collections import Counter
from typing import NamedTuple

from tests.faults import (
    test_answers,
    test_bugs,
    test_clients,
    test_connect,
    test_disk,
    test_dns,
    test_exchanges,
    test_limits,
    test_mixed_load,
    test_process,
    test_rotation,
    test_state,
    test_tls,
)
from tests.faults.fault import Fault
from tests.numbered import NumberedTests, counted, titles_of


class Chapter(NamedTuple):
    """One module of tests beside this file."""

    title: str
    module: str
    faults: tuple[Fault, ...]
    tests: NumberedTests


CHAPTERS: tuple[Chapter, ...] = (
    Chapter("Connecting", "test_connect.py", test_connect.FAULTS, test_connect.faults),
    Chapter("TLS", "test_tls.py", test_tls.FAULTS, test_tls.faults),
    Chapter("Names", "test_dns.py", test_dns.FAULTS, test_dns.faults),
    Chapter("Answers", "test_answers.py", test_answers.FAULTS, test_answers.faults),
    Chapter("Exchanges", "test_exchanges.py", test_exchanges.FAULTS, test_exchanges.faults),
    Chapter("Clients", "test_clients.py", test_clients.FAULTS, test_clients.faults),
    Chapter("Shared state", "test_state.py", test_state.FAULTS, test_state.faults),
    Chapter("Disk, logs, configuration", "test_disk.py", test_disk.FAULTS, test_disk.faults),
    Chapter("The process", "test_process.py", test_process.FAULTS, test_process.faults),
    Chapter("Limits", "test_limits.py", test_limits.FAULTS, test_limits.faults),
    Chapter("Bugs", "test_bugs.py", test_bugs.FAULTS, test_bugs.faults),
    Chapter("Rotation", "test_rotation.py", test_rotation.FAULTS, test_rotation.faults),
    Chapter("Mixed load", "test_mixed_load.py", test_mixed_load.FAULTS, test_mixed_load.faults),
)


def all_faults() -> tuple[Fault, ...]:
    """In the order of their numbers."""
    return tuple(sorted(fault for chapter in CHAPTERS for fault in chapter.faults))


def titles() -> list[str]:
    """Of all tests."""
    return titles_of(chapter.tests for chapter in CHAPTERS)


def counts() -> Counter[int]:
    """How many tests each number has."""
    return counted("F", titles())


def faults_page() -> str:
    """`docs/faults.md`."""
    lines = [
        "# Faults",
        "",
        "What breaks around a proxy, and what becomes of the call. Each row has tests with",
        "scripted upstreams, resolvers, sinks, disks, limits and signals:",
        "`.venv/bin/python -m pytest -q tests/faults`. After each of them every place, reservation",
        "and connection is given back, and each call has left exactly one record.",
        "",
        "<!-- written by `make docs` from `tests/faults/faultlist.py`: do not edit -->",
    ]
    tested = counts()
    for chapter in CHAPTERS:
        path = f"tests/faults/{chapter.module}"
        lines += [
            "",
            f"## {chapter.title}",
            "",
            f"Tests: [`{path}`](../{path}).",
            "",
            "| # | fault | what becomes of it | codes | tests |",
            "| --- | --- | --- | --- | --- |",
            *(_row(fault, tested[fault.number]) for fault in chapter.faults),
        ]
    return "\n".join([*lines, ""])


def _row(fault: Fault, tests: int) -> str:
    becomes = fault.becomes
    if fault.deviation:
        becomes += f" **Deviation**: {fault.deviation}"
    codes = ", ".join(f"`{code}`" for code in fault.codes)
    return f"| F{fault.number:02} | {fault.what} | {becomes} | {codes} | {tests} |"
