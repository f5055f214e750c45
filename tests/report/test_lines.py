import gzip
import io
from pathlib import Path

import pytest

from proxy.report import lines as module
from proxy.report.lines import Lines


def test_plain_and_gzip_are_told_apart_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"one\ntwo\n")
    (tmp_path / "b.log").write_bytes(gzip.compress(b"three\r\n\n\nfour"))
    (tmp_path / "c").write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("a.gz", "b.log", "c")]
    lines = Lines(paths)
    assert list(lines) == [b"one", b"two", b"three", b"four"]
    assert [(source.name, source.problem) for source in lines.sources] == [(p, "") for p in paths]


def test_several_files_packed_into_one_are_all_read(tmp_path: Path) -> None:
    """What `cat a.gz b.gz` makes."""
    (tmp_path / "both.gz").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert list(Lines([str(tmp_path / "both.gz")])) == [b"one", b"two"]


@pytest.mark.parametrize("spoilt", ["cut", "garbled"])
def test_a_spoilt_file_gives_what_it_has_and_the_next_is_read(tmp_path: Path, spoilt: str) -> None:
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(50_000)))
    half = packed[: len(packed) // 2]
    (tmp_path / "a.gz").write_bytes(half if spoilt == "cut" else half + b"\x00" * 5000)
    (tmp_path / "b").write_bytes(b"last\n")
    lines = Lines([str(tmp_path / "a.gz"), str(tmp_path / "b")])
    found = list(lines)
    assert found[-1] == b"last"
    assert len(found) > 1000
    assert [bool(source.problem) for source in lines.sources] == [True, False]


def test_a_line_beyond_all_bounds_is_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE_BYTES", 10)
    (tmp_path / "a").write_bytes(b"short\n" + b"x" * 35 + b"\n123456789\n" + b"y" * 30)
    lines = Lines([str(tmp_path / "a")])
    assert list(lines) == [b"short", b"123456789"]
    assert lines.too_long == 2


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(b"one\n"))))
    monkeypatch.setattr("sys.stdin", raw)
    lines = Lines(["-"])
    assert list(lines) == [b"one"]
    assert lines.sources[0].name == "standard input"


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(Lines([str(tmp_path / "gone")]))
