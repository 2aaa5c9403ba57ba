"""What OpenSSL's errors mean to people."""

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost

from twistcluster.errors import AccessDenied, ClusterUnreachable
from twistcluster.net.tls.faults import told


def error(reason: str) -> SSL.Error:
    return SSL.Error([("SSL routines", "", reason)])


@pytest.mark.parametrize(
    ("raised", "server", "kind", "words"),
    [
        # OpenSSL's versions write alerts in several ways.
        (error("tlsv1 alert unknown ca"), False, AccessDenied, "it belongs to another cluster"),
        (error("sslv3 alert certificate expired"), False, AccessDenied, "it has ended: join with a new token"),
        (error("tls alert certificate expired"), True, AccessDenied, "our certificate has ended"),
        (error("tlsv13 alert strange"), False, AccessDenied, "alert strange: the log of the other end says more"),
        (error("tlsv13 alert strange"), True, AccessDenied, "the peer refused this end: alert strange"),
        (error("tlsv1 alert protocol version"), False, ClusterUnreachable, "doesn't speak TLS 1.3"),
        (error("wrong version number"), False, ClusterUnreachable, "check the address and the port"),
        (error("strange" * 99), True, ClusterUnreachable, "the TLS connection failed: strange"),
        (SSL.Error([]), False, ClusterUnreachable, "the other end closed the connection"),
        (SSL.Error(), False, ClusterUnreachable, "the other end closed the connection"),
        (SSL.SysCallError(-1, "Unexpected EOF"), False, ClusterUnreachable, "the other end closed the connection"),
        (ConnectionLost(), False, ClusterUnreachable, "the connection was lost"),
    ],
)
def test_what_an_error_says(raised, server, kind, words):
    fault = told(raised, server=server)
    assert type(fault) is kind and words in str(fault) and len(str(fault)) < 250
