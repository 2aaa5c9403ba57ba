"""Many jobs, while cables are pulled, packets are lost and late, and processes killed: every result right and once, no hang.

`make soak` runs it: TWISTCLUSTER_SOAK_SECONDS says how long, TWISTCLUSTER_SOAK_TALLY is the path of a file that gets
a line for each round. TWISTCLUSTER_SOAK_SEED names the choices (not the moments, nor which packets are lost).
"""

import json
import os
import pathlib
import random
import time

import pytest

from tests.live.networks import Cluster, Network
from tests.live.troubles import Troubles, killed
from tests.tools import require, until

SECONDS = float(os.environ.get("TWISTCLUSTER_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("TWISTCLUSTER_SOAK_SEED") or (random.SystemRandom().randrange(10**6) if SECONDS else 7))
TALLY = os.environ.get("TWISTCLUSTER_SOAK_TALLY")
JOBS = 50
DEADLINE_S = 150.0
"""Of a round's jobs; a round takes a third of it."""
LONGEST_S = [6.0, 20.0]
"""For how long a cable is out at most, round by round."""
DELAY_MS = 30.0
"""Between one worker and all others, either way."""


class Round:
    """A network, a cluster and its jobs, and what goes wrong."""

    def __init__(self, folder, seed, longest_s):
        require("iptables")
        folder.mkdir()
        self.network = Network(folder, lost_after="3")
        self._seed = seed
        self._longest_s = longest_s
        self._folder = folder

    def run(self):
        self.cluster = Cluster(self.network, workers=3, delay_ms=DELAY_MS)
        self.troubles = Troubles(self.cluster, self._seed, self._longest_s)
        client = self._client(str(self._seed), str(JOBS), TWISTCLUSTER_TOKEN=self.cluster.token("client"))
        until(lambda: (self._folder / "begun").exists() or client.poll() is not None, 60.0, "the client")
        while client.poll() is None:
            if not self.troubles.go_on():
                (self._folder / "enough").touch()
                until(lambda: client.poll() is not None, DEADLINE_S + 30.0, "the client's end")
            time.sleep(0.02)
        self.had = self._said(client)
        killed(self.cluster.process)
        self.cluster.start_scheduler()
        self._said(self._client(word="later"))

    def _client(self, *more, word=None, **variables):
        words = [self.cluster.address, str(self._folder), *more, f"{DEADLINE_S:g}"]
        return self.cluster.laptop.start("-u", "-m", "tests.live.load", *([word] if word else []), *words, **variables)

    def _said(self, client):
        out, _ = client.communicate(timeout=DEADLINE_S + 30.0)
        assert client.returncode == 0 and out.startswith("all "), out
        return json.loads(out.removeprefix("all "))

    def told(self):
        return "\n".join(f"---- {host.folder.name}\n{host.log()}" for host in self.network.hosts)


@pytest.mark.skipif(not SECONDS, reason="its moments are the machine's own, and it takes a minute: `make soak` runs it")
@pytest.mark.slow
@pytest.mark.timeout(2 * DEADLINE_S + 120 + SECONDS)
def test_every_result_is_right_and_once_whatever_happens_to_the_network_and_the_processes(tmp_path):
    began, number = time.monotonic(), 0
    while number == 0 or time.monotonic() - began < SECONDS:
        one = Round(tmp_path / str(number), SEED + number, LONGEST_S[number % len(LONGEST_S)])
        print(f"seed {SEED + number}")
        try:
            one.run()
        except BaseException as error:
            error.add_note(f"seed {SEED + number}\n{one.told()}")
            raise
        finally:
            one.network.end()
        number += 1
        print(f"{time.monotonic() - began:.0f} s: {one.had}, through {dict(one.troubles.had)}")
        if TALLY:
            with pathlib.Path(TALLY).open("a") as file:
                file.write(json.dumps({"jobs": one.had["jobs"], "troubles": one.troubles.had}) + "\n")
