"""Clusters on other machines: how this user's programs join them, and what a session is made with.

Owns: when a token is taken, and what is said of a cluster elsewhere. Must not know: certificates, links. TLS is imported
where it is used: it is an extra.
"""

from twisted.internet.defer import ensureDeferred

from twistcluster.client import bridge
from twistcluster.client.launch import Connection
from twistcluster.client.patience import answer_of
from twistcluster.net.addresses import SCHEME, Address, parse_address
from twistcluster.net.listening import require_tls
from twistcluster.net.members import Note, member_folder, read_note
from twistcluster.net.token import Token, take_token
from twistcluster.net.turn import Turn

__all__ = ["is_elsewhere", "join", "reach"]


def is_elsewhere(target: str) -> bool:
    """Whether this names a cluster by its address."""
    return target.startswith(SCHEME)


def reach(target: str) -> Connection:
    """The cluster at this address, that this user is a client of, or becomes one with the token in the environment.

    Raises:
        AccessDenied: this user isn't, and there is no token, or one that isn't taken.
        ClusterUnreachable: it has to join, and nobody answers there.
        ValueError: the address is none.
        TwistclusterError: TLS isn't installed; it says how it is.
    """
    address = parse_address(target)
    require_tls()
    from twistcluster.net.tls.joining import become_member  # here: it needs the extra

    token = take_token()
    turn = Turn(bridge.reactor())
    answer_of(bridge.reply_of(lambda: ensureDeferred(become_member(bridge.reactor(), turn, address, "client", token))))
    return _connection(address)


def join(address: Address, token: Token) -> Note:
    """Join the cluster at this address with a token; what is known of it then.

    Raises:
        AccessDenied, ClusterUnreachable, TwistclusterError: as `reach`.
    """
    require_tls()
    from twistcluster.net.tls import joining

    turn = Turn(bridge.reactor())
    joined = answer_of(bridge.reply_of(lambda: ensureDeferred(joining.join(bridge.reactor(), turn, address, token))))
    return Note(str(address), joined.role, joined.cluster, joined.ends_at)


def _connection(address: Address) -> Connection:
    note = read_note(member_folder(address, "client"))
    return Connection.from_fields(
        {
            "id": address.url,
            "name": "" if note is None else note.cluster,
            "address": str(address),
            "kind": "elsewhere",
        }
    )
