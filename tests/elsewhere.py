"""A scheduler in a process of its own that listens on TLS, and hands out certificates by hand.

`python -m tests.elsewhere FOLDER PORT SECRET ROLE [LIFE_S]` prints its port once it listens. A file `deny` in FOLDER holds
serials that are shut out; what it was asked for goes to the file `asked`.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

from tests.tools import until
from twistcluster.core.vigil import LOST_AFTER_S
from twistcluster.net.addresses import Address
from twistcluster.net.tls import authority
from twistcluster.net.tls.authority import Authority
from twistcluster.net.tls.certificates import make_key, public_bytes
from twistcluster.net.tls.ends import ServerEnd
from twistcluster.net.tls.identity import Identity
from twistcluster.net.tls.links import listen_tls
from twistcluster.net.token import Token, new_token
from twistcluster.net.turn import Turn
from twistcluster.nodes.hosting import new_identity
from twistcluster.nodes.life import run_until_ended, stop_reactor
from twistcluster.nodes.logging import start_logging
from twistcluster.nodes.restoring import Troubles, open_journal, scheduler_of
from twistcluster.nodes.scheduler import SchedulerNode
from twistcluster.wire.messages import HandedOver, HandOver, Holds, Join, Joined, Renew, Renewed

NAME = "lab"


class Elsewhere:
    """That process, as a test has it."""

    def __init__(self, folder: pathlib.Path, life_s: float = 0.0) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        (folder / "tokens").touch()
        self.authority = Authority.open(folder / "authority", NAME, time.time())
        self.life_s = life_s
        self.port = 0
        self.process: subprocess.Popen | None = None
        self.roles: dict[str, str] = {}
        self.start()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    def token(self, role: str = "client") -> Token:
        token = new_token(self.authority.fingerprint, os.urandom)
        with (self.folder / "tokens").open("a") as file:
            file.write(json.dumps([token.secret.hex(), role]) + "\n")
        return token

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.elsewhere", str(self.folder), str(self.port), str(self.life_s)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        line = self.process.stdout.readline()
        assert line, self.log()
        self.port = int(line)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def asked(self, kind: str = "") -> list[list]:
        path = self.folder / "asked"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if not kind or line[0] == kind]

    def deny(self, serial: str) -> None:
        (self.folder / "deny").write_text(serial)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(15)
            self.process.stdout.close()
            self.process = None

    def end(self) -> None:
        self.kill(signal.SIGTERM)

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.log().count(text) >= times, 20, f"{text!r} in the scheduler's log")


class Node(SchedulerNode):
    """It answers `Join` and `Renew` itself."""

    folder: pathlib.Path
    authority: Authority
    life_s: float

    def on_message(self, link, message, buffers):
        if isinstance(message, Join):
            self._note("Join", message.secret)
            tokens = dict(map(json.loads, (self.folder / "tokens").read_text().splitlines()))
            if message.secret not in tokens:
                link.refuse("access", "this token isn't known here")
                return
            answers = self.folder / f"answer-{message.secret}-{message.key.hex()[-16:]}"
            if not answers.exists():
                if [*self.folder.glob(f"answer-{message.secret}-*")]:
                    link.refuse("access", "this token was used already, with another key")
                    return
                answers.write_bytes(self._certificate(message.key, tokens[message.secret]))
            if (self.folder / "lose").exists():
                (self.folder / "lose").unlink()
                link.abort("the test loses the answer")
                return
            link.send(Joined(answers.read_bytes(), self.authority.certificate))
            link.close("joined")
        elif isinstance(message, Renew):
            self._note("Renew", link.peer.serial)
            link.send(Renewed(self._certificate(message.key, link.peer.role, life_s=3600.0)))
        elif isinstance(message, HandOver):
            link.send(HandedOver())
        elif not isinstance(message, Holds):
            super().on_message(link, message, buffers)

    def _certificate(self, key, role, life_s=None):
        life_s = self.life_s if life_s is None else life_s
        authority.CERTIFICATE_S = life_s or authority.DAY_S
        return self.authority.issue(key, role, "box", time.time())

    def _note(self, *what):
        with (self.folder / "asked").open("a") as file:
            file.write(json.dumps(what) + "\n")


def main(folder: pathlib.Path, port: int, life_s: float) -> None:
    from twisted.internet import reactor  # noqa: TID251 (a process)

    start_logging()
    turn, troubles = Turn(reactor), Troubles()
    journals = folder / "journal"
    journals.mkdir(mode=0o700, exist_ok=True)
    journal = open_journal(reactor, str(journals / "journal.db"), troubles)
    machine = scheduler_of(new_identity(uuid.uuid4().hex[:8], NAME), journal, None, LOST_AFTER_S)
    node = troubles.node = Node(reactor, machine, turn, lambda _: stop_reactor(reactor), journal=journal)
    node.folder, node.life_s = folder, life_s
    node.authority = Authority.open(folder / "authority", NAME, time.time())
    key = make_key()
    mine = node.authority.issue(public_bytes(key), "scheduler", NAME, time.time())
    identity = Identity.made(key, mine, node.authority.certificate)

    def denied(serial: str) -> bool:
        return (folder / "deny").exists() and serial in (folder / "deny").read_text()

    def begin() -> None:
        listening = listen_tls(reactor, "127.0.0.1", port, node, turn, ServerEnd(identity, denied))
        print(listening.getHost().port, flush=True)

    def end():
        node.end("the test ends it")
        return node.all_gone()

    run_until_ended(reactor, begin, end)
    journal.close()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
