"""Whether a process is stopped, as the system tells it.

Owns: reading that. Must not know: whose process it is.
"""

import pathlib

__all__ = ["is_stopped"]


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped (SIGSTOP, or held by a debugger); False where the system doesn't say."""
    try:
        told = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # The name of the program, in parentheses, may hold anything.
    return told.rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
