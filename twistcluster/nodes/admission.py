"""Who may come from other machines: a scheduler's port of TLS, and what it decides about certificates.

Owns: the CA, tokens, the deny list and what of them the journal holds; the scheduler's own certificate, and when
certificates are made anew. Must not know: what members do, what a scheduler decides about jobs. Needs the extra `tls`:
it is imported only where a cluster listens (nodes/listening.py).

- **A token's use is recorded before it is answered**, so that no crash makes two uses of one.
- **A denial holds at once**, and is answered when it is recorded.
- Nothing secret is logged or told: of a secret only its digest stays here.
"""

import pathlib
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from twistcluster.core.denials import Denials, serial_of_text
from twistcluster.core.rows import Change, TokenRow, TokensGone
from twistcluster.core.tokens import Refusal, Tokens, TokenState, id_of, is_token_id
from twistcluster.errors import AccessDenied, TwistclusterError
from twistcluster.net.addresses import Address
from twistcluster.net.channel import Channel, LinkOwner
from twistcluster.net.listening import Listen, addresses_of
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import canonical_public_key, make_key, peer_in, public_bytes, read_certificate
from twistcluster.net.tls.ends import ServerEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import listen_tls
from twistcluster.net.turn import Timer, Turn
from twistcluster.nodes.logging import log_event
from twistcluster.storage.journal import Journal
from twistcluster.wire.messages import (
    PROTOCOL,
    Answer,
    Declined,
    Deny,
    Hello,
    Invite,
    Invited,
    Join,
    Joined,
    Message,
    Refused,
    Renew,
    Renewed,
)

__all__ = ["Admission"]

LOOK_S: Final = 3600.0
"""Between two looks at what has come to its end."""
RENEWAL_PAUSE_S: Final = 3600.0
"""Between two renewals of a member on one link."""


class Admission:
    """Who may come to one cluster.

    Args:
        reactor: Twisted's.
        cluster: its name.
        listen: where to listen.
        folder: of its CA; the folder above it must be there.
        journal: remembers tokens and denials; None: they are forgotten with this process.
        wall: the wall's clock.

    Raises:
        AccessDenied: the CA can't be used.
        JournalDamaged: what was kept can't be read.
    """

    def __init__(
        self,
        reactor: Any,
        cluster: str,
        listen: Listen,
        folder: pathlib.Path,
        journal: Journal | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.turn_out: Callable[[], int] = lambda: 0
        """Closes the links of members that are denied (`is_denied`), and says how many; the node's."""
        self.listen = listen
        """The port is the real one once it listens."""
        self._reactor = reactor
        self._cluster = cluster
        self._journal = journal
        self._wall = wall
        self._authority = Authority.open(folder, cluster, wall())
        kept = None if journal is None else journal.load()
        states = () if kept is None else [msgspec.json.decode(row.state, type=TokenState) for row in kept.tokens()]
        self._tokens = Tokens(cluster, states)
        self._denials = Denials() if kept is None else Denials(kept.denials(), kept.renewals())
        self._identity = self._certified()
        self._end = ServerEnd(self._identity, self._denials.is_denied)
        self._renewals: weakref.WeakKeyDictionary[Channel, tuple[float, bytes, bytes]] = weakref.WeakKeyDictionary()
        """Of each link: when its peer was given a certificate, for which key, and the certificate."""
        self._port: Any = None
        self._timer: Timer | None = None

    # ---- the port --------------------------------------------------------------------------------------------------

    def open(self, owner: LinkOwner, turn: Turn) -> None:
        """Take connections.

        Raises:
            twisted.internet.error.CannotListenError: the port is taken, or the address isn't of this host.
        """
        host, port = self.listen
        self._port = listen_tls(self._reactor, host, port, owner, turn, self._end)
        self.listen = Listen(host, self._port.getHost().port)
        self._look()
        log_event("info", "other machines can come", {"listen": self.listen.text, "ca": self.fingerprint.hex()})

    def close(self) -> None:
        """Take none any more. Links stay."""
        if self._port is not None:
            self._port.stopListening()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the CA's certificate (DER)."""
        return self._authority.fingerprint

    @property
    def serial(self) -> str:
        """Of the scheduler's own certificate now."""
        return self._identity.serial

    def denied(self) -> list[str]:
        """The serials of all certificates that are shut out."""
        return self._denials.all()

    def family(self, serial: str) -> str:
        """The certificate that this one took the place of, or itself: of the same member."""
        return self._denials.first(serial)

    def is_denied(self, link: Channel) -> bool:
        """Whether this peer is shut out by now."""
        return link.peer is not None and self._denials.is_denied(link.peer.serial)

    def addresses(self) -> list[str]:
        """Where others may reach it, with the port."""
        return [str(Address(host, self.listen.port)) for host in addresses_of(self.listen)]

    # ---- joining ---------------------------------------------------------------------------------------------------

    def join(self, link: Channel, message: Join) -> None:
        """Somebody without a certificate brings a token."""
        if message.protocol != PROTOCOL:
            text = (
                f"the cluster {self._cluster!r} speaks protocol {PROTOCOL}, and who wants to join speaks "
                f"{message.protocol}: install the same twistcluster on both sides"
            )
            _refuse(link, "protocol", text)
            return
        try:
            secret, key = bytes.fromhex(message.secret), canonical_public_key(message.key)
        except ValueError:
            _refuse(link, "access", "what came as a token's secret is none: paste the whole line again")
            return
        except AccessDenied as error:
            _refuse(link, "access", str(error))
            return
        found = self._tokens.redeem(secret, key, self._wall())
        if isinstance(found, Refusal):
            _refuse(link, "access", found.text)
            return
        self._record([_row(found.state)], lambda error: self._granted(link, secret, key, error))

    def _granted(self, link: Channel, secret: bytes, key: bytes, error: TwistclusterError | None) -> None:
        """A token's use is recorded: make the certificate, unless this key was given one before."""
        now = self._wall()
        found = self._tokens.redeem(secret, key, now)
        if error is not None:
            self._unrecorded(link, error)
            return
        if isinstance(found, Refusal):  # taken back meanwhile
            _refuse(link, "access", found.text)
            return
        certificate = found.certificate or self._authority.issue(key, found.role, found.name, now)
        state = self._tokens.answered(secret, key, certificate)
        changes = [] if state is None else [_row(state)]
        self._record(changes, lambda error: self._joined(link, certificate, error))

    def _joined(self, link: Channel, certificate: bytes, error: TwistclusterError | None) -> None:
        if error is not None:
            self._unrecorded(link, error)
            return
        peer = peer_in(read_certificate(certificate))
        fields = {"name": peer.name, "role": peer.role, "serial": peer.serial, "where": link.where}
        log_event("info", "a member has joined", fields)
        link.send(Joined(certificate, self._authority.certificate))
        link.close("it has its certificate")

    def _unrecorded(self, link: Channel, error: TwistclusterError | None) -> None:
        log_event("error", "a token's use could not be recorded", {"error": error, "where": link.where})
        _refuse(link, "limit", "the cluster can't write down now that you join: try again; the token is still good")

    # ---- questions of members --------------------------------------------------------------------------------------

    def asked(self, link: Channel, hello: Hello, request: int, question: Invite | Deny | Renew) -> None:
        """A member asks, who said `hello`."""
        match question:
            case Invite():
                self._invite(link, request, question, _who(link, hello))
            case Deny():
                self._deny(link, request, question, _who(link, hello))
            case Renew():
                self._renew(link, question)

    def _invite(self, link: Channel, request: int, question: Invite, who: str) -> None:
        now = self._wall()
        name = id_of(question.digest, question.role)
        gone = self._tokens.forget(now)
        try:
            state = self._tokens.add(question.digest, question.role, question.uses, now + question.expires_s, name)
        except ValueError as error:
            link.send(Declined(request, "invalid", f"{error}."))
            return
        invited = Invited(self.fingerprint, self.addresses(), state.expires_at)
        fields = {"name": name, "uses": question.uses, "expires_s": question.expires_s, "by": who}
        log_event("info", "a token was made", fields)
        changes: list[Change] = [_row(state), *([TokensGone(gone)] if gone else [])]
        self._record(changes, lambda error: link.send(_answer(Answer(request, invited=invited), error)))

    def _deny(self, link: Channel, request: int, question: Deny, who: str) -> None:
        changes: list[Change]
        try:
            if is_token_id(question.what):
                changes = [*map(_row, self._tokens.take_back(question.what))]
                log_event("warning", "a token was taken back", {"name": question.what, "by": who})
            else:
                serial = serial_of_text(question.what)
                changes = [self._denials.deny(serial, self._wall())]
                log_event("warning", "a certificate was denied", {"serial": serial, "by": who})
        except ValueError as error:
            link.send(Declined(request, "invalid", f"{error}."))
            return
        closed = self.turn_out()
        self._record(changes, lambda error: link.send(_answer(Answer(request, closed=closed), error)))

    def _renew(self, link: Channel, question: Renew) -> None:
        peer, now = link.peer, self._wall()
        if peer is None or peer.role == "scheduler":
            return
        try:
            key = canonical_public_key(question.key)
        except AccessDenied as error:
            _refuse(link, "access", str(error))
            return
        at, known, certificate = self._renewals.get(link, (0.0, b"", b""))
        if now >= at + RENEWAL_PAUSE_S or not known:
            certificate = self._authority.issue(key, peer.role, peer.name, now)
        elif key != known:
            _refuse(link, "limit", f"a certificate was renewed less than {RENEWAL_PAUSE_S / 60:.0f} minutes ago: wait")
            return
        read = read_certificate(certificate)
        new = peer_in(read).serial
        try:
            row = self._denials.renewed(peer.serial, new, read.not_valid_after_utc.timestamp())
        except ValueError as error:
            _refuse(link, "limit", str(error))
            return
        self._renewals[link] = (now, key, certificate)
        log_event("info", "a certificate was renewed", {"name": peer.name, "serial": peer.serial, "new_serial": new})
        self._record([row], lambda error: self._renewed(link, certificate, error))

    def _renewed(self, link: Channel, certificate: bytes, error: TwistclusterError | None) -> None:
        if error is None:
            link.send(Renewed(certificate))
        else:  # it asks again
            log_event("error", "a renewal could not be recorded", {"error": error, "where": link.where})

    # ---- its own ---------------------------------------------------------------------------------------------------

    def _certified(self) -> Identity:
        """A new certificate for this scheduler."""
        key = make_key()
        hosts = addresses_of(self.listen)
        issued = self._authority.issue(public_bytes(key), "scheduler", self._cluster, self._wall(), hosts)
        return Identity.made(key, issued, self._authority.certificate)

    def _look(self) -> None:
        """An hour has passed."""
        now = self._wall()
        if self._identity.due_for_renewal(now):
            self._identity = self._certified()
            self._end.renew(self._identity)
            log_event("info", "the scheduler has a new certificate", {"serial": self.serial})
        gone = self._tokens.forget(now)
        changes = self._denials.forget(now)
        if gone:
            changes.append(TokensGone(gone))
        self._record(changes, _written)
        self._timer = self._reactor.callLater(LOOK_S, self._look)

    def _record(self, changes: Sequence[Change], done: Callable[[TwistclusterError | None], object]) -> None:
        """Have it written, then go on."""
        if self._journal is None or not changes:
            done(None)
        else:
            self._journal.record(changes, done)


def _written(_error: TwistclusterError | None) -> None:
    """What was forgotten need not be: it is forgotten again."""


def _row(state: TokenState) -> TokenRow:
    return TokenRow(state.digest, msgspec.json.encode(state))


def _who(link: Channel, hello: Hello) -> str:
    """Who asks: on another machine as the certificate says, for what a peer says of itself proves nothing."""
    if link.peer is not None:
        return f"{link.peer.name} at {link.where}, serial {link.peer.serial}"
    return f"{hello.name or hello.host}, process {hello.pid} on this machine"


def _refuse(link: Channel, code: Literal["protocol", "access", "limit"], text: str) -> None:
    """No, in words, here and there."""
    log_event("warning", "a peer was refused", {"why": text, "where": link.where})
    link.send(Refused(code, text))
    link.close(text)


def _answer(answer: Answer, error: TwistclusterError | None) -> Message:
    """The answer to a question, once what it says is recorded, or couldn't be."""
    if error is None:
        return answer
    text = f"It holds while this scheduler runs, but it could not be recorded: {error}"
    return Declined(answer.request, "full", text)
