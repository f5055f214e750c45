"""`toolbooth audit`: files in, a verdict out."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Toolbooth
from tests.store.test_audit_check import KEY, chain, head_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(chain(6, key=KEY)))
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    return str(path)


def test_an_intact_log(toolbooth: Toolbooth, log: Path, key_file: str) -> None:
    result = toolbooth("audit", "verify", str(log), "--key-file", key_file)
    head = head_of(chain(6, key=KEY)).hash
    assert (result.code, result.err) == (0, "")
    assert result.out == f"intact: 6 lines, seq 1 to 6, head {head}\n"


def test_a_broken_log_is_named_with_file_and_line(toolbooth: Toolbooth, log: Path) -> None:
    """Exit 1; without a key that is said."""
    lines = chain(6)
    del lines[2]
    log.write_bytes(b"".join(lines))
    result = toolbooth("audit", "verify", str(log))
    assert result.code == 1
    assert result.out.splitlines()[0] == f"{log}:3: removed: seq 3 should stand before it"
    assert result.out.splitlines()[-1].startswith("broken: 5 lines")
    assert "only the chain is checked" in result.err


def test_the_key_may_come_from_the_environment(
    toolbooth: Toolbooth, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLBOOTH_AUDIT_KEY", "another key, as long")
    result = toolbooth("audit", "verify", str(log))
    assert (result.code, ":1: key: its mac is not by this key" in result.out) == (1, True)


def test_a_head_that_was_noted_elsewhere(toolbooth: Toolbooth, log: Path) -> None:
    """Any line may have it: the log has grown since. What was cut off after it was noted, not."""
    lines = chain(6)
    noted = head_of(lines[:4]).hash
    log.write_bytes(b"".join(lines))
    assert toolbooth("audit", "verify", str(log), "--head", noted).code == 0
    log.write_bytes(b"".join(lines[:3]))
    assert toolbooth("audit", "verify", str(log)).code == 0
    result = toolbooth("audit", "verify", str(log), "--head", noted)
    assert (result.code, f"{log}:3: end: no line has the hash" in result.out) == (1, True)


def test_rotated_files_are_put_in_order(toolbooth: Toolbooth, tmp_path: Path) -> None:
    """A shell sorts the newest first."""
    old, new = tmp_path / "audit.log.1", tmp_path / "audit.log"
    old.write_bytes(b"".join(chain(4)))
    new.write_bytes(b"".join(chain(4, after=head_of(chain(4)), why="rotation")))
    result = toolbooth("audit", "verify", str(new), str(old), "--json")
    document = json.loads(result.out)
    assert (result.code, document["files"]) == (0, [str(old), str(new)])
    assert (document["first_seq"], document["last_seq"], document["lines"]) == (1, 8, 8)
    old.unlink()
    result = toolbooth("audit", "verify", str(new))
    assert (result.code, "goes on from seq 4" in result.out) == (0, True)


def test_as_json(toolbooth: Toolbooth, log: Path, key_file: str) -> None:
    good = toolbooth("audit", "verify", str(log), "--json", "--key-file", key_file)
    document = json.loads(good.out)
    assert document["ok"] is document["macs_checked"] is document["ends_with_stop"] is True
    assert (document["problems"], document["notes"]) == ([], [])
    log.write_bytes(log.read_bytes().replace(b'"n":1', b'"n":7'))
    bad = toolbooth("audit", "verify", str(log), "--json", "--key-file", key_file)
    document = json.loads(bad.out)
    assert (bad.code, document["ok"]) == (1, False)
    assert document["problems"] == [
        {"file": str(log), "line": 3, "kind": "changed",
         "detail": "its hash is not that of its content"}
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 100_000, b"\x00" * 40_000 + b"\n"])
def test_what_is_no_log(toolbooth: Toolbooth, log: Path, content: bytes) -> None:
    """Nothing in it is no break; anything else is, however long its lines."""
    log.write_bytes(content)
    assert toolbooth("audit", "verify", str(log)).code == (1 if content else 0)


def test_files_that_cannot_be_read(toolbooth: Toolbooth, log: Path, tmp_path: Path) -> None:
    """Bad usage, in a sentence."""
    for arguments in (
        ("verify", str(log), f"{tmp_path}/none"),
        ("verify", str(tmp_path)),
        ("show", f"{tmp_path}/none"),
        ("verify", str(log), "--key-file", f"{tmp_path}/none"),
    ):
        result = toolbooth("audit", *arguments)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("toolbooth: ")


def test_showing_the_last_entries(toolbooth: Toolbooth, log: Path) -> None:
    """As a table, or line by line as JSON."""
    result = toolbooth("audit", "show", str(log), "-n", "2")
    lines = result.out.splitlines()
    assert (result.code, len(lines)) == (0, 3)
    assert lines[0].split() == ["SEQ", "WHEN", "WHO", "ACT", "KEY", "OUTCOME"]
    assert lines[2].split()[0] == "6"
    as_json = toolbooth("audit", "show", str(log), "--json")
    assert [json.loads(line)["seq"] for line in as_json.out.splitlines()] == [1, 2, 3, 4, 5, 6]
