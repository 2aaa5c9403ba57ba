"""A render process that has nothing to draw."""

import subprocess
import sys
from pathlib import Path

IDLE = """
import os, socket, sys, threading, time
from pathlib import Path
from twistcluster.jupyter import render
from twistcluster.storage import mappings
from twistcluster.storage.pool import Pool
from twistcluster.storage.reader import Reader

store = sys.argv[1]
mapped = lambda: f" {store}/" in Path("/proc/self/maps").read_text()
mappings._IDLE_SECONDS = mappings.LOOK_SECONDS = 0.1
ends = socket.socketpair()
name, _ = Pool(store).write([bytes(1_000_000)])
Reader(store).read(name)
Path(store, name.hex()).unlink()
assert mapped()
threading.Thread(target=render._watch, args=ends[:1], daemon=True).start()
end = time.monotonic() + 20
while mapped() and time.monotonic() < end:
    time.sleep(0.01)
print(mapped(), flush=True)
os._exit(0)
"""


def test_it_keeps_no_memory_of_a_file_that_is_gone_while_nothing_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", IDLE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "False\n", done.stderr
