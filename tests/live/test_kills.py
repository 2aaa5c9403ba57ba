"""Every kind of process is killed and stopped at random moments, under load: each result is there once, and stays.

`make soak` runs these for longer: TWISTCLUSTER_SOAK_SECONDS says how long, TWISTCLUSTER_SOAK_TALLY is the path of a file
that gets a line for each round. TWISTCLUSTER_SOAK_SEED names the choices (not the moments, which are the machine's).
"""

import json
import os
import pathlib
import random
import time

import pytest

from tests.live.killing import Local, Round, Standalone

SECONDS = float(os.environ.get("TWISTCLUSTER_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("TWISTCLUSTER_SOAK_SEED") or (random.SystemRandom().randrange(10**6) if SECONDS else 7))
TALLY = os.environ.get("TWISTCLUSTER_SOAK_TALLY")
KILLS = 15
"""Of a round."""


@pytest.mark.slow
@pytest.mark.usefixtures("stores_apart")
@pytest.mark.timeout(120 + SECONDS)
@pytest.mark.parametrize("form", [Standalone, Local])
def test_whatever_is_killed_each_result_is_there_once_and_stays(form, tmp_path):
    processes, began, number = form(tmp_path), time.monotonic(), 0
    try:
        while number == 0 or time.monotonic() - began < SECONDS / 2:
            one = Round(processes, SEED + number, number)
            try:
                one.run(KILLS)
            except BaseException as error:
                error.add_note(f"seed {SEED + number}, after {dict(one.kills)}:\n{log_of(tmp_path)}")
                raise
            number += 1
            print(f"killed: {dict(one.kills)}, stopped: {dict(one.stops)}")
            tell(one)
    finally:
        processes.end()


def tell(one):
    if TALLY:
        with pathlib.Path(TALLY).open("a") as file:
            file.write(json.dumps({"kills": one.kills, "stops": one.stops}) + "\n")


def log_of(folder, lines=30):
    return "\n".join((folder / "log").read_text().splitlines()[-lines:])
