"""Hosts with addresses of their own: network namespaces at one bridge, made and removed by the test.

It takes root, and iproute2. Nothing of it touches the network of this machine.
"""

import contextlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import end_children
from tests.tools import require, until

_counter = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)


class Host:
    """A namespace with one address, and folders of its own for what programs leave."""

    def __init__(self, network: "Network", name: str, number: int, folder: Path) -> None:
        self.name = f"{network.name}-{name}"
        self.port = f"p{number}"
        self.address = f"10.77.0.{number}"
        self.network = network
        self.folder = folder / name
        self.folder.mkdir(mode=0o700)
        self.children: list[subprocess.Popen] = []
        ip("netns", "add", self.name)
        ip("link", "add", self.port, "netns", network.switch, "type", "veth", "peer", "name", "e0", "netns", self.name)
        ip("-n", network.switch, "link", "set", self.port, "master", "br0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "link", "set", "e0", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "e0")

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

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        """A Python program there."""
        places = {each: str(self.folder) for each in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "JUPYTER_RUNTIME_DIR")}
        with (self.folder / "log").open("ab") as log:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.name, sys.executable, *arguments],
                env={**os.environ, **places, "TWISTCLUSTER_LOST_AFTER": "4", **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def end(self) -> None:
        end_children(self.children)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", self.name)


class Network:
    """A bridge, and hosts at it."""

    def __init__(self, folder: Path) -> None:
        require("ip")
        if os.geteuid() != 0:
            pytest.skip("network namespaces take root")
        self.folder = folder
        self.name = f"tct{os.getpid():x}-{next(_counter)}"
        self.switch = f"{self.name}-switch"
        self.hosts: list[Host] = []
        try:
            ip("netns", "add", self.switch)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")

    def host(self, name: str) -> Host:
        host = Host(self, name, len(self.hosts) + 1, self.folder)
        self.hosts.append(host)
        return host

    def end(self) -> None:
        for host in self.hosts:
            host.heal()
        for host in self.hosts:
            host.end()
        ip("netns", "del", self.switch)


class Cluster:
    """A scheduler, workers and a client, each on a host of its own."""

    PORT = 8930

    def __init__(self, network: Network, workers: int = 2) -> None:
        self.network = network
        self.scheduler = network.host("scheduler")
        self.address = f"{self.scheduler.address}:{self.PORT}"
        self.process = self.scheduler.start(
            "-m", "twistcluster", "scheduler", "--name", "lab", "--listen", f"tls:{self.address}"
        )
        assert "is ready" in self.process.stdout.readline()
        self.workers = [self.worker(f"w{n}") for n in range(workers)]
        self.laptop = network.host("laptop")

    def token(self, role: str) -> str:
        asked = self.scheduler.start("-m", "twistcluster", "invite", "lab", "--role", role)
        return asked.communicate(timeout=30)[0].split("TWISTCLUSTER_TOKEN=")[1].split()[0]

    def worker(self, name: str) -> Host:
        host = self.network.host(name)
        host.start(
            "-m", "twistcluster", "worker", "--join", self.address, "--slots", "1", "--name", name,
            "--resources", f"{name}=1",
            TWISTCLUSTER_TOKEN=self.token("worker"),
        )  # fmt: skip
        return host

    def part(self, one: str, other: str) -> None:
        """Two workers can't reach each other any more: the way back is said to be closed."""
        hosts = {host.name.rpartition("-")[2]: host for host in self.workers}
        ip("-n", hosts[one].name, "route", "add", "unreachable", f"{hosts[other].address}/32")
        ip("-n", hosts[other].name, "route", "add", "unreachable", f"{hosts[one].address}/32")

    def log(self, name: str) -> str:
        """What programs of that host said."""
        return (self.network.folder / name / "log").read_text()

    def client(self, program: str) -> subprocess.Popen:
        """A program with `cluster` there."""
        begin = f"import time, uuid, twistcluster as tc\ncluster = tc.connect('tls://{self.address}')\n"
        return self.laptop.start("-u", "-c", begin + program, TWISTCLUSTER_TOKEN=self.token("client"))


def said(child: subprocess.Popen) -> str:
    """Its next line."""
    line = child.stdout.readline().strip()
    assert line or until(lambda: child.poll() is None), "it ended"
    return line
