import os
import signal
import subprocess
import sys

from tests.tools import until
from twistcluster.nodes.stopped import is_stopped


def test_a_process_that_is_stopped(tmp_path):
    # A program whose name looks like the end of its name, and a state.
    program = tmp_path / "a) T (b"
    program.symlink_to(sys.executable)
    child = subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not is_stopped(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        until(lambda: is_stopped(child.pid))
        os.kill(child.pid, signal.SIGCONT)
        until(lambda: not is_stopped(child.pid))
    finally:
        child.kill()
        child.communicate()
    assert not is_stopped(child.pid), "it is gone"
