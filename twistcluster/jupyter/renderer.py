"""The kernel's end of the render process: starting it, the link to it, its end.

Owns: the child process and the bytes in both directions. Never blocks: a selector tells when to call `read` and
`write`. Must not know: views, jobs.
"""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence

from twistcluster.errors import ProtocolError
from twistcluster.jupyter.render_messages import RenderToKernel, Surroundings
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer, FrameDecoder
from twistcluster.wire.limits import FRAME_BYTES
from twistcluster.wire.messages import Message

__all__ = ["Renderer"]

READ_BYTES = 1 << 18
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Renderer:
    """A render process and the link to it."""

    def __init__(self) -> None:
        self.link, theirs = socket.socketpair()
        self.link.setblocking(False)
        with theirs:
            self.process = subprocess.Popen(
                # -P: files beside the notebook must not shadow the standard library's while it starts.
                [sys.executable, "-P", "-m", "twistcluster.jupyter.render", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                # Jupyter signals the kernel's whole process group, at each interrupt and at shutdown.
                start_new_session=True,
            )
        self._codec = Codec(RenderToKernel)
        self._decoder = FrameDecoder(FRAME_BYTES)
        self._outgoing: deque[memoryview] = deque()
        self._surroundings: Surroundings | None = None
        self.known: set[bytes] = set()
        """Digests of the definitions that it has."""

    @property
    def pending(self) -> bool:
        """Whether bytes wait to be written."""
        return bool(self._outgoing)

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Queue a message."""
        self._outgoing.extend(memoryview(piece).cast("B") for piece in self._codec.encode(message, buffers))

    def surround(self) -> None:
        """Tell it where this process imports from, if that changed."""
        try:
            folder = os.getcwd()  # noqa: PTH109 - a removed folder makes both forms raise, this one needs no object
        except OSError:
            folder = "/"
        now = Surroundings(folder, list(sys.path))
        if now != self._surroundings:
            self._surroundings = now
            self.send(now)

    def write(self) -> bool:
        """Write what the link takes now; False if it is broken."""
        try:
            while self._outgoing:
                piece = self._outgoing[0]
                sent = self.link.send(piece)
                if sent < len(piece):
                    self._outgoing[0] = piece[sent:]
                else:
                    self._outgoing.popleft()
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def read(self) -> list[tuple[Message, list[Buffer]]] | None:
        """The messages that arrived; None if the process is gone."""
        try:
            data = self.link.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            return [self._codec.decode(frame) for frame in self._decoder.feed(data)]
        except ProtocolError:
            # Something in it wrote to the link: the process is not to be trusted any more.
            return None

    def how_it_ended(self) -> str:
        """In words: "was killed by SIGSEGV", "ended with code 3"."""
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "stopped answering"
        if code < 0:
            import signal

            try:
                return f"was killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"was killed by signal {-code}"
        return f"ended with code {code}"

    def close(self) -> None:
        """End the process."""
        self.link.close()
        self._outgoing.clear()
        self.process.kill()
        self.process.wait()


def _environment() -> dict[str, str]:
    """The kernel's environment without what belongs to the kernel alone."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "PYDEVD_"))}
    return clean | {"MPLBACKEND": "Agg"} | dict.fromkeys(ONE_THREAD, "1")
