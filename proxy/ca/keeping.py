"""The CA's two files: `ca.pem`, which everybody may have, and `ca.key`, which nobody may.

Either both are there and good, or neither is and they are made. Everything else (one without the
other, a key that others can read, a pair that does not fit) is said and changes nothing: a CA that
was replaced behind an operator's back would cut off every client that trusts the old one.
"""

import os
from pathlib import Path

from proxy.ca.certificates import BadPairError, Ca, mint_ca, read_ca
from proxy.ca.names import Constraints

CERTIFICATE, KEY = "ca.pem", "ca.key"
_LIMIT_BYTES = 1024 * 1024
_FOR_GROUP_AND_OTHERS, _FOR_OTHERS, _GROUP_WRITES = 0o077, 0o007, 0o020


class CaError(Exception):
    """One sentence: what is wrong with the CA, and what to do about it."""


def load_ca(directory: Path, now_s: float) -> Ca | None:
    """The CA that is kept in `directory`, or None where there is none. Raises `CaError`."""
    certificate, key = directory / CERTIFICATE, directory / KEY
    present = [path.name for path in (certificate, key) if os.path.lexists(path)]
    if not present:
        return None
    if len(present) == 1:
        missing = KEY if present[0] == CERTIFICATE else CERTIFICATE
        raise CaError(
            f"TOOLBOOTH_CA_DIR: {directory} holds {present[0]} without {missing}; restore the "
            "pair, or remove it to have a new CA made."
        )
    _check_access(directory, key)
    try:
        return read_ca(_read(certificate), _read(key), now_s)
    except BadPairError as problem:
        raise CaError(
            f"TOOLBOOTH_CA_DIR: in {directory}, {problem}; replace the pair, or remove both files "
            "to have a new CA made."
        ) from None


def mint_into(directory: Path, constraints: Constraints, now_s: float) -> Ca:
    """A new CA, written to `directory`: the key first and readable by us alone. Raises `CaError`;
    what was half written then stays, and is refused at the next start."""
    ca = mint_ca(constraints, now_s)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(directory / KEY, ca.key_pem, 0o600)
        _write(directory / CERTIFICATE, ca.pem, 0o644)
    except FileExistsError:
        raise CaError(
            f"TOOLBOOTH_CA_DIR: another process is making a CA in {directory}; start again."
        ) from None
    except OSError as error:
        raise CaError(
            f"TOOLBOOTH_CA_DIR: no CA could be written to {directory}: {_words(error)}."
        ) from None
    return ca


def _check_access(directory: Path, key: Path) -> None:
    """A key of ours is for us alone. One that somebody else put there (a mounted secret belongs
    to root, and is read by way of a group) is at least not for everybody."""
    try:
        found, place = key.stat(), directory.stat()
    except OSError as error:
        raise CaError(f"TOOLBOOTH_CA_DIR: {key} cannot be read: {_words(error)}.") from None
    is_ours = found.st_uid == os.geteuid()
    closed = _FOR_GROUP_AND_OTHERS if is_ours else _FOR_OTHERS | _GROUP_WRITES
    if found.st_mode & closed:
        raise CaError(
            f"TOOLBOOTH_CA_DIR: {key} is open to other users (mode {found.st_mode & 0o777:o}); "
            "make it `chmod 600`, and if others may have read it, have a new CA made."
        )
    if place.st_mode & 0o002 and not place.st_mode & 0o1000:
        raise CaError(f"TOOLBOOTH_CA_DIR: every user may write to {directory}; `chmod 700` it.")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT_BYTES)
    except OSError as error:
        raise CaError(f"TOOLBOOTH_CA_DIR: {path} cannot be read: {_words(error)}.") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    """Never over a file, nor through a link, that is there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
