"""`make soak`: faults by the thousand, on simulated clusters and, at the same time, on real processes and networks.

Every run has seeds of its own. The first failure ends it, with the seed.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIVE = "tests/live/test_kills.py"
NETWORKS = ["tests/live/test_network_load.py", "tests/live/test_networks.py::test_cables_that_are_out_for_a_minute"]
"""They take root, and iproute2."""
GRACE_S = 300.0
"""What runs when the time is over is finished within this."""


def main() -> int:
    """Run both; tell what was seen."""
    parser = argparse.ArgumentParser(description="Faults by the thousand.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default %(default)g)")
    parser.add_argument("--seed", type=int, help="of what is killed (another each time)")
    options = parser.parse_args()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell without job control started this in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    with tempfile.TemporaryDirectory() as folder:
        tally = Path(folder, "tally")
        tally.touch()
        surroundings = {
            **os.environ,
            "TWISTCLUSTER_SOAK_SECONDS": f"{options.seconds:g}",
            "TWISTCLUSTER_SOAK_SEED": str(seed),
            "TWISTCLUSTER_SOAK_TALLY": str(tally),
        }
        simulated = ["twistcluster.testing.soak", "--seconds", f"{options.seconds:g}"]
        live = [LIVE, *(NETWORKS if networks() else ())]
        pytest = ["pytest", "-q", "-x", "--no-header"]
        print(f"Simulated clusters and live ones (seed {seed}) for {options.seconds:g} s ...", flush=True)
        children = [
            subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=surroundings)
            for command in (simulated, *([*pytest, tests] for tests in live))
        ]
        failed = wait(children, time.monotonic() + options.seconds + GRACE_S)
        told(tally)
    if failed:
        print(f"make soak failed (see above). The kills once more: {Path(sys.argv[0]).name} --seed {seed}")
    return 1 if failed else 0


def networks() -> bool:
    """Whether hosts in network namespaces can be had; says so if not."""
    if os.geteuid() == 0 and shutil.which("ip"):
        return True
    print("Left out: hosts in network namespaces, which take root and the program `ip` (iproute2).")
    return False


def wait(children: list["subprocess.Popen[bytes]"], deadline: float) -> bool:
    """Until all have ended, or one has failed; returns whether one has."""
    while any(child.poll() is None for child in children):
        if any(child.poll() for child in children) or time.monotonic() > deadline:
            for child in children:
                end(child)
            return True
        time.sleep(0.1)
    return any(child.returncode for child in children)


def end(child: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C would: pytest then ends what its tests started."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        child.kill()
        child.wait()


def told(tally: Path) -> None:
    """What the live rounds wrote down."""
    lines = [json.loads(line) for line in tally.read_text().splitlines()]
    rounds = [each for each in lines if "kills" in each]
    kills: Counter[str] = Counter()
    stops: Counter[str] = Counter()
    for each in rounds:
        kills += Counter(each["kills"])
        stops += Counter(each["stops"])
    listed = ", ".join(f"{count} of a {kind}" for kind, count in kills.most_common())
    print(f"{kills.total()} kills and {stops.total()} stops of live processes in {len(rounds)} rounds: {listed}")
    if nets := [each for each in lines if "troubles" in each]:
        troubles = sum((Counter(each["troubles"]) for each in nets), Counter[str]())
        listed = ", ".join(f"{count} x {what}" for what, count in troubles.most_common())
        print(
            f"{sum(each['jobs'] for each in nets)} jobs on hosts in network namespaces in {len(nets)} rounds: {listed}"
        )


if __name__ == "__main__":
    sys.exit(main())
