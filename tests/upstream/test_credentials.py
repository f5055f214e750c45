import base64
import os
from pathlib import Path

import pytest

from proxy.policy.policy import CredentialRule
from proxy.upstream import credentials
from proxy.upstream.credentials import FRESH_S, Secrets, header_value
from tests.fakes.clock import FakeClock


def in_file(path: Path, template: str = "Bearer {secret}") -> CredentialRule:
    return CredentialRule(b"authorization", template, None, str(path), None)


def in_environment(name: str) -> CredentialRule:
    return CredentialRule(b"x-api-key", "{secret}", name, None, None)


class Desk:
    """Secrets with a clock and an environment of their own."""

    def __init__(self, **environment: str) -> None:
        self.clock = FakeClock()
        self.secrets = Secrets(self.clock, environment.get)

    def text(self, rule: CredentialRule) -> str | None:
        secret = self.secrets.read(rule)
        return None if secret is None else secret.text

    def later(self) -> None:
        self.clock.advance(FRESH_S)


def test_the_environment() -> None:
    desk = Desk(KEY="sk-1", EMPTY="")
    secret = desk.secrets.read(in_environment("KEY"))
    assert secret is not None
    assert (secret.text, secret.value) == ("sk-1", b"sk-1")
    assert desk.text(in_environment("EMPTY")) is None
    assert desk.text(in_environment("OTHER")) is None


FILES = [
    pytest.param(b"sk-1", "sk-1", id="no line end"),
    pytest.param(b"sk-1\n", "sk-1", id="a line end"),
    pytest.param(b"sk-1\r\nsecond", "sk-1", id="only the first line"),
    pytest.param(b"  sk-1 \n", "sk-1", id="blanks around it"),
    pytest.param(b"\xef\xbb\xbfsk-1\n", "sk-1", id="a byte order mark"),
    pytest.param("pässword".encode(), "pässword", id="Latin-1"),
    pytest.param(b"", None, id="empty"),
    pytest.param(b"\nsk-1", None, id="an empty first line"),
    pytest.param(b"sk\x001", None, id="a NUL"),
    pytest.param(b"sk\t1", None, id="a tab"),
    pytest.param(b"sk\r1", None, id="a lone CR"),
    pytest.param("sk\u20ac".encode(), None, id="beyond Latin-1"),
    pytest.param("sk\u0085x".encode(), None, id="a control of Latin-1"),
    pytest.param(b"sk\xff1", None, id="no UTF-8"),
    pytest.param(b"x" * 4096, "x" * 4096, id="as long as may be"),
    pytest.param(b"x" * 4097, None, id="too long"),
    pytest.param(b"x" * 100_000, None, id="a large file"),
]


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_what_a_file_may_hold(content: bytes, expected: str | None, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    assert Desk().text(in_file(path)) == expected


def test_what_is_no_file_is_no_secret(tmp_path: Path) -> None:
    """Nor does it stop the process."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("missing", "pipe", "dangling", "", "nul\0"):
        assert Desk().text(in_file(tmp_path / name)) is None


def test_a_file_is_read_again_a_second_later_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    desk = Desk()
    assert desk.text(in_file(path)) == "old"
    path.write_text("new")  # as long as the old one, and in the same tick of the file's clock
    assert desk.text(in_file(path)) == "old"
    desk.later()
    assert desk.text(in_file(path)) == "new"


def test_a_swapped_symlink_is_followed(tmp_path: Path) -> None:
    """As Kubernetes rotates secrets: `..data` is replaced, the path stays."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    desk, rule = Desk(), in_file(tmp_path / "key")
    assert desk.text(rule) == "one"
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    desk.later()
    assert desk.text(rule) == "two"


def test_a_file_that_vanishes_takes_its_secret_along(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    desk = Desk()
    assert desk.text(in_file(path)) == "old"
    path.unlink()
    desk.later()
    assert desk.text(in_file(path)) is None
    path.write_text("back")
    desk.later()
    assert desk.text(in_file(path)) == "back"


HEADERS = [
    pytest.param("Bearer {secret}", "s", b"Bearer s", id="bearer"),
    pytest.param("Token token={secret};v=1", "s", b"Token token=s;v=1", id="in the middle"),
    pytest.param("Basic {secret}", "u:p", b"Basic " + base64.b64encode(b"u:p"), id="a pair"),
    pytest.param("Basic {secret}", "dTpw", b"Basic dTpw", id="a pair encoded already"),
    pytest.param("{secret}", "u:p", b"u:p", id="a colon elsewhere"),
    pytest.param("{secret}", "\xe9", b"\xe9", id="Latin-1 as one byte"),
]


@pytest.mark.parametrize(("template", "secret", "expected"), HEADERS)
def test_the_header(template: str, secret: str, expected: bytes) -> None:
    assert header_value(template, secret) == expected


def test_what_is_known_holds_every_form_and_the_secret_before(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("user:one")
    desk = Desk(KEY=base64.b64encode(b"me:hidden").decode())
    desk.text(in_file(path))
    first = desk.secrets.known
    assert first == ("user:one", base64.b64encode(b"user:one").decode().rstrip("="), "one")
    desk.later()
    desk.text(in_file(path))
    assert desk.secrets.known is first
    path.write_text("two")
    desk.later()
    desk.text(in_file(path))
    desk.text(in_environment("KEY"))
    assert {"two", "user:one", "one", "me:hidden", "hidden"} <= set(desk.secrets.known)


def test_sources_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MAX_SOURCES", 3)
    desk = Desk(**{f"K{n}": f"secret-{n}" for n in range(9)})
    for n in range(9):
        assert desk.text(in_environment(f"K{n}")) == f"secret-{n}"
    assert desk.secrets.known == ("secret-6", "secret-7", "secret-8")


def test_more_than_one_former_secret_is_known(tmp_path: Path) -> None:
    """A call under way may carry any of them; an old one is forgotten behind eight others."""
    path = tmp_path / "key"
    desk, rule = Desk(), in_file(path)

    def put(name: str) -> None:
        path.write_text(name)
        desk.later()
        desk.text(rule)

    for number in range(5):
        put(f"early-{number}")
    desk.clock.advance(3600)
    for number in range(8):
        put(f"late-{number}")
    put("now")
    late = {f"late-{number}" for number in range(8)}
    assert set(desk.secrets.known) == {"now", "early-4", *late}  # replaced by the first late one
    for number in range(20):
        put(f"quick-{number}")
    assert late | {"now", "early-4"} < set(desk.secrets.known)  # of the last hour all
    assert len(desk.secrets.known) == 30
    for number in range(100):
        put(f"flood-{number}")
    assert len(desk.secrets.known) == 1 + 64
    assert "flood-35" in desk.secrets.known
