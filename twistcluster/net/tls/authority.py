"""The CA of one cluster: whom it issues certificates for, and what they say.

Owns: the CA's file, what stands in certificates. Only the public key comes from whoever asks; role, name and times come
from here. Must not know: tokens, connections, who is denied.
"""

import datetime as dt
import ipaddress
import pathlib
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twistcluster.errors import AccessDenied
from twistcluster.net.places import check_name, private_folder
from twistcluster.net.tls.certificates import (
    ROLES,
    Role,
    common_name,
    fingerprint_of,
    make_key,
    private_pem,
    read_public_key,
    role_uri,
    seconds,
)
from twistcluster.net.tls.files import create_private, read_private

__all__ = ["CERTIFICATE_S", "SKEW_S", "Authority"]

DAY_S: Final = 24 * 3600.0
AUTHORITY_S: Final = 3653 * DAY_S
"""Ten years."""
CERTIFICATE_S: Final = 365 * DAY_S
SKEW_S: Final = 3600.0
"""A certificate begins so long before it is issued: clocks differ."""
FILE: Final = "authority.pem"
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_USES: Final[dict[Role, list[x509.ObjectIdentifier]]] = {
    "scheduler": [_SERVER],
    "client": [_CLIENT],
    "worker": [_CLIENT, _SERVER],  # workers fetch values from each other
}
_KEY_USAGE: Final = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
_AFRESH: Final = "stop the cluster, remove this folder and start it again; then every machine must join again"


class Authority:
    """The CA of one cluster: a key and its own certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate
        self.cluster = common_name(certificate.subject)
        self.ends_at = seconds(certificate.not_valid_after_utc)
        """Wall-clock seconds."""
        self.fingerprint = fingerprint_of(certificate)
        """SHA-256 of the certificate's DER, 32 bytes."""
        self.certificate = certificate.public_bytes(serialization.Encoding.DER)
        """DER."""

    def __repr__(self) -> str:
        return f"<Authority of {self.cluster!r} {self.fingerprint.hex()[:16]}>"

    @classmethod
    def open(cls, folder: pathlib.Path, cluster: str, now: float) -> "Authority":
        """The CA in this folder; if there is none, it is made. Of several processes that start at once all get the same.

        Args:
            folder: its own, made with mode 0700 if it isn't there; the folder above it must be.
            cluster: the cluster's name.
            now: wall-clock seconds.

        Raises:
            AccessDenied: it is another cluster's, has ended, is damaged, or others can read it.
            ValueError: a cluster can't have this name.
        """
        check_name(cluster)
        private_folder(folder, "name a folder of yours")
        path = folder / FILE
        data = read_private(path, _AFRESH)
        if data is None:
            made = _new(cluster, now)
            if create_private(path, _written(*made)):
                return cls(*made)
            data = read_private(path, _AFRESH) or b""
        found = _read(path, data)
        if found.cluster != cluster:
            raise AccessDenied(
                f"{path} is the CA of the cluster {found.cluster!r}, not of {cluster!r}: name another folder"
            )
        if now >= found.ends_at:
            raise AccessDenied(f"the CA in {path} ended: {_AFRESH}")
        return found

    def issue(self, public_key: bytes, role: Role, name: str, now: float, hosts: Iterable[str] = ()) -> bytes:
        """A certificate (DER) for a public key (SubjectPublicKeyInfo in DER), good for a year.

        Args:
            public_key: of whoever asks; nothing else is taken from them.
            role: what the owner is.
            name: of the owner, for people.
            now: wall-clock seconds.
            hosts: names and addresses to write into a scheduler's. Nobody here trusts them; other programs may want them.

        Raises:
            AccessDenied: the public key is none.
            ValueError: there is no such role, or nobody can have this name.
        """
        if role not in ROLES:
            raise ValueError(f"there is no role {role!r}: it is one of {', '.join(ROLES)}")
        key = read_public_key(public_key)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(role_uri(self.cluster, role))]
        ends_at = min(now + CERTIFICATE_S, self.ends_at)
        builder = (
            _begun(check_name(name), self._certificate.subject, key, now - SKEW_S, ends_at)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**_KEY_USAGE, "digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_USES[role]), critical=False)
            .add_extension(x509.SubjectAlternativeName([*names, *map(_host, hosts)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _new(cluster: str, now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = make_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cluster)])
    builder = (
        _begun(cluster, name, key.public_key(), now - SKEW_S, now + AUTHORITY_S)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{**_KEY_USAGE, "key_cert_sign": True, "crl_sign": True}), critical=True)
    )
    return key, builder.sign(key, hashes.SHA256())


def _written(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _begun(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, starts_at: float, ends_at: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(starts_at))
        .not_valid_after(_time(ends_at))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _time(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(at), dt.UTC)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _read(path: pathlib.Path, data: bytes) -> Authority:
    try:
        key = serialization.load_pem_private_key(data, password=None)
        certificate = x509.load_pem_x509_certificate(data)
        fits = certificate.public_key() == key.public_key() and common_name(certificate.subject)
    except Exception:
        fits = None
    if not fits or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AccessDenied(f"{path} isn't the CA of a cluster, or it is damaged: {_AFRESH}")
    return Authority(key, certificate)
