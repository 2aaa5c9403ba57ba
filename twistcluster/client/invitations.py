"""Inviting other machines: a token is made here, and the cluster is told its digest only.

Owns: the token's secret until it is shown, and the line that is pasted. Must not know: how somebody joins.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from twistcluster.client import views
from twistcluster.core.denials import serial_of_text
from twistcluster.core.tokens import JOIN_ROLES, MOST_USES, JoinRole, digest_of, id_of, is_token_id
from twistcluster.net.token import PREFIX, SECRET_BYTES, VARIABLE, Token
from twistcluster.wire.messages import Answer, Invite, Invited, Question

__all__ = ["EXPIRES_S", "Invitation", "check_expiry", "denied_text", "invite", "what_to_deny"]

EXPIRES_S: Final = 600.0
DAY_S: Final = 24 * 3600.0
LONGEST_S: Final = 30 * DAY_S
"""A token that is good for longer is forgotten by whoever made it."""
SOON_S: Final = 12 * 3600.0
"""A time that comes sooner needs no date."""
_COMMANDS: Final[dict[JoinRole, str]] = {
    "worker": "twistcluster-worker --join {address}",
    "client": "twistcluster join {address}",
}


class Invitation:
    """One line for another machine. It holds a secret, so a notebook shows it where it isn't saved.

    Attributes:
        role: "worker" or "client".
        uses: how many may join with it.
        cluster: its name, or address.
        id: of its token, which is no secret: `cluster.deny(id)` takes it back.
        addresses: "host:port" at which the cluster may be reached, what people know first.
        expires_at: seconds since 1970.
    """

    def __init__(self, token: Token, invited: Invited, role: JoinRole, uses: int, cluster: str) -> None:
        self._token = token
        self.cluster = cluster
        self.role = role
        self.id = id_of(token.digest, role)
        self.uses = uses
        self.addresses = tuple(invited.addresses)
        self.expires_at = invited.expires_at

    @property
    def token(self) -> str:
        """What is put into TWISTCLUSTER_TOKEN: a secret."""
        return self._token.text

    @property
    def line(self) -> str:
        """What is pasted on the other machine."""
        return f"{VARIABLE}={self.token} {_COMMANDS[self.role].format(address=self.addresses[0])}"

    @property
    def about(self) -> str:
        """What is to be known beside the line."""
        soon = self.expires_at - time.time() < SOON_S
        until = time.strftime("%H:%M" if soon else "%Y-%m-%d %H:%M", time.localtime(self.expires_at))
        good = "once" if self.uses == 1 else f"{self.uses:,} times"
        lines = [f"Good {good}, until {until}. Whoever has this line can join."]
        if self.role == "client":
            lines.append(f'Then, there:  import twistcluster as tc; cluster = tc.connect("tls://{self.addresses[0]}")')
        if len(self.addresses) > 1:
            others = ", ".join(self.addresses[1:])
            lines.append(f"If {self.addresses[0]} can't be found there, take another address of this host: {others}")
        lines.append(f"Take it back:  twistcluster deny {self.cluster} {self.id}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{self.line}\n{self.about}"

    def show(self) -> None:
        """Show it: in a notebook where it isn't saved, else as text."""
        views.backend().show_secret("An invitation", self.line, self.about, self.expires_at)

    def _ipython_display_(self) -> None:
        self.show()


def invite(ask: Callable[[Question], Answer], role: Any, uses: int, expires_s: float, cluster: str) -> Invitation:
    """Have a cluster take whoever brings a new token; `cluster` is what it is found by.

    Raises:
        ValueError: nobody can join as that, so often, or for so long.
        TwistclusterError: the cluster takes nobody from other machines.
    """
    if role not in JOIN_ROLES:
        raise ValueError(f"role={role!r}: it is {' or '.join(map(repr, JOIN_ROLES))}")
    if not 1 <= uses <= MOST_USES:
        raise ValueError(f"uses={uses}: a token has 1 to {MOST_USES:,}")
    check_expiry(expires_s)
    secret = secrets.token_bytes(SECRET_BYTES)
    invited = ask(Invite(digest_of(secret), role, uses, expires_s)).invited
    assert invited is not None
    return Invitation(Token(invited.fingerprint, secret), invited, role, uses, cluster)


def check_expiry(expires_s: float) -> None:
    """Whether a line may be good for so long.

    Raises:
        ValueError: it may not.
    """
    if not 0 < expires_s <= LONGEST_S:
        raise ValueError(f"a line for joining is good for up to {LONGEST_S / DAY_S:.0f} days, not for {expires_s:g} s")


def what_to_deny(text: str) -> str:
    """What a person may deny, as it is sent: a certificate's serial, or a token's id.

    Raises:
        ValueError: it is neither.
    """
    asked = text.strip().lower()
    if asked.startswith(PREFIX):  # it isn't repeated here: it may still be good
        raise ValueError("that is a token itself; what names it is its id, which stands below the line that is pasted")
    return asked if is_token_id(asked) else serial_of_text(text)


def denied_text(what: str, closed: int) -> str:
    """What was done."""
    if is_token_id(what):
        return f"The token {what} is taken back. Who joined with it before stays: `twistcluster status` shows serials."
    if closed:
        return f"{what} is shut out; {closed} connection{'s were' if closed != 1 else ' was'} closed."
    return f"{what} is shut out. Nobody with it is connected now: compare it with `twistcluster status`."
