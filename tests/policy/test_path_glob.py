import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.path_glob import PathGlobs, check_glob, covers, is_ambiguous_path


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        pytest.param("/v1/search", "/v1/search", True, id="a plain path is itself"),
        pytest.param("/v1/search", "/v1/search/", False, id="a slash more is another path"),
        pytest.param("/v1/search", "/v1/Search", False, id="case matters"),
        pytest.param("/v1/search", "/v1/searchx", False, id="not a prefix"),
        pytest.param("/v1/search/**", "/v1/search/a/b", True, id="** takes everything below"),
        pytest.param("/v1/search/**", "/v1/search/", True, id="** takes nothing below the slash"),
        pytest.param("/v1/search/**", "/v1/search", False, id="** needs its slash"),
        pytest.param("/v1/search/**", "/v1/searching/a", False, id="** respects the segment"),
        pytest.param("/**", "/", True, id="/** takes every path"),
        pytest.param("/**", "*", False, id="/** does not take a server-wide OPTIONS"),
        pytest.param("/**", "", False, id="/** does not take an empty path"),
        pytest.param("/v1/*", "/v1/a", True, id="* takes a segment"),
        pytest.param("/v1/*", "/v1/a/b", False, id="* stops at a slash"),
        pytest.param("/v1/*/items", "/v1/a/items", True, id="* in the middle"),
        pytest.param("/v1/*/items", "/v1/a/b/items", False, id="* is one segment"),
        pytest.param("/v1/a*c", "/v1/abbc", True, id="* within a segment"),
        pytest.param("/v1/a*c", "/v1/ac", True, id="* may be nothing"),
        pytest.param("/v1/*.json", "/v1/a.json.json", True, id="the last fit counts at the end"),
        pytest.param("/v1/*.json", "/v1/axjson", False, id="a dot is a dot"),
        pytest.param("/a/**/z", "/a/z", True, id="** between may be no segment"),
        pytest.param("/a/**/z", "/a/b/c/z", True, id="** between may be many"),
        pytest.param("/a/**/z", "/a/bz", False, id="** between takes whole segments"),
        pytest.param("/a/**/b/**/z", "/a/b/b/z", True, id="two ** share what there is"),
        pytest.param("/a/**/b/**/z", "/a/z/b", False, id="order matters"),
        pytest.param("/**/**/z", "/z", True, id="** twice in a row is **"),
        pytest.param("/a+(b)[c]", "/a+(b)[c]", True, id="regex characters are literal"),
        pytest.param("/a*", "/a\n", True, id="a wildcard is about slashes alone"),
        pytest.param("/a", "/a\n", False, id="the end is the end"),
        pytest.param("/%E2%82%AC/*", "/%E2%82%AC/x", True, id="escapes are compared as sent"),
    ],
)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert PathGlobs([check_glob(glob)]).match(path) is expected


def test_any_of_several_globs_is_enough() -> None:
    globs = PathGlobs(["/a", "/b/**", "/c/*/d", "/e/*"])
    assert [globs.match(path) for path in ("/a", "/b/x", "/c/1/d", "/e/9")] == [True] * 4
    assert not globs.match("/c/1/e")


def _reference(glob: list[str], path: list[str]) -> bool:
    if not glob:
        return not path
    if glob[0] == "**":
        if len(glob) == 1:
            return bool(path)
        return any(_reference(glob[1:], path[n:]) for n in range(len(path) + 1))
    return bool(path) and _star(glob[0], path[0]) and _reference(glob[1:], path[1:])


def _star(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(_star(glob[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and glob[0] == text[0] and _star(glob[1:], text[1:])


_GLOB_SEGMENT = st.one_of(st.just("**"), st.text("ab*", max_size=5).filter(lambda s: "**" not in s))


@given(st.lists(_GLOB_SEGMENT, min_size=1, max_size=5), st.lists(st.text("ab", max_size=4)))
def test_committing_to_the_first_fit_loses_no_match(glob: list[str], path: list[str]) -> None:
    written = "/" + "/".join(glob)
    globs = PathGlobs([written])
    assert globs.match("/" + "/".join(path)) is _reference(glob, path or [""])


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        pytest.param("/**/a/**/a/**/a/**/b", "/a" * 30_000, id="many ** and one segment"),
        pytest.param("/*a*a*a*a*b", "/" + "a" * 60_000, id="many * in one segment"),
        pytest.param("/**/*a*b/**/c*d", "/" + "a" * 60_000, id="* and ** mixed"),
        pytest.param("/**/*a*a*c/**/*a*d", "/aaaaaaaa" * 6_000, id="* in every segment"),
    ],
)
def test_a_hostile_path_costs_little(glob: str, path: str) -> None:
    started = time.perf_counter()
    assert not PathGlobs([glob]).match(path)
    assert time.perf_counter() - started < 0.25  # measured: about 1 ms


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/a/../b", id="dot-dot"),
        pytest.param("/a/./b", id="dot"),
        pytest.param("/a/..", id="dot-dot at the end"),
        pytest.param("/.", id="dot alone"),
        pytest.param("/..?x", id="dot-dot before the query"),
        pytest.param("/a/%2e%2E/b", id="encoded dots"),
        pytest.param("/a/.%2e/b", id="half-encoded dots"),
        pytest.param("/a/%252e%252e/b", id="doubly encoded dots"),
        pytest.param("/a/%25252e/b", id="triply encoded dot"),
        pytest.param("/a/..;x=1/b", id="dots with a parameter"),
        pytest.param("/admin;x/users", id="a path parameter"),
        pytest.param("/admin%3bx/users", id="an encoded path parameter"),
        pytest.param("/a%2fb", id="an encoded slash"),
        pytest.param("/a%252Fb", id="a doubly encoded slash"),
        pytest.param("/a%5cb", id="an encoded backslash"),
        pytest.param("/a\\b", id="a backslash"),
        pytest.param("//a", id="an empty segment in front"),
        pytest.param("/a//b", id="an empty segment"),
        pytest.param("/%61dmin", id="an encoded letter"),
        pytest.param("/v%31", id="an encoded digit"),
        pytest.param("/%7Euser", id="an encoded tilde"),
        pytest.param("/a%00b", id="an encoded NUL"),
        pytest.param("/a%0d%0ab", id="an encoded line break"),
        pytest.param("/a%", id="a broken escape"),
        pytest.param("/a%zz", id="an escape that is none"),
        pytest.param("/a%u002e", id="a Microsoft escape"),
        pytest.param("/\u00e4", id="not ASCII"),
        pytest.param("/a b", id="a blank"),
        pytest.param("/a\tb", id="a tab"),
    ],
)
def test_ambiguous_paths(path: str) -> None:
    assert is_ambiguous_path(path)


@pytest.mark.parametrize(
    "path",
    ["/", "/a/b", "/a.b/.c/..d/e..", "/...", "/%E2%82%AC%20", "/a:b@c,d=e&f'(!)*", "/a/", "/~x",
     "/x?y=../..//%2f;", "/100%25", "*", ""],
)  # fmt: skip
def test_plain_paths(path: str) -> None:
    assert not is_ambiguous_path(path)


@pytest.mark.parametrize(
    ("glob", "words"),
    [
        ("v1", "start with"),
        ("", "start with"),
        ("*", "start with"),
        ("/a?b", "query"),
        ("/a#b", "query"),
        ("/a b", "percent-encode"),
        ("/\u00e4", "percent-encode"),
        ("/a**", "whole segment"),
        ("/***", "whole segment"),
        ("/a/../b", "never match"),
        ("/a//b", "never match"),
        ("/a%2fb", "never match"),
        ("/" + "a" * 1024, "at most"),
    ],
)
def test_globs_that_are_refused(glob: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_glob(glob)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        (None, None, True),
        (None, ("/a",), True),
        (("/a",), None, False),
        (("/**",), ("/a", "/b/*"), True),
        (("/a/**",), ("/a/b/**",), True),
        (("/a/**",), ("/a",), False),
        (("/a/*",), ("/a/b",), False),  # it would, but who cannot tell says no
    ],
)
def test_covers(
    wide: tuple[str, ...] | None, narrow: tuple[str, ...] | None, expected: bool
) -> None:
    assert covers(wide, narrow) is expected
