"""Sinks: what fits is written, what is broken says so, nothing blocks for long."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from proxy.telemetry.sinks import DescriptorSink, FileSink
from tests.fakes.clock import FakeClock


def view(data: bytes) -> memoryview:
    return memoryview(data)


class TestDescriptorSink:
    def test_a_full_pipe_takes_what_fits_and_then_nothing(self) -> None:
        reader, writer = os.pipe()
        try:
            size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
            sink = DescriptorSink(writer)
            assert sink.write(view(b"x" * (2 * size)), 0.0) == size
            assert sink.write(view(b"x"), 0.0) == 0
            assert len(os.read(reader, size)) == size
            assert sink.write(view(b"y"), 0.0) == 1
        finally:
            os.close(reader)
            os.close(writer)

    def test_the_shared_blocking_mode_is_left_as_it_was(self) -> None:
        reader, writer = os.pipe()
        DescriptorSink(writer).write(view(b"x"), 0.0)
        assert os.get_blocking(writer)
        os.close(reader)
        os.close(writer)

    def test_a_reader_that_went_away_is_an_error(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            DescriptorSink(writer).write(view(b"x"), 0.0)
        os.close(writer)

    def test_closing_leaves_the_descriptor_open(self) -> None:
        reader, writer = os.pipe()
        DescriptorSink(writer).close()
        assert os.write(writer, b"x") == 1
        os.close(reader)
        os.close(writer)


class TestFileSink:
    def test_it_appends_and_creates_for_the_owner_only(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.log"
        for text in (b"one\n", b"two\n"):
            sink = FileSink(str(path), FakeClock())
            assert sink.write(view(text), 0.0) == 4
            sink.close()
        assert path.read_bytes() == b"one\ntwo\n"
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0

    def test_children_do_not_inherit_it(self, tmp_path: Path) -> None:
        sink = FileSink(str(tmp_path / "calls.log"), FakeClock())
        mine = [fd for fd in range(3, 100) if _leads_to(fd, tmp_path / "calls.log")]
        assert len(mine) == 1
        assert not os.get_inheritable(mine[0])
        sink.close()

    @pytest.mark.parametrize("way", ["renamed", "removed"])
    def test_a_rotated_file_is_followed_within_a_second(self, tmp_path: Path, way: str) -> None:
        path, clock = tmp_path / "calls.log", FakeClock()
        sink = FileSink(str(path), clock)
        sink.write(view(b"old\n"), 0.0)
        path.rename(tmp_path / "calls.log.1") if way == "renamed" else path.unlink()
        clock.advance(0.99)
        assert sink.write(view(b"late\n"), 0.0) == 5
        assert not path.exists()
        clock.advance(0.01)
        assert sink.write(view(b"new\n"), 0.0) == 0  # the caller must look at the generation
        assert sink.generation == 1
        assert sink.write(view(b"new\n"), 0.0) == 4
        assert path.read_bytes() == b"new\n"
        sink.close()

    def test_a_directory_that_is_gone_costs_no_write(self, tmp_path: Path) -> None:
        folder, clock = tmp_path / "logs", FakeClock()
        folder.mkdir()
        sink = FileSink(str(folder / "calls.log"), clock)
        (folder / "calls.log").unlink()
        folder.rmdir()
        clock.advance(1.0)
        assert sink.write(view(b"x\n"), 0.0) == 2
        assert (sink.reopen_errors, sink.generation) == (1, 0)
        sink.close()

    def test_opening_fails_loudly_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            FileSink(str(tmp_path / "no" / "calls.log"), FakeClock())

    def test_a_fifo_without_a_reader_is_an_error_and_not_a_wait(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(OSError, match="fifo"):
            FileSink(str(tmp_path / "fifo"), FakeClock())

    def test_a_full_disk_is_an_error(self) -> None:
        sink = FileSink("/dev/full", FakeClock())
        with pytest.raises(OSError, match="No space left"):
            sink.write(view(b"x"), 0.0)
        sink.close()


def _leads_to(fd: int, path: Path) -> bool:
    try:
        return Path(f"/proc/self/fd/{fd}").resolve() == path
    except OSError:
        return False
