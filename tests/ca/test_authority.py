"""The authority: late, bounded, and never beyond its own constraints."""

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.ca.authority import KEEP_CONTEXT_S, MAX_CONTEXTS, Authority, NoContextError
from proxy.model.call import PROBE_HOST
from proxy.policy.policy import Policy
from tests.fakes.clock import FakeClock
from tests.policy.documents import policy_of


def intercepting(*hosts: str) -> Policy:
    match = ", ".join(f'{{host: "{host}"}}' for host in hosts)
    return policy_of(f"a: {{match: [{match}], intercept_tls: true}}")


def authority(*hosts: str, directory: Path | None = None) -> Authority:
    made = Authority(directory, FakeClock())
    made.follow(intercepting(*hosts) if hosts else policy_of("a: {match: [{host: a.test}]}"))
    return made


def test_nothing_is_made_where_nothing_is_intercepted(tmp_path: Path) -> None:
    idle = authority(directory=tmp_path / "ca")
    assert (idle.prepare(), idle.view(), idle.is_needed) == ([], None, False)
    assert not (tmp_path / "ca").exists()


def test_cryptography_is_not_imported_until_it_is_needed() -> None:
    """It costs 9 MiB and 25 ms."""
    code = "import sys, proxy.app.start; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_a_ca_in_memory_is_told_about_once() -> None:
    made = authority("a.test")
    assert "only in memory" in made.prepare()[0]
    assert made.prepare() == []


def test_an_open_ca_is_told_about(tmp_path: Path) -> None:
    assert "no name constraints" in authority("*", directory=tmp_path / "ca").prepare()[0]


def test_a_kept_ca_survives_and_is_the_same(tmp_path: Path) -> None:
    first, second = (authority("a.test", directory=tmp_path / "ca") for _ in range(2))
    assert first.prepare() == second.prepare() == []
    assert first.view() == second.view()
    view = first.view()
    assert view is not None
    assert (view.is_kept, view.permitted) == (True, ("a.test", PROBE_HOST))
    assert "PRIVATE" not in repr(view)


def test_a_host_outside_is_told_and_refused_with_the_remedy(tmp_path: Path) -> None:
    made = authority("a.test", directory=tmp_path / "ca")
    made.prepare()
    made.follow(intercepting("a.test", "b.test"))
    assert "may not vouch for b.test: remove ca.pem and ca.key" in made.prepare()[0]
    with pytest.raises(NoContextError, match="toolbooth ca export"):
        made.context_for("b.test")
    assert isinstance(made.context_for("a.test"), ssl.SSLContext)
    assert isinstance(made.context_for(PROBE_HOST), ssl.SSLContext)


def test_a_spoilt_directory_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    spoilt = authority("a.test", directory=tmp_path)
    for ask in (spoilt.prepare, lambda: spoilt.context_for("a.test"), spoilt.view):
        with pytest.raises(NoContextError, match=r"without ca\.key"):
            ask()


def test_contexts_are_kept_bounded_and_renewed() -> None:
    clock = FakeClock()
    made = Authority(None, clock)
    made.follow(intercepting("*.a.test"))
    first = made.context_for("x.a.test")
    assert made.context_for("x.a.test") is first
    clock.advance(KEEP_CONTEXT_S + 1)
    assert made.context_for("x.a.test") is not first
    assert made._contexts.maxsize == MAX_CONTEXTS


def test_a_ca_that_expires_while_we_run_is_refused() -> None:
    clock = FakeClock()
    made = Authority(None, clock)
    made.follow(intercepting("a.test"))
    made.prepare()
    clock.advance(1826 * 86_400)
    with pytest.raises(NoContextError, match="expired"):
        made.context_for("a.test")


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_no_key_is_left_on_disk(
    has_memory_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no files in memory one of ours is written, and is gone at once."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not has_memory_files:
        monkeypatch.delattr("os.memfd_create")
    assert authority("a.test").context_for("a.test")
    assert list(tmp_path.iterdir()) == []
