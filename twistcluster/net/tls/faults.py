"""Why a TLS connection failed, for people.

Owns: what OpenSSL's errors and TLS's alerts mean here, and what to do next. Must not know: connections.

How a refusal reaches the other end (measured with OpenSSL 4.0; `recv` raises `SSL.Error` with the alert in it, and
Twisted passes that to `connectionLost`):

| why the server refuses | alert | `SSL.Error` ends with |
| --- | --- | --- |
| issued by another CA, or by itself | 48 | alert unknown ca |
| ended, or not begun | 45, 42 | alert certificate expired, alert bad certificate |
| chain holds, and we refuse it: denied, no role | 80 | alert internal error |
| not meant for that use | 43 | alert unsupported certificate |

pyOpenSSL can't choose the alert for the third line; nothing else here makes that alert. A client that refuses knows why
itself; the server then sees the client's alert.
"""

from typing import Final

from cryptography import x509
from OpenSSL import SSL

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.tls.certificates import common_name

__all__ = ["of_chain", "told"]

INVITE: Final = "`twistcluster invite NAME`"
_NOT_YET, _ENDED, _PURPOSE = 9, 10, 26  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _INVALID_PURPOSE
_TEXT_CHARACTERS: Final = 80

_BY_SERVER: Final = {
    "unknown ca": f"it belongs to another cluster, or the cluster was made anew: join with a new token: {INVITE}",
    "certificate expired": f"it has ended: join with a new token: {INVITE}",
    "bad certificate": "it hasn't begun yet, or it is damaged: compare the clocks of both machines",
    "unsupported certificate": "it isn't a client's or a worker's: join with a token for one",
    "internal error": f"it was denied (`twistcluster deny`): if that was a mistake, join with a new token: {INVITE}",
}
"""Alerts of a server, as whoever connected reads them."""
_BY_CLIENT: Final = {
    "unknown ca": "it is of another cluster, or has a token of another one",
    "certificate expired": "to its clock our certificate has ended",
    "bad certificate": "to its clock our certificate hasn't begun yet: compare the clocks of both machines",
    "unsupported certificate": "it expected another role here",
    "internal error": "it expected another role or cluster here",
}
"""Alerts of a client, as whoever listens reads them."""
_OTHER_LANGUAGE: Final = (
    "wrong version number",
    "unsupported protocol",
    "alert protocol version",
    "packet length too long",
    "record layer failure",
    "http request",
    "record overflow",
    "bad record type",
    "invalid record type",
)


def of_chain(error: int, certificate: x509.Certificate, peers: str) -> str:
    """What to say of a certificate whose chain OpenSSL found this error (X509_V_ERR_…) with."""
    if error == _ENDED:
        ended = certificate.not_valid_after_utc
        return (
            f"{peers} showed a certificate that ended on {ended:%Y-%m-%d at %H:%M} UTC: "
            f"a member joins with a new token ({INVITE}), a scheduler is started again; or a clock is wrong"
        )
    if error == _NOT_YET:
        begins = certificate.not_valid_before_utc
        return (
            f"{peers} showed a certificate that begins on {begins:%Y-%m-%d at %H:%M} UTC: "
            "compare the clocks of both machines"
        )
    if error == _PURPOSE:
        return f"{peers} showed a certificate that isn't meant for this end of a connection: check the address"
    issuer = ascii(_name(certificate))[:_TEXT_CHARACTERS]
    return (
        f"{peers} showed a certificate that this cluster's CA didn't issue (it names {issuer}; OpenSSL's error {error})"
    )


def told(error: BaseException, *, server: bool) -> AccessDenied | ClusterUnreachable:
    """What an error of OpenSSL, or the end of a connection, says to this side."""
    reason = _reason(error)
    if "alert " in reason and not reason.endswith("alert protocol version"):
        alert = reason.rpartition("alert ")[2]
        if server:
            return AccessDenied(f"the peer refused this end: {_BY_CLIENT.get(alert, f'alert {alert}')}")
        hint = _BY_SERVER.get(alert, f"alert {alert}: the log of the other end says more")
        return AccessDenied(f"the cluster didn't take this program's certificate: {hint}")
    if any(each in reason for each in _OTHER_LANGUAGE):
        return ClusterUnreachable("the other end doesn't speak TLS 1.3: check the address and the port")
    if reason:
        return ClusterUnreachable(f"the TLS connection failed: {reason[:_TEXT_CHARACTERS]}")
    if isinstance(error, SSL.Error):
        return ClusterUnreachable("the other end closed the connection")
    return ClusterUnreachable(f"the connection was lost: {str(error)[: 2 * _TEXT_CHARACTERS]}")


def _reason(error: BaseException) -> str:
    """The last of OpenSSL's reasons; empty if there is none."""
    try:
        return str(error.args[0][-1][-1]) if isinstance(error, SSL.Error) else ""
    except (IndexError, TypeError):
        return ""


def _name(certificate: x509.Certificate) -> str:
    try:
        return common_name(certificate.issuer)
    except Exception:
        return ""
