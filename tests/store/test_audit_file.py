"""The audit log on a disk that fills, is rotated, cut and tampered with."""

import errno
import os
from pathlib import Path

import pytest

from proxy.store import audit_file
from proxy.store.audit_chain import Entry, sealed
from proxy.store.audit_check import Checker, Findings, lines_of
from proxy.store.audit_file import AuditFile
from proxy.store.store import StoreError
from tests.fakes.clock import FakeClock

KEY = b"0123456789abcdef"


def act(number: int) -> Entry:
    return {"event": "admin", "action": "switch.engage", "n": number}


def opened(path: Path, key: bytes | None = None) -> AuditFile:
    return AuditFile(path, key, FakeClock())


def fill(path: Path, count: int = 3, key: bytes | None = None) -> None:
    file = opened(path, key)
    file.append([act(number) for number in range(count)])
    file.close()


def check(*paths: Path, key: bytes | None = None) -> Findings:
    checker = Checker(key)
    for path in paths:
        checker.begin_file(path.name)
        for line in lines_of(path.read_bytes()):
            checker.feed(line)
        checker.end_file()
    return checker.finish()


def actions(path: Path) -> list[object]:
    checker = Checker()
    found: list[object] = []
    for line in lines_of(path.read_bytes()):
        checker.feed(line)
        last = checker.findings.last
        if last is not None:
            found.append(last.entry().get("action"))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def test_a_new_file_is_private_and_begins(path: Path) -> None:
    old = os.umask(0)
    try:
        fill(path, 1)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert actions(path) == ["begin", "switch.engage"]
    assert check(path).problems == []


@pytest.mark.parametrize("key", [None, KEY])
def test_numbers_go_on_over_restarts(path: Path, key: bytes | None) -> None:
    for _ in range(3):
        fill(path, 2, key)
    findings = check(path, key=key)
    assert (findings.problems, findings.lines) == ([], 7)


def test_numbers_go_on_where_the_file_was_moved_away_meanwhile(path: Path) -> None:
    """As far as `PATH.head` says; without it a new log begins."""
    fill(path)
    old = path.rename(path.with_name("audit.log.1"))
    fill(path)
    assert check(old, path).problems == []
    assert check(path).first_seq == 5
    path.unlink()
    path.with_name("audit.log.head").unlink()
    fill(path)
    assert check(path).first_seq == 1


def test_a_rotated_file_is_followed_and_the_seam_holds(path: Path) -> None:
    file = opened(path)
    file.append([act(1)])
    old = path.rename(path.with_name("audit.log.1"))
    file.append([act(2)])
    path.rename(path.with_name("audit.log.2"))
    (path).touch(0o600)  # logrotate's `create`
    file.append([act(3)])
    assert actions(old) == ["begin", "switch.engage", "checkpoint"]
    assert check(old, path.with_name("audit.log.2"), path).problems == []
    file.close()


def test_a_file_that_appears_in_its_place_is_not_gone_on_with(path: Path) -> None:
    """Whoever put it there could have made up what it says."""
    file = opened(path)
    file.append([act(1)])
    before = file.head
    path.unlink()
    path.write_bytes(b"anything\n")
    with pytest.raises(StoreError, match="another file has appeared"):
        file.append([act(2)])
    path.unlink()
    file.append([act(2)])
    assert file.head.seq > before.seq
    assert actions(path) == ["begin", "switch.engage"]
    file.close()


def test_a_file_cut_in_place_is_told(path: Path) -> None:
    """`copytruncate`: the copy and the rest fit together, and the log says what happened."""
    file = opened(path)
    file.append([act(1)])
    copy = path.with_name("audit.log.1")
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    file.append([act(2)])
    file.close()
    assert check(copy, path).problems == []
    assert b'"why":"truncated","expected_bytes"' in path.read_bytes().splitlines()[0]


@pytest.mark.parametrize("cut_bytes", [-200, -1, 0])
def test_lines_cut_or_added_under_a_running_writer_are_found(path: Path, cut_bytes: int) -> None:
    file = opened(path)
    file.append([act(1), act(2)])
    size = path.stat().st_size
    if cut_bytes:
        os.truncate(path, size + cut_bytes)
    else:
        with path.open("ab") as other:
            other.write(b"I was here\n")
    file.append([act(3)])
    file.append([act(4)])
    file.close()
    findings = check(path)
    if cut_bytes != -1:  # that was only the newline
        assert len(findings.problems) == 1
        assert findings.problems[0].line >= 3
    assert b'"size_changed"' in path.read_bytes()


@pytest.mark.parametrize("left_bytes", [1, 40, -2])
def test_half_a_line_of_a_crash_is_kept_and_told(path: Path, left_bytes: int) -> None:
    fill(path, 2)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    head = path.with_name("audit.log.head")
    head.unlink()  # a crash comes before it is written
    path.write_bytes(whole[: -len(last)] + last[:left_bytes])
    fill(path, 1)
    assert "torn" in actions(path)
    findings = check(path)
    assert findings.problems == []
    assert "half a line that a crash left" in findings.notes[0]


def test_a_line_that_lacks_its_newline_only_counts(path: Path) -> None:
    fill(path, 2)
    os.truncate(path, path.stat().st_size - 1)
    fill(path, 1)
    assert actions(path) == ["begin"] + 3 * ["switch.engage"]
    assert check(path).problems == []


def test_half_of_the_first_line_ever(path: Path) -> None:
    path.write_bytes(b'{"seq":1,"ts":')
    path.chmod(0o600)
    fill(path, 1)
    assert actions(path) == ["torn", "switch.engage"]
    assert check(path).problems == []


def tampered(lines: list[bytes]) -> list[tuple[str, bytes]]:
    swapped = [*lines[:-2], lines[-1], lines[-2]]
    return [
        ("changed", b"".join(lines[:-1]) + lines[-1].replace(b'"n":', b'"m":')),
        ("removed in the middle", b"".join([*lines[:-2], lines[-1]])),
        ("removed at the end", b"".join(lines[:-1])),
        ("swapped", b"".join(swapped)),
        ("rubbish behind it", b"".join(lines) + b"hello\n"),
        ("something else altogether", b"hello\n" * 20),
        ("a long line", b"x" * 100_000),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_file_that_was_tampered_with_starts_nothing(path: Path, number: int) -> None:
    """And is left as it is."""
    fill(path, 5)
    what, content = tampered(path.read_bytes().splitlines(keepends=True))[number]
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        opened(path)
    assert str(caught.value).endswith("Move it away to begin a new file."), what
    assert path.read_bytes() == content
    path.rename(path.with_name("evidence"))
    fill(path)  # the lock was let go


def test_only_the_end_of_a_long_file_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, 200)
    monkeypatch.setattr(audit_file, "_WINDOW_BYTES", 1000)
    fill(path, 1)
    assert check(path).problems == []
    with path.open("r+b") as file:
        file.write(b"X")  # far from the end: `verify` finds it, a start does not
    fill(path, 1)
    assert check(path).problems[0].line == 1


def test_keys_do_not_come_and_go_within_one_log(path: Path) -> None:
    """Else whoever has no key could go on without."""
    fill(path, 1, KEY)
    with pytest.raises(StoreError, match="of another key"):
        opened(path)
    with pytest.raises(StoreError, match="another key"):
        opened(path, b"fedcba9876543210")
    path.with_name("audit.log.head").unlink()
    with pytest.raises(StoreError, match="TOOLBOOTH_AUDIT_KEY is unset"):
        opened(path)
    with pytest.raises(StoreError, match="its mac is not by this key"):
        opened(path, b"fedcba9876543210")
    path.unlink()
    fill(path, 1)
    path.with_name("audit.log.head").unlink()
    with pytest.raises(StoreError, match="it has no mac"):
        opened(path, KEY)


def test_a_last_line_without_newline_needs_the_key_too(path: Path) -> None:
    fill(path, 1, KEY)
    forged, _ = sealed(act(9), check(path).last.head, None)  # type: ignore[union-attr]
    path.write_bytes(path.read_bytes() + forged[:-1])
    with pytest.raises(StoreError, match="is not by this key"):
        opened(path, KEY)


def test_two_processes_do_not_share_a_log(path: Path) -> None:
    file = opened(path)
    with pytest.raises(StoreError, match="in use by another process"):
        opened(path)
    file.close()
    opened(path).close()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    fill(path)
    path.chmod(mode)
    with pytest.raises(StoreError, match="may be written by others"):
        opened(path)


def test_what_is_no_file_is_refused(path: Path) -> None:
    os.mkfifo(path, 0o600)
    with pytest.raises(StoreError, match="is not a file"):
        opened(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        opened(path)


class FullDisk:
    """`os.write` that takes `room_bytes` and then nothing; `os.ftruncate` that may be forbidden."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, appends_only: bool = False) -> None:
        self.room_bytes = 0
        self._write, self._truncate = os.write, os.ftruncate
        self._appends_only = appends_only
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "ftruncate", self.truncate)

    def write(self, fd: int, data: memoryview) -> int:
        if self.room_bytes <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(fd, data[: self.room_bytes])
        self.room_bytes -= written
        return written

    def truncate(self, fd: int, size: int) -> None:
        if self._appends_only:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        self._truncate(fd, size)


@pytest.mark.parametrize("room_bytes", [0, 1, 100, 250, 400])
@pytest.mark.parametrize("appends_only", [False, True])
def test_what_a_full_disk_left_of_a_line_breaks_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int, appends_only: bool
) -> None:
    """Taken back, or told like half a line of a crash."""
    file = opened(path)
    file.append([act(1)])
    disk = FullDisk(monkeypatch, appends_only=appends_only)
    disk.room_bytes = room_bytes
    with pytest.raises(StoreError, match="no space left on device"):
        file.append([act(2), act(3)])
    assert file.is_unsure is appends_only
    disk.room_bytes = 1 << 20
    file.append([act(4)])
    file.close()
    findings = check(path)
    assert findings.problems == []
    if not appends_only:
        assert actions(path) == ["begin", "switch.engage", "switch.engage"]


def test_a_sync_that_fails_is_no_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened(path)
    file.append([act(1)])
    with monkeypatch.context() as patched:

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        patched.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="input/output error"):
            file.append([act(2)])
    file.append([act(3)])
    file.close()
    assert actions(path) == ["begin", "switch.engage", "switch.engage"]
    assert check(path).problems == []
