import pytest

from proxy.policy.document import MAX_DEPTH, MAX_DOCUMENT_BYTES, read_document
from proxy.policy.problem import PolicyError, path_text


@pytest.mark.parametrize(
    ("text", "data"),
    [
        pytest.param("", {}, id="an empty file is an empty mapping"),
        pytest.param("# nothing\n---\n", {}, id="comments alone are an empty mapping"),
        pytest.param("\ufeffa: 1", {"a": 1}, id="a byte order mark is skipped"),
        pytest.param("a: -3\nb: 0x1F", {"a": -3, "b": 31}, id="numbers both YAMLs agree on"),
        pytest.param("a: 0.5\nb: .inf", {"a": 0.5, "b": float("inf")}, id="floats"),
        pytest.param("a: true\nb: False", {"a": True, "b": False}, id="booleans spelled out"),
        pytest.param("a: 'no'\n'on': \"1:30\"", {"a": "no", "on": "1:30"}, id="quoted is text"),
        pytest.param("a: fd00::1\nb: 10.0.0.0/8", {"a": "fd00::1", "b": "10.0.0.0/8"}, id="IPs"),
        pytest.param("a: |\n  no\n", {"a": "no\n"}, id="a block is text"),
        pytest.param("a: {}\nb: []", {"a": {}, "b": []}, id="empty on purpose"),
    ],
)
def test_what_is_read(text: str, data: object) -> None:
    document = read_document(text)
    assert document.data == data
    assert document.problems == []


@pytest.mark.parametrize(
    ("text", "path", "line", "words"),
    [
        pytest.param("a:\n  b: no", "a.b", 2, "disagree", id="no may be false or text"),
        pytest.param("a: 0177", "a", 1, "disagree", id="octal or decimal"),
        pytest.param("a: 010.5\nb: 08", "b", 2, "disagree", id="neither octal nor decimal"),
        pytest.param("a: 1:30", "a", 1, "disagree", id="ninety or text"),
        pytest.param("a: 1e3", "a", 1, "disagree", id="text or a thousand"),
        pytest.param("a: 1_000", "a", 1, "disagree", id="a thousand or text"),
        pytest.param("a: 2026-01-01", "a", 1, "disagree", id="a date or text"),
        pytest.param("a: " + "9" * 5000, "a", 1, "disagree", id="a number without end"),
        pytest.param("on: 1", "on", 1, "not text; quote it", id="a key that is true"),
        pytest.param("404: 1", "404", 1, "not text; quote it", id="a key that is a number"),
        pytest.param("? [a]\n: 1", "", 1, "plain text", id="a key that is a list"),
        pytest.param("a: 1\nb: 2\na: 3", "a", 3, "first on line 1", id="a key twice"),
        pytest.param("x:\n- a: 1\n  a: 2", "x[0].a", 3, "first on line 2", id="twice in a list"),
        pytest.param("a:", "a", 1, "no value", id="a key without value"),
        pytest.param("a: null", "a", 1, "no value", id="null"),
        pytest.param("a:\n- ~", "a[0]", 2, "no value", id="an item without value"),
        pytest.param("a: &x [*x]", "a[0]", 1, "no anchor", id="an alias of what is not over"),
        pytest.param("<<: {a: 1}", "['<<']", 1, "merge keys", id="a merge key"),
        pytest.param("a: !!python/name:os.system x", "a", 1, "tags", id="a Python tag"),
        pytest.param("a: !!str 1", "a", 1, "tags", id="even a harmless tag"),
        pytest.param("a: 1\n---\nb: 2", "", 2, "only one", id="a second document"),
        pytest.param("- a", "", 1, "must be a mapping", id="a list as policy"),
        pytest.param("plain", "", 1, "must be a mapping", id="text as policy"),
    ],
)
def test_what_is_reported(text: str, path: str, line: int, words: str) -> None:
    problems = read_document(text).problems
    assert any(p.path == path and p.line == line and words in p.message for p in problems), problems


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param(b"a: \xff", "UTF-8", id="not UTF-8"),
        pytest.param("a: \ud800", "UTF-8", id="a lone surrogate"),
        pytest.param("a: 'utf16'".encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param("#" * (MAX_DOCUMENT_BYTES + 1), "1 MiB", id="one byte too large"),
        pytest.param("a: \x07", "characters", id="a control character"),
        pytest.param("a: [1", "not YAML", id="a bracket left open"),
        pytest.param("a: *.example.com", "quote values", id="a wildcard without quotes"),
        pytest.param("a: " + "[" * 5000, "nested", id="deep nesting ends the reading"),
    ],
)
def test_what_ends_the_reading(source: str | bytes, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        read_document(source)


def test_limits_are_met_exactly() -> None:
    assert read_document("#" * MAX_DOCUMENT_BYTES).data == {}
    fits = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read_document(f"a: {fits}").problems == []
    with pytest.raises(PolicyError, match="nested"):
        read_document(f"a: [{fits}]")


def test_an_alias_bomb_stays_small() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    with pytest.raises(PolicyError, match="more than"):
        read_document(f"l0: &l0 x\n{levels}")


def test_an_alias_stands_for_what_it_names() -> None:
    document = read_document("a: &x [1, {b: 2}]\nc: *x\n")
    assert document.problems == []
    assert document.data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_every_key_and_item_has_its_line() -> None:
    document = read_document("tools:\n  allowlist:\n  - a\n  - b\n  timeouts_ms: {x.y: 1}\n")
    assert document.lines["tools", "allowlist", 1] == 4
    assert document.lines["tools", "timeouts_ms", "x.y"] == 5
    assert document.lines["tools", "allowlist"] == 2


def test_all_problems_are_found_in_one_reading() -> None:
    assert [p.line for p in read_document("a: no\nb:\nc: 1\nc: 2").problems] == [1, 2, 4]


def test_a_hostile_key_cannot_draw_on_the_terminal() -> None:
    text = path_text(("tools", "\x1b[2J\n" + "x" * 500, 3))
    assert text.isprintable()
    assert len(text) < 120
