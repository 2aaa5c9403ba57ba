"""Hosts with addresses of their own: network namespaces at one bridge, made and removed by the test.

It takes root, and iproute2; iptables where packets are lost, and /dev/net/tun where they are late. Nothing of it touches
the network of this machine.
"""

import contextlib
import itertools
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import end_children, stores_folder
from tests.tools import missing, require, until

DELAYING = Path(__file__).with_name("delaying.py")
TUN = "/dev/net/tun"
START_S = 30.0

_counter = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)


class Host:
    """A namespace with one address, and folders of its own for what programs leave."""

    def __init__(self, network: "Network", name: str, number: int) -> None:
        self.name = f"{network.name}-{name}"
        self.port = f"p{number}"
        self.address = f"10.77.0.{number}"
        self.network = network
        self.folder = network.folder / name
        self.folder.mkdir(mode=0o700)
        self.stores = network.folders.enter_context(stores_folder())
        self.children: list[subprocess.Popen] = []

    def plug_in(self, delay_ms: float) -> None:
        """Make it, at the network's switch; packets come so much later, either way."""
        switch = self.network.switch
        ip("netns", "add", self.name)
        if delay_ms:
            self._line(delay_ms)
        else:
            ip("link", "add", self.port, "netns", switch, "type", "veth", "peer", "name", "e0", "netns", self.name)
        ip("-n", switch, "link", "set", self.port, "master", "br0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "link", "set", "e0", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "e0")

    def _line(self, delay_ms: float) -> None:
        """A cable that is long."""
        far = f"{self.port}-far"
        line = [sys.executable, str(DELAYING), self.port, far, f"{delay_ms:g}"]
        with (self.folder / "line").open("wb") as log:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.network.switch, *line],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.children.append(child)
        if first_line(child) != "ready":
            missing(f"needs {TUN}, which can't be used here: {(self.folder / 'line').read_text()[-300:]}")
        ip("-n", self.network.switch, "link", "set", far, "netns", self.name, "name", "e0")

    def move(self, number: int) -> None:
        """Another address."""
        ip("-n", self.name, "addr", "flush", "dev", "e0")
        self.address = f"10.77.0.{number}"
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "e0")

    def cut(self) -> None:
        """Pull its cable: nobody is told."""
        ip("-n", self.network.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        """Put it in again."""
        ip("-n", self.network.switch, "link", "set", self.port, "up")

    def lose(self, share: float) -> None:
        """Of the packets that come to it, so many are lost from now on; which ones is the kernel's choice."""
        rule = ["-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", f"{share:.3f}", "-j", "DROP"]
        try:
            self._iptables(*rule)
        except subprocess.CalledProcessError as error:
            missing(f"no packet can be lost here: {error.stderr.strip()}")

    def lose_none(self) -> None:
        """All arrive again."""
        self._iptables("-F", "INPUT")

    def _iptables(self, *words: str) -> None:
        ip("netns", "exec", self.name, require("iptables"), "-w", *words)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        """A Python program there."""
        places = {
            each: str(self.folder) for each in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR")
        }
        others = {"TWISTCLUSTER_SHM": str(self.stores), "TWISTCLUSTER_LOST_AFTER": self.network.lost_after}
        with (self.folder / "log").open("ab") as log:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.name, sys.executable, *arguments],
                env={**os.environ, **places, **others, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def log(self, lines: int = 30) -> str:
        """The last lines of what its programs said."""
        path = self.folder / "log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def end(self) -> None:
        for child in self.children:
            if child.stdin is not None:
                child.stdin.close()
        end_children(self.children)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", self.name)


class Network:
    """A bridge, and hosts at it, whose programs take each other for lost after so many seconds."""

    def __init__(self, folder: Path, lost_after: str = "4") -> None:
        require("ip")
        if os.geteuid() != 0:
            pytest.skip("network namespaces take root")
        self.folder = folder
        self.lost_after = lost_after
        self.folders = contextlib.ExitStack()
        self.name = f"tct{os.getpid():x}-{next(_counter)}"
        self.switch = f"{self.name}-switch"
        self.hosts: list[Host] = []
        try:
            ip("netns", "add", self.switch)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")

    def host(self, name: str, delay_ms: float = 0.0) -> Host:
        host = Host(self, name, len(self.hosts) + 1)
        self.hosts.append(host)
        host.plug_in(delay_ms)
        return host

    def end(self) -> None:
        for host in self.hosts:
            with contextlib.suppress(subprocess.CalledProcessError):
                host.heal()
        for host in self.hosts:
            host.end()
        ip("netns", "del", self.switch)
        self.folders.close()


class Cluster:
    """A scheduler, workers and a client, each on a host of its own.

    Args:
        network: of the hosts.
        workers: how many.
        delay_ms: how far the last of them is away.
    """

    PORT = 8930

    def __init__(self, network: Network, workers: int = 2, delay_ms: float = 0.0) -> None:
        self.network = network
        self.scheduler = network.host("scheduler")
        self.address = f"{self.scheduler.address}:{self.PORT}"
        self.start_scheduler()
        self.processes: dict[Host, subprocess.Popen] = {}
        """The workers'."""
        self.workers = [network.host(f"w{n}", delay_ms if n == workers - 1 else 0.0) for n in range(workers)]
        token = self.token("worker", workers)
        for host in self.workers:
            self.start_worker(host, TWISTCLUSTER_TOKEN=token)
        self.laptop = network.host("laptop")

    def start_scheduler(self) -> None:
        """It is there when this returns."""
        self.process = self.scheduler.start(
            "-m", "twistcluster", "scheduler", "--name", "lab", "--listen", f"tls:{self.address}"
        )
        assert "is ready" in first_line(self.process), self.scheduler.log()

    def start_worker(self, host: Host, **variables: str) -> None:
        """One that joined before needs no token."""
        name = host.folder.name
        self.processes[host] = host.start(
            "-m", "twistcluster", "worker", "--join", self.address, "--slots", "1", "--name", name,
            "--resources", f"{name}=1", **variables
        )  # fmt: skip

    def token(self, role: str, uses: int = 1) -> str:
        asked = self.scheduler.start("-m", "twistcluster", "invite", "lab", "--role", role, "--uses", str(uses))
        return asked.communicate(timeout=30)[0].split("TWISTCLUSTER_TOKEN=")[1].split()[0]

    def part(self, one: str, other: str) -> None:
        """Two workers can't reach each other any more: the way back is said to be closed."""
        hosts = {host.folder.name: host for host in self.workers}
        ip("-n", hosts[one].name, "route", "add", "unreachable", f"{hosts[other].address}/32")
        ip("-n", hosts[other].name, "route", "add", "unreachable", f"{hosts[one].address}/32")

    def client(self, program: str) -> subprocess.Popen:
        """A program with `cluster` there."""
        begin = f"import time, uuid, twistcluster as tc\ncluster = tc.connect('tls://{self.address}')\n"
        return self.laptop.start("-u", "-c", begin + program, TWISTCLUSTER_TOKEN=self.token("client"))


def said(child: subprocess.Popen) -> str:
    """Its next line."""
    line = child.stdout.readline().strip()
    assert line, f"it ended, with {child.wait(15)}"
    return line


def first_line(child: subprocess.Popen, seconds: float = START_S) -> str:
    """Its first line, or "" where it ended without one. (Only the first: what was read with it is in no file any more.)"""
    until(lambda: select.select([child.stdout], [], [], 0)[0], seconds, f"the first line of {child.args}")
    return child.stdout.readline().strip()
