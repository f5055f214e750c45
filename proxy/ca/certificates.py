"""Certificates: our CA's own, and one for each host it stands for.

The only module that imports `cryptography`, which costs 9 MiB and 25 ms: import it where
interception is on, never at start. A CA or leaf without `keyUsage`, or a leaf without
`authorityKeyIdentifier`, is refused by the clients of Python 3.13 (VERIFY_X509_STRICT).
"""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.ca.names import Constraints
from proxy.model.call import PROBE_HOST
from proxy.policy.address import literal_address

CA_LIFE = timedelta(days=1825)
LEAF_LIFE = timedelta(days=7)
_BACKDATED = timedelta(hours=1)  # clients' clocks run late
_ALL_ADDRESSES = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))

SigningKey = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)  # fmt: skip

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


class BadPairError(ValueError):
    """What is wrong with a certificate and key, in words that follow a file's name."""


class Ca(NamedTuple):
    """A CA certificate and its key. `pem`: the certificate as it is given out, with what stood
    behind it in its file; never the key."""

    certificate: x509.Certificate
    key: SigningKey
    pem: bytes

    @property
    def key_pem(self) -> bytes:
        """The key in PKCS #8, unencrypted: for the key file, and nowhere else."""
        return _private_pem(self.key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def is_self_issued(self) -> bool:
        """It is a root, which clients have and servers need not send."""
        return self.certificate.issuer == self.certificate.subject


def mint_ca(constraints: Constraints, now_s: float) -> Ca:
    """A new CA on P-256 that may sign leaves only (`pathlen:0`), within `constraints`."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.fromtimestamp(now_s, UTC)
    serial = x509.random_serial_number()
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Toolbooth"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"Toolbooth sidecar CA {serial % 16**8:08x}"),
    ])  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_ca=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if not constraints.is_open:
        builder = builder.add_extension(_name_constraints(constraints), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    return Ca(certificate, key, certificate.public_bytes(serialization.Encoding.PEM))


def read_ca(certificate_pem: bytes, key_pem: bytes, now_s: float) -> Ca:
    """A CA as an operator keeps it. Raises `BadPairError`."""
    try:
        certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
    except (ValueError, IndexError):
        raise BadPairError("ca.pem holds no certificate in PEM") from None
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadPairError("ca.key holds no unencrypted private key in PEM") from None
    if not isinstance(key, SigningKey):
        raise BadPairError("ca.key is no key that can sign certificates")
    if key.public_key() != certificate.public_key():
        raise BadPairError("ca.key is not the key of ca.pem")
    now = datetime.fromtimestamp(now_s, UTC)
    if certificate.not_valid_after_utc <= now:
        raise BadPairError(f"ca.pem expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise BadPairError("ca.pem is not valid yet")
    if not _may_sign(certificate):
        raise BadPairError("ca.pem is not the certificate of a CA")
    return Ca(certificate, key, certificate_pem)


def constraints_of(certificate: x509.Certificate) -> Constraints:
    """What the CA may vouch for, as its certificate says."""
    found = _extension(certificate, x509.NameConstraints)
    if found is None:
        return Constraints(None, None)
    permitted, excluded = list(found.permitted_subtrees or ()), list(found.excluded_subtrees or ())
    return Constraints(
        tuple(_domains(permitted)) or None, tuple(_networks(permitted)) or None,
        tuple(_domains(excluded)), tuple(_networks(excluded)),
    )  # fmt: skip


def new_leaf_key() -> ec.EllipticCurvePrivateKey:
    """One a process is enough: it never leaves it, and all leaves are the same server's."""
    return ec.generate_private_key(ec.SECP256R1())


def mint_leaf(ca: Ca, key: ec.EllipticCurvePrivateKey, host: str, now_s: float) -> bytes:
    """A server certificate for `host` (a name or an address), its key and, where the CA is no
    root, the CA's own certificates: one PEM, as a TLS server loads it."""
    literal = literal_address(host)
    name = x509.DNSName(host) if literal is None else x509.IPAddress(ip_address(host))
    # The probe host answers under any name below its own, and one certificate is enough for them.
    below = [x509.DNSName(f"*.{host}")] if host == PROBE_HOST else []
    now = datetime.fromtimestamp(now_s, UTC)
    certificate = (
        x509.CertificateBuilder()
        # No common name: 64 characters are too few for a host, and nobody should read it.
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Toolbooth")]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(min(now + LEAF_LIFE, ca.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([name, *below]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issuer_identifier(ca.certificate), critical=False)
        .sign(ca.key, _hash_for(ca.key))
    )
    chain = b"" if ca.is_self_issued else ca.pem
    return certificate.public_bytes(serialization.Encoding.PEM) + chain + _private_pem(key)


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = _extension(issuer, x509.SubjectKeyIdentifier)
    if own is None:
        own = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _hash_for(key: SigningKey) -> hashes.SHA256 | None:
    has_own = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return None if has_own else hashes.SHA256()


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _name_constraints(constraints: Constraints) -> x509.NameConstraints:
    """Where no address is permitted all are excluded: a kind of name that the extension does not
    mention would be free."""
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in constraints.domains or ()]
    permitted += [x509.IPAddress(network) for network in constraints.networks or ()]
    excluded = [] if constraints.networks else [x509.IPAddress(all_) for all_ in _ALL_ADDRESSES]
    return x509.NameConstraints(permitted, excluded or None)


def _domains(subtrees: list[x509.GeneralName]) -> list[str]:
    return [name.value.lower() for name in subtrees if isinstance(name, x509.DNSName)]


def _networks(subtrees: list[x509.GeneralName]) -> list[IPv4Network | IPv6Network]:
    values = [name.value for name in subtrees if isinstance(name, x509.IPAddress)]
    return [value for value in values if isinstance(value, IPv4Network | IPv6Network)]


def _may_sign(certificate: x509.Certificate) -> bool:
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _private_pem(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
