"""Messages of the process, with and without somebody who reads them."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.app.process_log import _LIMIT_LINES, ProcessLog


@contextmanager
def a_log() -> Iterator[tuple[ProcessLog, logging.Logger, int]]:
    """The handler, a logger that has it, and the end of the pipe to read from."""
    reading, writing = os.pipe()
    log = ProcessLog(writing)
    log.setFormatter(logging.Formatter("toolbooth: %(message)s"))
    logger = logging.Logger("of this test")
    logger.addHandler(log)
    try:
        yield log, logger, reading
    finally:
        log.stop(5)
        os.close(writing)
        os.close(reading)


def test_what_was_said_is_there_after_the_end() -> None:
    with a_log() as (log, logger, reading):
        logger.info("one")
        logger.info("two \udcff")
        log.stop(5)
        assert os.read(reading, 4096) == b"toolbooth: one\ntoolbooth: two \\udcff\n"


def test_nobody_waits_for_a_reader_that_has_stopped_and_the_next_line_tells_what_is_lost() -> None:
    many = _LIMIT_LINES + 3_000
    with a_log() as (log, logger, reading):
        for _ in range(many):
            logger.info("x" * 200)  # far more than a pipe takes
        assert log.dropped > 1_000
        got = b""
        while got.count(b"x\n") < many - log.dropped:
            got += os.read(reading, 65_536)
        logger.info("again")
        log.stop(5)
        got += os.read(reading, 65_536)
        assert got.endswith(b" messages were left out\ntoolbooth: again\n")
        told = re.findall(rb"toolbooth: (\d+) messages were left out\n", got)
        assert sum(map(int, told)) == log.dropped


def test_a_closed_stderr_is_no_reason_to_fail(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log = ProcessLog(writing)
    logging.Logger("of this test").addHandler(log)
    log.handle(logging.LogRecord("x", logging.INFO, "", 0, "said to nobody", None, None))
    log.stop(5)
    os.close(writing)
    assert log.dropped == 0
    assert capfd.readouterr() == ("", "")
