"""What one program shows to others: its private key, its certificate, and the CA that issued it.

Owns: the file they lie in, whether they fit together, when they end. Must not know: connections, how a certificate is
asked for.
"""

import pathlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from twistcluster.errors import AccessDenied
from twistcluster.net.places import private_folder
from twistcluster.net.tls.certificates import (
    fingerprint_of,
    peer_in,
    private_pem,
    public_bytes,
    read_certificate,
    seconds,
)
from twistcluster.net.tls.files import read_private, replace_private

__all__ = ["Identity"]

FILE: Final = "identity.pem"
RENEWED_AT: Final = 2 / 3
"""A certificate is renewed after this share of its life."""
_PEM: Final = serialization.Encoding.PEM
_AFRESH: Final = "remove it and join again with a new token: `twistcluster invite NAME`"


class Identity:
    """A private key, the certificate for it, and the certificate of the cluster's CA.

    Raises:
        AccessDenied: they don't belong together.
    """

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, authority: x509.Certificate
    ) -> None:
        self.key = key
        self.certificate = certificate
        self.authority = authority
        self.peer = peer_in(certificate)
        """Whom it names."""
        self.starts_at = seconds(certificate.not_valid_before_utc)
        self.ends_at = seconds(certificate.not_valid_after_utc)
        """Wall-clock seconds."""
        try:
            certificate.verify_directly_issued_by(authority)
            fits = certificate.public_key() == key.public_key()
        except Exception:
            fits = False
        if not fits:
            raise AccessDenied(f"a key, a certificate and a CA don't belong together: {_AFRESH}")

    def __repr__(self) -> str:
        return f"<Identity {self.role} {self.peer.name!r} of {self.cluster!r}, serial {self.serial}>"

    @classmethod
    def made(cls, key: ec.EllipticCurvePrivateKey, certificate: bytes, authority: bytes) -> "Identity":
        """Of a key and what came as an answer to a request for it: two certificates (DER).

        Raises:
            AccessDenied: they are none, or don't belong together.
        """
        return cls(key, read_certificate(certificate), read_certificate(authority))

    @classmethod
    def load(cls, folder: pathlib.Path, now: float) -> "Identity":
        """The one in this folder.

        Raises:
            AccessDenied: there is none, it has ended, is damaged, or others can read it.
        """
        path = folder / FILE
        data = read_private(path, _AFRESH)
        if data is None:
            raise AccessDenied(f"there is no certificate in {folder}: join with a token: `twistcluster invite NAME`")
        found = _read(path, data)
        if now >= found.ends_at:
            raise AccessDenied(
                f"the certificate in {path} ended on {found.certificate.not_valid_after_utc:%Y-%m-%d}: {_AFRESH}"
            )
        return found

    def save(self, folder: pathlib.Path) -> None:
        """Write it, in the place of one that may be there; the folder is made with mode 0700 if it isn't there.

        Raises:
            AccessDenied: the folder is somebody else's or open to others, or can't be written.
        """
        private_folder(folder, "name a folder of yours")
        certificates = self.certificate.public_bytes(_PEM) + self.authority.public_bytes(_PEM)
        replace_private(folder / FILE, private_pem(self.key) + certificates)

    @property
    def role(self) -> str:
        """What its owner is."""
        return self.peer.role

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self.peer.cluster

    @property
    def serial(self) -> str:
        """Of the certificate, in hex."""
        return self.peer.serial

    @property
    def fingerprint(self) -> bytes:
        """Of the CA."""
        return fingerprint_of(self.authority)

    @property
    def request(self) -> bytes:
        """The public key, as it is sent to have the certificate renewed."""
        return public_bytes(self.key)

    def due_for_renewal(self, now: float) -> bool:
        """Whether two thirds of its life are over."""
        return now >= self.starts_at + RENEWED_AT * (self.ends_at - self.starts_at)


def _read(path: pathlib.Path, data: bytes) -> Identity:
    try:
        key = serialization.load_pem_private_key(data, password=None)
        certificate, authority = x509.load_pem_x509_certificates(data)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return Identity(key, certificate, authority)
    except Exception:  # noqa: S110 (whatever is wrong with it, it is told below)
        pass
    raise AccessDenied(f"{path} isn't the certificate of a member of a cluster, or it is damaged: {_AFRESH}")
