"""Joining a cluster elsewhere: a token is brought, a certificate comes back and is kept.

Owns: the one question and its answer, and when joining isn't needed. Must not know: what the program does as a member.
"""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred

from twistcluster.errors import AccessDenied, ClusterUnreachable, ProtocolError, TwistclusterError, VersionMismatch
from twistcluster.net.addresses import Address
from twistcluster.net.channel import Channel
from twistcluster.net.link import Link
from twistcluster.net.tls.certificates import Role, public_bytes
from twistcluster.net.tls.ends import JoiningEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import connect_tls
from twistcluster.net.tls.membership import Membership, new_key
from twistcluster.net.token import Token
from twistcluster.net.turn import Turn
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import PROTOCOL, Join, Joined, Message, Refused

__all__ = ["ask_to_join", "become_member", "join"]

ANSWER_S: Final = 15.0
_ANSWERS: Final[Codec] = Codec(Joined | Refused)
_REFUSED: Final[dict[str, type[TwistclusterError]]] = {
    "protocol": VersionMismatch,
    "python": VersionMismatch,
    "access": AccessDenied,
    "limit": ClusterUnreachable,
    "malformed": ProtocolError,
}


async def become_member(reactor: Any, turn: Turn, address: Address, role: Role, token: Token | None) -> Membership:
    """See to it that this program is a member, and can show it: it is already, or it joins.

    A token is used only where no certificate is here that came for it: so it can stay where a service finds it.

    Raises:
        AccessDenied: nothing is here and there is no token; or the cluster isn't the token's, or doesn't take it.
        ClusterUnreachable: nobody answers there; the token is as good as before.
        VersionMismatch: the scheduler speaks another protocol.
    """
    member = Membership(address, role)
    if token is None or member.was_had_with(token):
        member.identity()
        return member
    joined = await join(reactor, turn, address, token, role)
    if joined.role != role:
        raise AccessDenied(
            f"the token was one for a {joined.role}, and this is a {role}: ask for another: "
            f"`twistcluster invite {joined.cluster} --role {role}`. (This user is a {joined.role} of the cluster "
            f"{joined.cluster!r} now.)"
        )
    return member


async def join(reactor: Any, turn: Turn, address: Address, token: Token, role: Role | None = None) -> Identity:
    """Join with a token, as what it says, and keep the certificate.

    Args:
        reactor: Twisted's.
        turn: shared with other links of this program.
        address: of the scheduler.
        token: what was pasted.
        role: as which another process of this user may have joined with it at the same time.

    Raises:
        AccessDenied, ClusterUnreachable, VersionMismatch: as `become_member`.
    """
    with new_key(address) as key:
        if role is not None and (member := Membership(address, role)).was_had_with(token):
            return member.identity()
        identity = await ask_to_join(reactor, turn, address, token, key)
        Membership(address, _role_of(identity)).save(identity, token)
    return identity


async def ask_to_join(
    reactor: Any, turn: Turn, address: Address, token: Token, key: ec.EllipticCurvePrivateKey
) -> Identity:
    """Say `Join`; returns what the answer makes of the key.

    Raises:
        AccessDenied, ClusterUnreachable, VersionMismatch: as `become_member`.
    """
    asking = _Asking()
    link = Link(asking, turn, reactor, incoming=_ANSWERS)
    await connect_tls(reactor, *address, link, JoiningEnd(token.fingerprint))
    link.send(Join(PROTOCOL, token.secret.hex(), public_bytes(key)))
    late = reactor.callLater(ANSWER_S, link.abort, f"it didn't answer within {ANSWER_S:g} s")
    try:
        answer = await asking.answer
    except TwistclusterError as error:
        raise type(error)(f"{address}: {error}") from None
    finally:
        if late.active():
            late.cancel()
        link.close("it was answered")
    identity = Identity.made(key, answer.certificate, answer.authority)
    if identity.fingerprint != token.fingerprint:
        raise AccessDenied(f"{address}: what came as a certificate isn't one of the token's cluster")
    _role_of(identity)
    return identity


def _role_of(identity: Identity) -> Role:
    role = identity.peer.role
    if role == "scheduler":
        raise AccessDenied(f"what came as a certificate is a {role}'s: nobody joins as that")
    return role


class _Asking:
    """The owner of a link on which one question is asked."""

    def __init__(self) -> None:
        self.answer: Deferred[Joined] = Deferred()
        self._link: Link | None = None

    def on_message(self, link: Channel, message: Message, buffers: list[Buffer]) -> None:
        """The answer."""
        if self.answer.called:
            raise ProtocolError("more than one answer")
        match message:
            case Joined():
                self.answer.callback(message)
            case Refused(code, text):
                self.answer.errback(_REFUSED[code](text))

    def on_lost(self, link: Channel, reason: str) -> None:
        """There is no answer."""
        if not self.answer.called:
            fault: TwistclusterError | None = getattr(link, "fault", None)
            known = fault if isinstance(fault, AccessDenied) else None
            text = f"the link ended before the answer came: {reason}. Try again: here the same token is still good"
            self.answer.errback(known or ClusterUnreachable(text))

    def on_paused(self, link: Channel) -> None:
        """So little is said that this doesn't happen."""

    def on_resumed(self, link: Channel) -> None:
        """See `on_paused`."""
