"""YAML text to plain data, with the line of every key and every item.

The parser's events are read directly rather than its ready-made objects, because those have
forgotten lines and duplicate keys. What is read is a strict part of YAML: no tags or merge keys
(so no constructors), no second document, no empty values, aliases only as far as what they expand
to stays small (generators write them; alias bombs are made of them), and no plain scalar that
YAML 1.1 and 1.2 readers take for different things (`no`, `0177`, `1:30`, `2026-01-01`): a policy
must mean to its author what it means to us. Problems are collected, not raised one by one; only
broken syntax and exceeded limits end the reading.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from proxy.policy.problem import Path, PolicyError, PolicyProblem, path_text

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_DEPTH = 20  # the deepest key the schema knows is at 7
MAX_NODES = 500_000  # values, aliases expanded

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_1_1 = Resolver()
_YAML_1_2 = (  # the core schema of YAML 1.2, section 10.3.2
    ("null", re.compile(r"|~|null|Null|NULL")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")),
)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_MAX_NUMBER_CHARS = 32


class Document(NamedTuple):
    """`data`: nested dicts, lists, str, int, float and bool. `lines`: the line of every path in
    it. `problems`: what stood there and could not be read; its place in `data` holds ''."""

    data: dict[str, Any]
    lines: dict[Path, int]
    problems: list[PolicyProblem]
    unread: frozenset[Path]  # the paths of `problems`


def read_document(source: str | bytes) -> Document:
    """Reads one policy document; bytes must be UTF-8. Raises `PolicyError` where reading cannot
    go on. An empty document is an empty mapping."""
    reader = _Reader()
    try:
        data = reader.read(_decoded(source))
    except yaml.YAMLError as error:
        raise PolicyError([_syntax_problem(error)]) from None
    return Document(data, reader.lines, reader.problems, frozenset(reader.unread))


def _decoded(source: str | bytes) -> str:
    try:
        raw = source.encode() if isinstance(source, str) else source
        text = raw.decode("utf-8-sig")
    except UnicodeError:
        raise PolicyError([PolicyProblem("", 0, "the policy is not UTF-8 text")]) from None
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise PolicyError([PolicyProblem("", 0, "the policy is larger than 1 MiB")])
    return text


def _syntax_problem(error: yaml.YAMLError) -> PolicyProblem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return PolicyProblem("", 0, "the policy holds characters that YAML does not allow")
    context = f"{error.context}: " if error.context else ""
    message = f"not YAML: {context}{error.problem}"
    if "alias" in context:
        message += " (quote values that begin with '*')"
    return PolicyProblem("", error.problem_mark.line + 1 if error.problem_mark else 0, message)


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


class _Reader:
    """Events in, data out; keeps lines and problems on the way."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[PolicyProblem] = []
        self.unread: set[Path] = set()
        self._events: Iterator[Event] = iter(())
        self._nodes = 0
        self._anchors: dict[str, tuple[Any, int]] = {}  # a value and how many nodes it has

    def read(self, text: str) -> dict[str, Any]:
        self._events = yaml.parse(text, Loader=_LOADER)
        next(self._events)  # stream start
        if isinstance(next(self._events), StreamEndEvent):
            return {}
        root = next(self._events)
        empty = isinstance(root, ScalarEvent) and root.value == ""
        data = {} if empty else self._value(root, (), 0)
        next(self._events)  # document end
        following = next(self._events)
        if isinstance(following, DocumentStartEvent):
            self._problem((), following, "only one YAML document may stand in the file")
        if not isinstance(data, dict):
            self._problem((), root, "the policy must be a mapping of keys to values")
            return {}
        return data

    def _value(self, event: Event, path: Path, depth: int) -> Any:
        self.lines.setdefault(path, _line(event))
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        nodes_before = self._nodes
        self._count(1, path, event)
        value = self._own_value(event, path, depth)
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - nodes_before)
        return value

    def _alias(self, event: AliasEvent, path: Path) -> Any:
        if event.anchor not in self._anchors:
            self._problem(path, event, "no anchor of this name stands before this alias")
            return ""
        value, nodes = self._anchors[event.anchor]
        self._count(nodes, path, event)
        return value

    def _count(self, nodes: int, path: Path, event: Event) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._problem(path, event, f"the policy has more than {MAX_NODES} values")
            raise PolicyError(self.problems)

    def _own_value(self, event: Event, path: Path, depth: int) -> Any:
        if getattr(event, "tag", None) is not None:
            self._problem(path, event, "tags are not supported")
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        if depth >= MAX_DEPTH:
            self._problem(path, event, f"nested deeper than {MAX_DEPTH} levels")
            raise PolicyError(self.problems)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path, depth)
        return self._mapping(path, depth)

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path, depth)
            place = (*path, key)
            if key in entries:
                first = self.lines[place]
                self._problem(place, event, f"stands here again, first on line {first}")
                self._value(next(self._events), (*place, "(again)"), depth + 1)
                continue
            self.lines[place] = _line(event)
            entries[key] = self._value(next(self._events), place, depth + 1)
        return entries

    def _key(self, event: Event, path: Path, depth: int) -> str:
        if not isinstance(event, ScalarEvent):
            self._problem(path, event, "a key must be plain text")
            self._value(event, (*path, "(key)"), depth + 1)
            return ""
        if event.anchor is not None or event.tag is not None:
            self._problem((*path, event.value), event, "a key can have no anchor and no tag")
        elif event.value == "<<" and event.implicit[0]:
            self._problem((*path, "<<"), event, "merge keys are not supported; write keys out")
        elif event.implicit[0] and not isinstance(_plain(event.value), str):
            self._problem((*path, event.value), event, "this key is not text; quote it")
        return event.value

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        if not event.implicit[0]:  # quoted or a block: always text
            return event.value
        value = _plain(event.value)
        if value is None:
            self._problem(path, event, "has no value; remove the key or give it one ({} or [])")
        elif value is _AMBIGUOUS:
            hint = "YAML readers disagree on what this plain value is; quote it if it is text"
            self._problem(path, event, f"{hint}, or write true, false or a plain decimal number")
        else:
            return value
        return ""

    def _problem(self, path: Path, event: Event, message: str) -> None:
        self.unread.add(path)
        line = _line(event)
        self.problems.append(PolicyProblem(path_text(path), line, message))


_AMBIGUOUS = object()


def _plain(text: str) -> Any:
    """An unquoted scalar's value if YAML 1.1 and 1.2 agree on it, else `_AMBIGUOUS`."""
    resolved: str = _YAML_1_1.resolve(ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    tag = resolved.rpartition(":")[2]
    kind = next((kind for kind, form in _YAML_1_2 if form.fullmatch(text)), "str")
    if tag in {"value", "merge"}:  # `=` and `<<`, which are text to YAML 1.2
        tag = "str"
    if tag != kind or (len(text) > _MAX_NUMBER_CHARS and kind in {"int", "float"}):
        return _AMBIGUOUS
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _AMBIGUOUS if _LEADING_ZERO.match(text) else int(text, 0)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
