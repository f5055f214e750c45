"""Certificates as OpenSSL judges them: the CA is not asked, the verifier is."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy.ca.certificates import (
    CA_LIFE,
    BadPairError,
    Ca,
    constraints_of,
    mint_ca,
    mint_leaf,
    new_leaf_key,
    read_ca,
)
from proxy.ca.names import UNCONSTRAINED, constraints_for

NOW_S = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
NAMES = constraints_for(["api.test", "*.wide.test", "10.0.0.1", "2001:db8::1"])


def leaf_of(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def verified(ca: Ca, leaf: bytes, host: str, folder: Path) -> str:
    """Empty if OpenSSL takes the leaf for `host` under the CA, else what it says."""
    assert shutil.which("openssl"), "openssl is part of the test environment"
    (folder / "ca.pem").write_bytes(ca.pem)
    (folder / "leaf.pem").write_bytes(leaf)
    is_address = host[0].isdigit()
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", str(int(NOW_S)),
         "-verify_ip" if is_address else "-verify_hostname", host,
         "-CAfile", str(folder / "ca.pem"), str(folder / "leaf.pem")],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr


HOSTS = [
    ("api.test", ""), ("x.wide.test", ""), ("10.0.0.1", ""), ("2001:db8::1", ""),
    ("evil.test", "permitted subtree"), ("10.0.0.2", "permitted subtree"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "problem"), HOSTS)
def test_openssl_takes_what_is_covered_and_nothing_else(
    host: str, problem: str, tmp_path: Path
) -> None:
    ca = mint_ca(NAMES, NOW_S)
    said = verified(ca, mint_leaf(ca, new_leaf_key(), host, NOW_S), host, tmp_path)
    assert (said == "") if not problem else (problem in said)


def test_addresses_are_excluded_where_none_is_permitted(tmp_path: Path) -> None:
    """A kind of name that the constraints do not mention would be free."""
    ca = mint_ca(constraints_for(["api.test"]), NOW_S)
    leaf = mint_leaf(ca, new_leaf_key(), "10.0.0.1", NOW_S)
    assert "excluded subtree" in verified(ca, leaf, "10.0.0.1", tmp_path)


def test_the_ca_says_what_it_may() -> None:
    certificate = mint_ca(NAMES, NOW_S).certificate
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert not usage.value.digital_signature
    names = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert constraints_of(certificate) == NAMES
    assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)


def test_an_open_ca_has_no_constraints() -> None:
    assert constraints_of(mint_ca(UNCONSTRAINED, NOW_S).certificate).is_open


def test_a_leaf_is_short_lived_and_outlives_no_ca() -> None:
    ca = mint_ca(NAMES, NOW_S)
    key = new_leaf_key()
    now = datetime.fromtimestamp(NOW_S, UTC)
    leaf = leaf_of(mint_leaf(ca, key, "api.test", NOW_S))
    assert leaf.not_valid_before_utc == now - timedelta(hours=1)
    assert leaf.not_valid_after_utc == now + timedelta(days=7)
    late = leaf_of(mint_leaf(ca, key, "api.test", NOW_S + CA_LIFE.total_seconds() - 3600))
    assert late.not_valid_after_utc == ca.certificate.not_valid_after_utc
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)
    assert leaf.serial_number != late.serial_number


def test_what_is_given_out_holds_no_key() -> None:
    ca = mint_ca(NAMES, NOW_S)
    assert b"PRIVATE" not in ca.pem
    assert b"PRIVATE" in ca.key_pem


def test_a_pair_is_read_back() -> None:
    ca = mint_ca(NAMES, NOW_S)
    assert read_ca(ca.pem, ca.key_pem, NOW_S).fingerprint == ca.fingerprint


OTHER = mint_ca(NAMES, NOW_S)
LEAF = mint_leaf(OTHER, new_leaf_key(), "api.test", NOW_S)
PAIRS = [
    pytest.param(b"", OTHER.key_pem, NOW_S, "no certificate", id="an empty certificate"),
    pytest.param(OTHER.pem, b"", NOW_S, "no unencrypted private key", id="an empty key"),
    pytest.param(OTHER.pem[:300], OTHER.key_pem, NOW_S, "no certificate", id="half a certificate"),
    pytest.param(OTHER.pem, mint_ca(NAMES, NOW_S).key_pem, NOW_S, "not the key", id="two pairs"),
    pytest.param(OTHER.pem, OTHER.key_pem, NOW_S + 3e8, "expired", id="an old one"),
    pytest.param(OTHER.pem, OTHER.key_pem, NOW_S - 1e6, "not valid yet", id="one of the future"),
    pytest.param(LEAF, LEAF[LEAF.index(b"-----BEGIN PRIVATE"):], NOW_S, "not the certificate of",
                 id="a leaf"),
]  # fmt: skip


@pytest.mark.parametrize(("pem", "key", "now_s", "words"), PAIRS)
def test_a_bad_pair_is_told_apart(pem: bytes, key: bytes, now_s: float, words: str) -> None:
    with pytest.raises(BadPairError, match=words):
        read_ca(pem, key, now_s)


def test_an_operators_own_ca_sends_what_stands_between_it_and_the_root() -> None:
    """A subordinate of a company's root, with an RSA key: clients know only the root."""
    root = trustme.CA(key_type=trustme.KeyType.RSA)
    between = root.create_child_ca(key_type=trustme.KeyType.RSA)
    key = between.private_key_pem.bytes()
    ca = read_ca(between.cert_pem.bytes(), key, datetime.now(UTC).timestamp())
    pem = mint_leaf(ca, new_leaf_key(), "api.test", datetime.now(UTC).timestamp())
    chain = x509.load_pem_x509_certificates(pem)
    assert len(chain) == 2
    chain[0].verify_directly_issued_by(chain[1])
    assert serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE") :], None)
