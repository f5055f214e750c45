"""Whatever is done to an audit log is found, and the first bad line is named."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.audit_chain import GENESIS, Entry, Head, sealed
from proxy.store.audit_check import MAX_PROBLEMS, Checker, Findings, lines_of

KEY = b"0123456789abcdef"
STOP = {"event": "audit", "action": "checkpoint", "why": "stop"}


def chain(
    count: int, after: Head = GENESIS, key: bytes | None = None, salt: str = "", why: str = "new"
) -> list[bytes]:
    """A file of `count` lines and a stop."""
    lines = []
    entries: list[Entry] = [
        {"action": "begin", "why": why},
        *({"action": "switch.engage", "n": number, "salt": salt} for number in range(count - 2)),
        STOP,
    ]
    for entry in entries:
        line, after = sealed(entry, after, key)
        lines.append(line)
    return lines


def head_of(lines: list[bytes]) -> Head:
    checker = Checker()
    for line in lines:
        checker.feed(line)
    last = checker.findings.last
    assert last is not None
    return last.head


def check(*files: list[bytes], key: bytes | None = None, expected: str = "") -> Findings:
    checker = Checker(key, expected_hash=expected)
    for number, lines in enumerate(files):
        checker.begin_file(f"log.{number}")
        for line in lines_of(b"".join(lines)):
            checker.feed(line)
        checker.end_file()
    return checker.finish()


def first(findings: Findings) -> tuple[str, int, str]:
    problem = findings.problems[0]
    return problem.file, problem.line, problem.kind


@given(count=st.integers(2, 30), key=st.sampled_from([None, KEY]))
def test_an_untouched_log_is_intact(count: int, key: bytes | None) -> None:
    lines = chain(count, key=key)
    findings = check(lines, key=key)
    assert (findings.problems, findings.notes, findings.lines) == ([], [], count)
    assert (findings.first_seq, findings.keyed) == (1, count if key else 0)


@given(count=st.integers(2, 20), data=st.data())
def test_any_changed_byte_is_found_in_its_line(count: int, data: st.DataObject) -> None:
    """Also in the hash itself; the last newline apart, without which the last line is half one."""
    lines = chain(count, key=data.draw(st.sampled_from([None, KEY])))
    place = data.draw(st.integers(0, count - 1))
    line = bytearray(lines[place])
    spot = data.draw(st.integers(0, len(line) - 2))
    line[spot] ^= data.draw(st.integers(1, 255))
    lines[place] = bytes(line)
    findings = check(lines)
    # a byte turned into a line break makes two lines of it, and the first is the bad one
    assert first(findings)[:2] == ("log.0", place + 1)


@given(count=st.integers(3, 20), data=st.data())
def test_any_removed_line_is_found(count: int, data: st.DataObject) -> None:
    """Named at the line that should have been preceded by it; the last one needs a hash noted
    elsewhere."""
    lines = chain(count)
    head = head_of(lines).hash
    place = data.draw(st.integers(0, count - 1))
    del lines[place]
    findings = check(lines, expected=head)
    if place == count - 1:
        assert first(findings) == ("log.0", place, "end")
        assert check(lines).problems == []
        assert "is no stop" in check(lines).notes[0]
    else:
        assert first(findings) == ("log.0", place + 1, "removed")
    assert len(findings.problems) == 1


@given(count=st.integers(3, 20), data=st.data())
def test_any_two_lines_swapped_are_found(count: int, data: st.DataObject) -> None:
    lines = chain(count)
    one, other = sorted(
        data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True))
    )
    lines[one], lines[other] = lines[other], lines[one]
    findings = check(lines)
    assert first(findings)[1] == one + 1
    if one:
        assert [p.kind for p in findings.problems] == ["reordered"]


@given(count=st.integers(3, 20), data=st.data())
def test_any_moved_line_is_found(count: int, data: st.DataObject) -> None:
    lines = chain(count)
    here, there = (data.draw(st.integers(1, count - 1)) for _ in range(2))
    lines.insert(there, lines.pop(here))
    findings = check(lines)
    if here == there:
        assert findings.problems == []
    else:
        assert first(findings) == ("log.0", min(here, there) + 1, "reordered")
        assert len(findings.problems) == 1


@given(count=st.integers(3, 20), data=st.data())
def test_any_copied_line_is_found(count: int, data: st.DataObject) -> None:
    """Behind its original it is a copy. Before it, it is out of order and the original the copy."""
    lines = chain(count)
    line = data.draw(st.integers(0, count - 1))
    there = data.draw(st.integers(1, count))
    lines.insert(there, lines[line])
    findings = check(lines)
    place = there + (there == line)
    assert first(findings)[1] == place + 1
    assert "duplicated" in [p.kind for p in findings.problems]


@given(count=st.integers(3, 20), data=st.data())
def test_any_inserted_line_is_found(count: int, data: st.DataObject) -> None:
    """Rubbish, a line of another log, and one made to fit, for which the next one gives it away."""
    lines = chain(count)
    there = data.draw(st.integers(1, count - 1))
    rubbish = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"") + b"\n")
    foreign = st.sampled_from(chain(count, why="another"))
    fitting = st.just(sealed({"action": "x"}, head_of(lines[:there]), None)[0])
    line = data.draw(rubbish | foreign | fitting)
    lines.insert(there, line)
    findings = check(lines)
    assert first(findings)[1] in (there + 1, there + 2)
    if first(findings)[1] == there + 2:
        assert line == sealed({"action": "x"}, head_of(lines[:there]), None)[0]


def test_a_line_rewritten_with_its_hash_breaks_the_next() -> None:
    """Both are named: from outside nobody can say which one it was."""
    lines = chain(6)
    lines[2] = sealed({"action": "forged"}, head_of(lines[:2]), None)[0]
    findings = check(lines)
    assert first(findings) == ("log.0", 4, "changed")
    assert "does not follow seq 3" in findings.problems[0].detail


def test_a_log_rewritten_whole_shows_with_the_key_only() -> None:
    """And with a hash that was noted elsewhere."""
    forged = chain(6, salt="forged")
    assert check(forged).problems == []
    assert first(check(forged, key=KEY)) == ("log.0", 1, "key")
    assert len(check(forged, key=KEY).problems) == 1
    other = chain(6, key=b"fedcba9876543210", salt="forged")
    assert check(other, key=KEY).problems[0].detail == "its mac is not by this key"
    assert first(check(forged, expected=head_of(chain(6)).hash))[2] == "end"
    mixed = chain(6, key=KEY)
    mixed[5] = sealed(STOP, head_of(mixed[:5]), None)[0]
    assert first(check(mixed, key=KEY)) == ("log.0", 6, "key")


def test_macs_that_were_not_checked_are_told() -> None:
    assert any("macs were not checked" in note for note in check(chain(4, key=KEY)).notes)


def test_files_of_one_log_are_checked_with_their_seam() -> None:
    old = chain(5)
    new = chain(4, after=head_of(old), why="rotation")
    assert check(old, new).problems == []
    assert first(check(old[:-1], new)) == ("log.1", 1, "removed")
    assert first(check(chain(5, salt="x"), new)) == ("log.1", 1, "changed")
    assert "goes on from seq 5" in check(new).notes[0]


def test_half_a_line_is_told_apart_from_tampering() -> None:
    """By the line behind it, which names what it was."""
    lines = chain(5)
    half = lines[3][:40]
    told: Entry = {"action": "torn", "bytes": 40, "sha256": sha256(half).hexdigest()}
    note, head = sealed(told, head_of(lines[:3]), None)
    after, _ = sealed(STOP, head, None)
    whole = [*lines[:3], half + b"\n", note, after]
    findings = check(whole)
    assert findings.problems == []
    assert findings.notes == ["log.0:4 is half a line that a crash left"]
    whole[3] = half[:-1] + b"\n"
    assert first(check(whole)) == ("log.0", 4, "inserted")
    del whole[3]
    assert first(check(whole)) == ("log.0", 4, "removed")
    assert first(check([*lines[:3], half + b"\n", *lines[4:]])) == ("log.0", 4, "changed")


def test_half_a_line_at_the_end_is_no_break() -> None:
    """The next start tells of it, or the write is still under way."""
    findings = check([*chain(4), b'{"seq":5'])
    assert findings.problems == []
    assert "ends in half a line" in findings.notes[0]
    assert first(check([*chain(4), b'{"seq":5\n'])) == ("log.0", 5, "changed")


@pytest.mark.parametrize("count", [2, 3])
def test_a_beginning_that_is_gone_is_found(count: int) -> None:
    assert first(check(chain(9)[count:])) == ("log.0", 1, "removed")


def test_a_log_of_rubbish_is_reported_in_bounded_space() -> None:
    lines = chain(400)
    del lines[1::2]
    findings = check(lines)
    assert len(findings.problems) == MAX_PROBLEMS
    assert findings.more == 99
