"""The CA's files: both good, or neither, or no start."""

import os
from pathlib import Path

import pytest

from proxy.ca.keeping import CaError, load_ca, mint_into
from proxy.ca.names import constraints_for
from tests.ca.test_certificates import NOW_S

NAMES = constraints_for(["api.test"])


def test_what_was_made_is_loaded_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "ca"
    assert load_ca(folder, NOW_S) is None
    made = mint_into(folder, NAMES, NOW_S)
    again = load_ca(folder, NOW_S)
    assert again is not None
    assert again.fingerprint == made.fingerprint
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert b"PRIVATE" not in (folder / "ca.pem").read_bytes()


def _remove(name: str) -> object:
    return lambda folder: (folder / name).unlink()


def _write(name: str, content: bytes) -> object:
    return lambda folder: (folder / name).write_bytes(content)


def _swap_key(folder: Path) -> None:
    other = folder.parent / "other"
    mint_into(other, NAMES, NOW_S)
    (folder / "ca.key").write_bytes((other / "ca.key").read_bytes())


BROKEN = [
    pytest.param(_remove("ca.key"), "without ca.key", id="no key"),
    pytest.param(_remove("ca.pem"), "without ca.pem", id="no certificate"),
    pytest.param(_write("ca.pem", b"-----BEGIN"), "no certificate", id="half a certificate"),
    pytest.param(_write("ca.key", b""), "no unencrypted private key", id="an empty key"),
    pytest.param(_swap_key, "not the key of", id="another's key"),
    pytest.param(lambda f: (f / "ca.key").chmod(0o644), "open to other users", id="a public key"),
    pytest.param(lambda f: (f / "ca.key").chmod(0o640), "open to other users", id="a group's key"),
    pytest.param(lambda f: f.chmod(0o777), "every user may write", id="a public directory"),
    pytest.param(lambda f: ((f / "ca.key").unlink(), (f / "ca.key").mkdir(mode=0o700)),
                 "cannot be read", id="a directory for a key"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), BROKEN)
def test_a_spoilt_pair_is_refused_and_left_alone(spoil: object, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    mint_into(folder, NAMES, NOW_S)
    assert callable(spoil)
    spoil(folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(CaError, match=words) as caught:
        load_ca(folder, NOW_S)
    assert str(caught.value).startswith("TOOLBOOTH_CA_DIR: ")
    assert "PRIVATE" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_expired_ca_is_refused(tmp_path: Path) -> None:
    mint_into(tmp_path / "ca", NAMES, NOW_S)
    with pytest.raises(CaError, match="expired on 2034-12-31"):
        load_ca(tmp_path / "ca", NOW_S + 2e8)


def test_no_file_is_overwritten_and_no_link_followed(tmp_path: Path) -> None:
    folder, prey = tmp_path / "ca", tmp_path / "prey"
    folder.mkdir(mode=0o700)
    prey.write_text("mine")
    (folder / "ca.key").symlink_to(prey)
    with pytest.raises(CaError, match="another process"):
        mint_into(folder, NAMES, NOW_S)
    assert prey.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CaError, match="no CA could be written"):
        mint_into(tmp_path / "file" / "ca", NAMES, NOW_S)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_mounted_key_of_root_may_be_read_through_a_group(tmp_path: Path) -> None:
    """As a Kubernetes secret with `fsGroup` is: it belongs to somebody else."""
    folder = tmp_path / "ca"
    mint_into(folder, NAMES, NOW_S)
    os.chown(folder / "ca.key", 12345, 0)
    (folder / "ca.key").chmod(0o440)
    assert load_ca(folder, NOW_S) is not None
    (folder / "ca.key").chmod(0o444)
    with pytest.raises(CaError, match="open to other users"):
        load_ca(folder, NOW_S)
