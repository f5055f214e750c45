r"""Globs over raw paths, and the paths no glob can be trusted with.

A path is matched as it was received, still percent-encoded, without its query: decoding it here
would be one more reading of it, and attackers live between two readings. `*` stands for anything
within a segment, `**` as a whole segment for any number of segments, none included; a trailing
`/**` for everything below the slash. Everything else is literal.

Matching takes time linear in the path: each wildcard is compiled so that it commits to its first
fit (atomic groups, Python 3.11), which loses no match, because a later fit in the same segment, or
a later segment, never leaves more room for the rest.
"""

import re
from collections.abc import Iterable

MAX_GLOB_CHARS = 1024
_MAX_PATH_CHARS = 65_536  # far above what the wire admits; a longer path matches no glob

# `%25` may be undone twice, so any number of them before the code counts as none.
_AMBIGUOUS = re.compile(
    r"[^\x21-\x7e]|[\\;]|//"  # not a path character; Windows; path parameters; empty segment
    r"|/\.{1,2}(?:/|\Z)"  # dot segments
    r"|%(?:25)*+(?:"
    r"[01].|7f|2f|5c|3b"  # encoded control characters, / \ ;
    r"|2d|2e|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae]"  # encoded unreserved characters
    r")"
    r"|%(?![0-9a-f]{2})",  # not an encoding at all
    re.IGNORECASE,
)
_LITERAL = re.compile(r"[\x21-\x7e]+")


def is_ambiguous_path(path: str) -> bool:
    r"""May the upstream read this raw path as another one than its bytes say?

    True for dot segments, `//`, `\`, `;` (servlet containers cut path parameters), each also in
    percent-encoding and double encoding; for encoded letters, digits and `-._~`, which RFC 3986
    section 6.2.2.2 calls the same path; for broken escapes and for anything but visible ASCII. A
    tool that restricts paths never takes such a path; a tool that does not passes it untouched.
    """
    path = path.partition("?")[0]
    return _AMBIGUOUS.search(path) is not None


def check_glob(glob: str) -> str:
    """The glob itself if it can match anything; raises `ValueError` with a sentence if not."""
    if not glob.startswith("/"):
        raise ValueError("a path must start with '/'")
    if len(glob) > MAX_GLOB_CHARS:
        raise ValueError(f"a path may have at most {MAX_GLOB_CHARS} characters")
    if "?" in glob or "#" in glob:
        raise ValueError("only the path is matched, never the query: leave out '?' and '#'")
    if not _LITERAL.fullmatch(glob):
        raise ValueError("a path is matched as sent: percent-encode blanks and non-ASCII")
    if any("**" in segment and segment != "**" for segment in glob.split("/")):
        raise ValueError("'**' must be a whole segment, as in '/v1/**' or '/v1/**/items'")
    if is_ambiguous_path(glob):
        raise ValueError(
            "could never match: '.' and '..' segments, '//', ';', '\\' and encoded forms of them "
            "or of plain characters are refused wherever paths are restricted"
        )
    return glob


class PathGlobs:
    """The paths of one destination. Most globs are a plain path or a plain prefix, which need no
    regular expression; the rest share one."""

    __slots__ = ("_exact", "_pattern", "_prefixes")

    def __init__(self, globs: Iterable[str]) -> None:
        exact, prefixes, patterns = set(), [], []
        for glob in globs:
            if "*" not in glob:
                exact.add(glob)
            elif glob.endswith("/**") and "*" not in glob[:-2]:
                prefixes.append(glob[:-2])
            else:
                patterns.append(_pattern(glob))
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._pattern = re.compile(f"(?:{'|'.join(patterns)})\\Z") if patterns else None

    def match(self, path: str) -> bool:
        """Does one of the globs cover this raw path (no query)? Not asked about ambiguous ones."""
        if path in self._exact or path.startswith(self._prefixes):
            return True
        if self._pattern is None or len(path) > _MAX_PATH_CHARS:
            return False
        return self._pattern.match(path) is not None


def _pattern(glob: str) -> str:
    """One glob as a regular expression, to be followed by the end of the path."""
    *chunks, last = glob[1:].split("**")
    if not chunks:
        return "/" + _segments(last)
    text = "/" + _segments(chunks[0])
    for chunk in chunks[1:]:  # between two `**`: whole segments, at the first place they fit
        text += f"(?>(?:[^/]*+/)*?{_segments(chunk[1:])})" if chunk != "/" else ""
    if not last:
        return f"{text}.*+"
    return f"{text}(?:[^/]*+/)*?{_segments(last[1:])}\\Z"


def _segments(text: str) -> str:
    return "/".join(_segment(segment) for segment in text.split("/"))


def _segment(segment: str) -> str:
    first, *rest = segment.split("*")
    text = re.escape(first)
    for literal in rest[:-1]:
        text += f"(?>[^/]*?{re.escape(literal)})"
    if rest:
        end = re.escape(rest[-1])
        text += f"(?>[^/]*?{end}(?=/|\\Z))" if end else "[^/]*+"
    return text


def covers(globs: tuple[str, ...] | None, narrower: tuple[str, ...] | None) -> bool:
    """Do `globs` surely match all that `narrower` matches? Says no when it cannot tell."""
    if globs is None:
        return True
    if narrower is None:
        return False
    prefixes = tuple(glob[:-2] for glob in globs if _is_prefix(glob))
    return all(glob in globs or glob.startswith(prefixes) for glob in narrower)


def _is_prefix(glob: str) -> bool:
    return glob.endswith("/**") and "*" not in glob[:-2]
