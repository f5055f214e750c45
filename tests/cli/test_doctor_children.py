"""A client as a child: bounded in time and in what is read of it, and quiet about credentials."""

import os
import sys
import time
from pathlib import Path

from proxy.cli.doctor.children import run

HERE = {"PATH": os.environ["PATH"]}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_first_word_and_last_complaint(tmp_path: Path) -> None:
    """The last line of standard error is the reason, with the userinfo of URLs masked and
    controls made visible."""
    code = (
        "import sys; print('v1'); print('v2'); print('trace', file=sys.stderr);"
        "print('no way to http://run:s3cret@booth:80/ \\x1b[2J', file=sys.stderr); sys.exit(4)"
    )
    got = run(python(code), HERE, tmp_path, 10)
    assert got == (4, "v1", "no way to http://***@booth:80/ \\x1b[2J")


def test_it_gets_the_environment_and_nothing_to_read(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['HTTP_PROXY'], repr(sys.stdin.read()), os.getcwd())"
    got = run(python(code), HERE | {"HTTP_PROXY": "p"}, tmp_path, 10)
    assert got.said == f"p '' {tmp_path}"


def test_what_is_late_is_killed_with_its_children(tmp_path: Path) -> None:
    """A wrapper that waits for a grandchild: both are gone."""
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "child.wait()"
    )
    got = run(python(code), HERE, tmp_path, 1.5)
    assert got.code is None
    assert _is_gone(int(pid_file.read_text()))


def test_a_flood_is_not_read_whole(tmp_path: Path) -> None:
    """The beginning of what it prints and the end of what it complains about are enough."""
    code = (
        "import sys\n"
        "for out in sys.stdout, sys.stderr:\n"
        "    out.write('v1\\n' + 'x' * 3_000_000 + '\\nthe end')"
    )
    got = run(python(code), HERE, tmp_path, 20)
    assert got == (0, "v1", "the end")
    got = run(python("import sys; sys.stderr.write('x' * 1000)"), HERE, tmp_path, 20)
    assert len(got.error) == 300


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    got = run([str(tmp_path / "nothing")], HERE, tmp_path, 5)
    assert (got.code, got.error) == (127, "It cannot be run: No such file or directory.")


def _is_gone(pid: int) -> bool:
    """A zombie waiting for init counts as gone; dying takes a moment."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in ("Z", "X"):
            return True
        time.sleep(0.02)
    return False
