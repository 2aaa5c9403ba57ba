"""Keys and certificates: how they are written, and what is read from those that others bring.

Owns: the kind of keys, roles and how a certificate names them, checks of what comes from outside. Must not know: files,
TLS connections, who gets a certificate (net/tls/authority.py).

Keys are ECDSA on P-256: every TLS 1.3 must know it (RFC 8446, 9.1), pyOpenSSL and OpenSSL take it without settings,
and OpenSSL's FIPS module has allowed it in every version, which isn't so for Ed25519. A signature takes 20 µs.
"""

import datetime as dt
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twistcluster.errors import AccessDenied

__all__ = [
    "PUBLIC_KEY_BYTES",
    "Peer",
    "Role",
    "canonical_public_key",
    "fingerprint_of",
    "make_key",
    "peer_in",
    "private_pem",
    "public_bytes",
    "read_certificate",
    "role_uri",
    "seconds",
    "serial_of",
]

Role: TypeAlias = Literal["scheduler", "client", "worker"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
PUBLIC_KEY_BYTES: Final = 256
"""A longer request is none: a P-256 key takes 91 bytes."""
CERTIFICATE_BYTES: Final = 8192
_SCHEME: Final = "twistcluster:"


class Peer(NamedTuple):
    """Who is at the other end, as its certificate says."""

    role: Role
    name: str
    serial: str
    """Of the certificate, in hex: what `twistcluster deny` takes."""
    cluster: str


# ---- keys ------------------------------------------------------------------------------------------------------------


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def public_bytes(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """The public key as SubjectPublicKeyInfo (DER): what is sent to ask for a certificate."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as it lies in a file: PKCS #8 in PEM, readable for whoever may read the file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """The public key that somebody sent.

    Raises:
        AccessDenied: it is none, or of another kind.
    """
    fault = AccessDenied("what came as a public key is none: a P-256 key as SubjectPublicKeyInfo in DER is expected")
    if len(data) > PUBLIC_KEY_BYTES:
        raise fault
    try:
        key = serialization.load_der_public_key(data)
    except Exception:
        raise fault from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise fault
    return key


def canonical_public_key(data: bytes) -> bytes:
    """The one form of the public key that somebody sent: a key can be written in several ways.

    Raises:
        AccessDenied: it is none, or of another kind.
    """
    return public_bytes(read_public_key(data))


# ---- certificates ----------------------------------------------------------------------------------------------------


def read_certificate(data: bytes) -> x509.Certificate:
    """The certificate (DER) that somebody sent.

    Raises:
        AccessDenied: it is none.
    """
    fault = AccessDenied("what came as a certificate is none: ask for another: `twistcluster invite NAME`")
    if len(data) > CERTIFICATE_BYTES:
        raise fault
    try:
        return x509.load_der_x509_certificate(data)
    except Exception:
        raise fault from None


def fingerprint_of(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's DER, 32 bytes."""
    return certificate.fingerprint(hashes.SHA256())


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number in hex."""
    return f"{certificate.serial_number:x}"


def seconds(time: dt.datetime) -> float:
    """Wall-clock seconds of one of a certificate's times."""
    return time.timestamp()


def role_uri(cluster: str, role: Role) -> str:
    """How a certificate says what its owner is."""
    return f"{_SCHEME}//{cluster}/{role}"


def common_name(name: x509.Name) -> str:
    """The one common name in it; empty if there is none, or there are several."""
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def peer_in(certificate: x509.Certificate) -> Peer:
    """Whom a certificate names: the role is taken from its one URI of ours, which must be exactly as we write it.

    It says nothing about who issued it: check the chain first.

    Raises:
        AccessDenied: it doesn't name one role in one cluster.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = list(names.get_values_for_type(x509.UniformResourceIdentifier))
        name = common_name(certificate.subject)
        serial = serial_of(certificate)
    except Exception:
        raise AccessDenied("the certificate names no role") from None
    ours = [uri for uri in uris if uri.strip().lower().startswith(_SCHEME)]
    if len(ours) != 1:
        raise AccessDenied(f"the certificate names {len(ours)} roles in clusters, not one")
    cluster, _, said = ours[0].removeprefix(f"{_SCHEME}//").partition("/")
    for role in ROLES:
        if said == role and cluster and ours[0] == role_uri(cluster, role):
            return Peer(role, name, serial, cluster)
    raise AccessDenied("the certificate names a role that there isn't")
