"""Whether an audit log is unbroken, and where not (pure: lines in, findings out, bounded memory).

A file opens with a line that says so (`begin`), or its beginning is gone. From then on each line
must be the one after the last. Where that does not hold, the line is named with what is wrong. What
a later line shows about an earlier break (a line that is missing there stands here) is added to
that break, so that one act of tampering is mostly one problem.

A crash in the middle of a write leaves half a line. It is told apart from tampering by the line
after it, which the next start writes: it names the length and the digest of what was left.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from proxy.store.audit_chain import Head, Line, read_line

MAX_PROBLEMS = 100
_REMEMBERED = 10_000  # lines of which a copy is recognised as one
_ANY = ""  # in place of a hash that is not known: whatever follows is taken to follow

BEGIN, TORN, CHECKPOINT = "begin", "torn", "checkpoint"


@dataclass(slots=True)
class Problem:
    """One break, at `line` (from 1) of `file`. `kind`: `changed`, `removed`, `reordered`,
    `inserted`, `duplicated`, `key` or `end`."""

    file: str
    line: int
    kind: str
    detail: str


@dataclass(slots=True)
class Findings:
    """What was found in all files. `notes` are worth knowing and no breaks; `more`: problems
    beyond the first `MAX_PROBLEMS`. `first_seq` 0: no line at all."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    more: int = 0
    lines: int = 0
    keyed: int = 0
    first_seq: int = 0
    last: Line | None = None


@dataclass(slots=True)
class _Gap:
    """Numbers that were passed over, and the problem that says so."""

    first: int
    last: int
    missing: int
    problem: Problem


class _Rubbish:
    """What is no line of ours, since the last one that is."""

    def __init__(self, first_line: int) -> None:
        self.first_line = first_line
        self.lines = 0
        self.bytes = 0
        self._digest = sha256()

    def add(self, raw: bytes) -> None:
        """One more line, without its newline."""
        if self.lines:
            raw = b"\n" + raw
        self.lines += 1
        self.bytes += len(raw)
        self._digest.update(raw)

    def is_told_by(self, line: Line) -> bool:
        """Is `line` the note that a start writes behind half a line?"""
        entry = line.entry()
        told = (entry.get("action"), entry.get("bytes"), entry.get("sha256"))
        return told == (TORN, self.bytes, self._digest.hexdigest())


class Checker:
    """Is fed files, oldest first, line by line: `begin_file`, `feed`, `end_file`, then `finish`.

    `key`: every line must have a mac by it. `expected_hash`: some line must have it. `is_whole`
    False: what is fed is the end of a file.
    """

    def __init__(
        self, key: bytes | None = None, *, expected_hash: str = "", is_whole: bool = True
    ) -> None:
        self.findings = Findings()
        self._key = key
        self._expected_hash = expected_hash
        self._is_whole = is_whole
        self._head: Head | None = None
        self._file = ""
        self._place = 0
        self._rubbish: _Rubbish | None = None
        self._ends_half = False
        self._gaps: list[_Gap] = []
        self._seen: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self._key_is_wrong = False

    def begin_file(self, name: str) -> None:
        """The lines that follow are those of `name`."""
        self._file, self._place, self._ends_half = name, 0, False

    def feed(self, raw: bytes) -> None:
        """The next line as it stands in the file, with its newline if it has one."""
        self._place += 1
        self._ends_half = not raw.endswith(b"\n")
        text = raw.removesuffix(b"\n")
        line = read_line(text)
        if line is None:
            self._rubbish = self._rubbish or _Rubbish(self._place)
            self._rubbish.add(text)
            return
        self.findings.lines += 1
        self.findings.keyed += bool(line.mac)
        self._judge_rubbish(line)
        self._judge(line)

    def end_file(self) -> None:
        """The file is over. Half a line at its end is a write under way, or a crash that no start
        has told yet."""
        rubbish, self._rubbish = self._rubbish, None
        if rubbish is None:
            return
        if self._ends_half and rubbish.lines == 1:
            self._note(f"{self._file} ends in half a line: a crash, or a write under way")
        else:
            self._add("changed", "it is no line of an audit log", rubbish.first_line)

    def finish(self) -> Findings:
        """Everything that was found."""
        last = self.findings.last
        if self._expected_hash:
            detail = f"no line has the hash {self._expected_hash}: the end is gone, or rewritten"
            self._add("end", detail)
        if self._key is None and self.findings.keyed:
            self._note("macs were not checked: give the key (--key-file)")
        if last is not None and not is_stop(last):
            self._note(
                f"the last line (seq {last.seq}) is no stop: it runs, it was killed, or the end is"
                " missing"
            )
        return self.findings

    def _judge_rubbish(self, line: Line) -> None:
        rubbish, self._rubbish = self._rubbish, None
        if rubbish is None:
            if b'"action":"torn"' in line.body and line.entry().get("action") == TORN:
                self._add("removed", "the half line that this line tells of is gone")
            return
        follows = self._head is None or self._follows(line)
        if follows and line.is_true and rubbish.is_told_by(line):
            self._note(f"{self._file}:{rubbish.first_line} is half a line that a crash left")
        elif follows and self._head is not None:
            self._add("inserted", "it is no line of an audit log", rubbish.first_line)
        else:
            self._add("changed", "it is no line of an audit log", rubbish.first_line)
            if self._head is not None:
                self._head = Head(self._head.seq + rubbish.lines, _ANY)

    def _judge(self, line: Line) -> None:
        head = self._head
        if not line.is_true:
            self._add("changed", "its hash is not that of its content")
            self._head = Head(line.seq if head is None else head.seq + 1, _ANY)
            return
        if line.hash == self._expected_hash:
            self._expected_hash = ""
        self._judge_key(line)
        if head is None:
            self._judge_first(line)
        elif line.seq <= head.seq:
            self._judge_late(line)
            return
        elif line.seq > head.seq + 1:
            self._add_gap(head.seq + 1, line.seq - 1)
        elif not self._follows(line):
            self._add("changed", f"it does not follow seq {head.seq}: one of the two was rewritten")
        self._head, self.findings.last = line.head, line
        self._remember(line)

    def _follows(self, line: Line) -> bool:
        head = self._head
        return head is not None and line.seq == head.seq + 1 and head.hash in (_ANY, line.prev)

    def _judge_first(self, line: Line) -> None:
        self.findings.first_seq = line.seq
        if not self._is_whole:
            return
        if line.entry().get("action") not in (BEGIN, TORN):
            self._add("removed", f"what stood before it is gone: it is seq {line.seq} and no begin")
        elif line.seq > 1:
            self._note(f"it goes on from seq {line.seq - 1} of an earlier file")

    def _judge_late(self, line: Line) -> None:
        """A number that is behind us: from a gap, or not the first of its kind."""
        gap = next((g for g in self._gaps if g.first <= line.seq <= g.last and g.missing), None)
        seen = self._seen.get(line.seq)
        if seen is not None:
            is_copy = seen[1] == line.hash
            detail = f"seq {line.seq} stands in {seen[0]} already"
            self._add("duplicated" if is_copy else "inserted", detail)
        elif gap is not None:
            gap.missing -= 1
            what = _span(gap.first, gap.last)
            still = f"; {gap.missing} of them nowhere" if gap.missing else ""
            gap.problem.kind = "reordered"
            gap.problem.detail = f"{what} should stand before it and stands further down{still}"
            self._remember(line)
        else:
            self._add("inserted", f"seq {line.seq} has no place here")

    def _judge_key(self, line: Line) -> None:
        if self._key is None or self._key_is_wrong or line.is_by(self._key):
            return
        self._key_is_wrong = True  # said once: with another key it is every line
        why = "its mac is not by this key" if line.mac else "it has no mac"
        self._add("key", why)

    def _add_gap(self, first: int, last: int) -> None:
        problem = self._add("removed", f"{_span(first, last)} should stand before it")
        if problem is not None:
            self._gaps.append(_Gap(first, last, last - first + 1, problem))

    def _remember(self, line: Line) -> None:
        self._seen[line.seq] = (f"{self._file}:{self._place}", line.hash)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _add(self, kind: str, detail: str, place: int = 0) -> Problem | None:
        if len(self.findings.problems) >= MAX_PROBLEMS:
            self.findings.more += 1
            return None
        problem = Problem(self._file, place or self._place, kind, detail)
        self.findings.problems.append(problem)
        return problem

    def _note(self, text: str) -> None:
        if len(self.findings.notes) < MAX_PROBLEMS:
            self.findings.notes.append(text)


def lines_of(window: bytes) -> Iterator[bytes]:
    """Lines with their newlines; only LF ends one."""
    start = 0
    while start < len(window):
        end = window.find(b"\n", start) + 1 or len(window)
        yield window[start:end]
        start = end


def _span(first: int, last: int) -> str:
    return f"seq {first}" if first == last else f"seq {first} to {last}"


def is_stop(line: Line) -> bool:
    """Did the process that wrote it end with this line?"""
    entry = line.entry()
    return (entry.get("action"), entry.get("why")) == (CHECKPOINT, "stop")
