"""The two ends of a TLS connection: what each demands of the other, and what it learned of it.

Owns: TLS 1.3 and nothing older, mutual authentication, the check of roles, the deny list, why somebody was refused.
Must not know: sockets, links, messages; who may say what.

- **A chain alone proves little**: a worker's certificate has the same issuer as the scheduler's. So each end reads the
  role in the certificate (net/tls/certificates.py), and hostnames count for nothing.
- **Nothing is resumed.** The scheduler gives no tickets and keeps no sessions, so each connection shows its certificate
  anew, and one that was denied stays out.
- **A renewed certificate** is a new context: connections that are open keep theirs.
- **Whom an end judged** is known once the handshake is done; before, nobody has shown to have the key.
- **Connected isn't accepted**: in TLS 1.3 a client is done with its handshake before the server has seen its
  certificate. A refusal comes later, as an alert, where data would come (net/tls/faults.py says what it means).
"""

import weakref
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.tls import faults
from twistcluster.net.tls.certificates import Peer, Role, common_name, fingerprint_of, peer_in
from twistcluster.net.tls.identity import Identity

__all__ = ["ClientEnd", "JoiningEnd", "ServerEnd"]

SELF_SIGNED_IN_CHAIN: Final = 19  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: the root isn't one that OpenSSL was told of
_log = Logger()


class _End:
    """What all ends have in common. A subclass says whom it accepts."""

    peers: str
    """The other end, for texts."""
    server = False

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[SSL.Connection, Peer] = weakref.WeakKeyDictionary()
        self._faults: weakref.WeakKeyDictionary[SSL.Connection, str] = weakref.WeakKeyDictionary()

    def peer_of(self, connection: SSL.Connection) -> Peer | None:
        """Who is at the other end; None: it showed no certificate, or the handshake isn't done.

        Args:
            connection: `transport.getHandle()`.
        """
        peer = self._known.get(connection)
        return peer if peer is not None and connection.get_peer_finished() is not None else None

    def explain(self, connection: SSL.Connection, error: BaseException) -> AccessDenied | ClusterUnreachable:
        """Why a connection was lost, for a log or for whoever connected.

        Args:
            connection: `transport.getHandle()`; in `connectionLost` it is still there.
            error: the value of `connectionLost`'s reason.
        """
        if fault := self._faults.get(connection):
            return AccessDenied(fault)
        return faults.told(error, server=self.server)

    def _context(self, identity: Identity | None) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD if self.server else SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # Without FAIL_IF_NO_PEER_CERT a server lets whoever has no certificate through: to say `Join`.
        context.set_verify(SSL.VERIFY_PEER, self._judge)
        if identity is not None:
            context.use_certificate(identity.certificate)
            context.add_extra_chain_cert(identity.authority)  # a joiner knows its fingerprint only
            context.use_privatekey(identity.key)
            store = context.get_cert_store()
            if store is None:
                raise RuntimeError("OpenSSL made a context without a store")
            store.add_cert(crypto.X509.from_cryptography(identity.authority))
        return context

    def _judge(self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """OpenSSL asks for each certificate of a chain, the root first. What is wrong is kept: it tells only "failed"."""
        try:
            certificate = shown.to_cryptography()
            if not self._chain_holds(connection, certificate, error, ok):
                raise AccessDenied(faults.of_chain(error, certificate, self.peers))  # noqa: TRY301
            if depth == 0:
                self._known[connection] = self._accepted(connection, certificate)
        except AccessDenied as denied:
            self._faults.setdefault(connection, str(denied))
        except Exception:
            _log.failure("a certificate could not be checked")
            self._faults.setdefault(connection, f"{self.peers} showed a certificate that could not be checked")
        else:
            return True
        self._known.pop(connection, None)
        return False

    def _chain_holds(self, connection: SSL.Connection, certificate: x509.Certificate, error: int, ok: int) -> bool:
        return bool(ok) and not error

    def _accepted(self, connection: SSL.Connection, certificate: x509.Certificate) -> Peer:
        """Whom a certificate names whose chain holds.

        Raises:
            AccessDenied: not whom this end talks to.
        """
        raise NotImplementedError


@implementer(IOpenSSLServerConnectionCreator)
class ServerEnd(_End):
    """The end that listens: a scheduler's, or a worker's that others fetch values from.

    A peer without a certificate gets through, and `peer_of` knows nobody: it may only say `Join`. A peer with a
    certificate that isn't taken doesn't: another cluster's, one that ended, a denied one.

    Args:
        identity: of this program.
        is_denied: whether the certificate with this serial (hex) is shut out; asked for each connection.
    """

    peers = "the peer"
    server = True

    def __init__(self, identity: Identity, is_denied: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_denied = is_denied
        self.renew(identity)

    def renew(self, identity: Identity) -> None:
        """Show this certificate from the next connection on."""
        self._cluster = identity.cluster
        self._current = self._context(identity)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803 (Twisted's names)
        """For Twisted."""
        return SSL.Connection(self._current, None)

    def _accepted(self, connection: SSL.Connection, certificate: x509.Certificate) -> Peer:
        peer = _of_cluster(certificate, self._cluster, self.peers)
        if self._is_denied(peer.serial):
            raise AccessDenied(
                f"{self.peers} showed the certificate of the {peer.role} {peer.name!r} with the serial {peer.serial}, "
                "which was denied"
            )
        return peer


@implementer(IOpenSSLClientConnectionCreator)
class ClientEnd(_End):
    """The end of a member that connects. It talks to the one role of its own cluster only, whatever the host's name.

    Args:
        identity: of this program.
        role: that must be at the other end: "worker" for whoever fetches a value from one.
    """

    def __init__(self, identity: Identity, role: Role = "scheduler") -> None:
        super().__init__()
        self.peers = f"what listens there for a {role}" if role != "scheduler" else "what listens there"
        self._role = role
        self.renew(identity)

    def renew(self, identity: Identity) -> None:
        """Show this certificate from the next connection on."""
        self._cluster = identity.cluster
        self._current = self._context(identity)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803 (Twisted's names)
        """For Twisted."""
        return SSL.Connection(self._current, None)

    def _accepted(self, connection: SSL.Connection, certificate: x509.Certificate) -> Peer:
        return _with_role(_of_cluster(certificate, self._cluster, self.peers), self._role, self.peers)


@implementer(IOpenSSLClientConnectionCreator)
class JoiningEnd(_End):
    """The end of a program that has a token, and no certificate yet.

    It talks to a scheduler only whose certificate was issued, directly, by the CA with the token's fingerprint. No
    byte of what it has to say leaves before that is known.

    Args:
        fingerprint: SHA-256 of the CA's certificate (DER), from the token.
    """

    peers = "what listens there"

    def __init__(self, fingerprint: bytes) -> None:
        super().__init__()
        self._fingerprint = fingerprint
        self._roots: weakref.WeakKeyDictionary[SSL.Connection, x509.Certificate] = weakref.WeakKeyDictionary()
        self._current = self._context(None)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N802, N803 (Twisted's names)
        """For Twisted."""
        return SSL.Connection(self._current, None)

    def authority_of(self, connection: SSL.Connection) -> x509.Certificate | None:
        """The CA's certificate, once `peer_of` knows somebody: what an `Identity` is made with."""
        return self._roots.get(connection) if self.peer_of(connection) is not None else None

    def _chain_holds(self, connection: SSL.Connection, certificate: x509.Certificate, error: int, ok: int) -> bool:
        if connection in self._roots:
            return bool(ok) and not error
        # The first that OpenSSL asks about. Having no store it can't know the root: this is what the fingerprint is for.
        if error == SELF_SIGNED_IN_CHAIN and fingerprint_of(certificate) == self._fingerprint:
            self._roots[connection] = certificate
            return True
        return False

    def _accepted(self, connection: SSL.Connection, certificate: x509.Certificate) -> Peer:
        root = self._roots[connection]
        try:
            certificate.verify_directly_issued_by(root)
        except Exception:  # so it doesn't rest on how OpenSSL goes on after an error that was forgiven
            raise AccessDenied(f"{self.peers} showed a certificate that the token's CA didn't issue") from None
        return _with_role(_of_cluster(certificate, common_name(root.subject), self.peers), "scheduler", self.peers)


def _of_cluster(certificate: x509.Certificate, cluster: str, peers: str) -> Peer:
    try:
        peer = peer_in(certificate)
    except AccessDenied as error:
        raise AccessDenied(f"{peers} was refused: {error}") from None
    if peer.cluster != cluster:
        raise AccessDenied(f"{peers} showed a certificate of the cluster {peer.cluster!r}, not of {cluster!r}")
    return peer


def _with_role(peer: Peer, role: Role, peers: str) -> Peer:
    if peer.role != role:
        raise AccessDenied(
            f"{peers} showed the certificate of a {peer.role} ({peer.name!r}, serial {peer.serial}), not of a {role} of "
            f"the cluster {peer.cluster!r}: check the address, and that nobody poses as your {role}"
        )
    return peer
