"""A real kernel, with everything that it says kept in order, also what comes after a cell ended."""

import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Ran:
    """What came of one cell, up to now: outputs are added as long as the kernel lives."""

    id: str
    kernel: "Kernel"
    reply: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.reply.get("status") == "ok"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [m for m in list(self.kernel.messages) if m["parent_header"].get("msg_id") == self.id]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [m["content"] for m in self.messages if m["msg_type"] in kinds]

    @property
    def stdout(self) -> str:
        return self._stream("stdout")

    @property
    def stderr(self) -> str:
        return self._stream("stderr")

    @property
    def error(self) -> str:
        """The traceback as the notebook shows it, or a UsageError's one line."""
        shown = [ESCAPES.sub("", "\n".join(content["traceback"])) for content in self.of("error")]
        return "\n".join(shown) or self.stderr

    @property
    def result(self) -> str:
        """The text of the cell's value."""
        return "".join(content["data"].get("text/plain", "") for content in self.of("execute_result"))

    @property
    def shown(self) -> str:
        """The text of what was displayed, with its updates."""
        kinds = ("display_data", "update_display_data", "execute_result")
        return "\n".join(content["data"].get("text/plain", "") for content in self.of(*kinds))

    def _stream(self, name: str) -> str:
        return "".join(content["text"] for content in self.of("stream") if content["name"] == name)


class Kernel:
    def __init__(self, folder: Path, *, allow_stdin: bool = True) -> None:
        self.allow_stdin = allow_stdin
        self.messages: list[dict[str, Any]] = []
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Not get_iopub_msg: it would make an event loop of this thread's own, and leave it open.
        socket, session = self.client.iopub_channel.socket, self.client.session
        while not self._stop.is_set():
            if socket.poll(100):
                _, parts = session.feed_identities(socket.recv_multipart())
                self.messages.append(session.deserialize(parts))

    def begin(self, code: str) -> Ran:
        """Send a cell; `finish` waits for it."""
        return Ran(self.client.execute(code, allow_stdin=self.allow_stdin, stop_on_error=False), self)

    def finish(self, ran: Ran, timeout: float = 60) -> Ran:
        deadline = time.monotonic() + timeout
        while not ran.reply:
            reply = self.client.get_shell_msg(timeout=max(0.1, deadline - time.monotonic()))
            if reply["parent_header"].get("msg_id") == ran.id:
                ran.reply = reply["content"]
        while not any(content["execution_state"] == "idle" for content in ran.of("status")):
            if time.monotonic() > deadline:
                pytest.fail(f"the kernel isn't idle after {timeout:g} s")
            time.sleep(0.005)
        return ran

    def run(self, code: str, timeout: float = 60) -> Ran:
        return self.finish(self.begin(code), timeout)

    def do(self, code: str, timeout: float = 60) -> Ran:
        """Run a cell that must not fail."""
        ran = self.run(code, timeout)
        assert ran.ok, f"{code}\n{ran.error}\n{ran.stdout}"
        return ran

    def value(self, expression: str) -> str:
        return self.do(expression).result

    def complete(self, code: str) -> dict[str, Any]:
        sent = self.client.complete(code, len(code))
        while True:
            reply = self.client.get_shell_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == sent:
                return reply["content"]

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def close(self, *, politely: bool = False) -> None:
        """Politely it takes a second, like a notebook's shutdown; else the kernel is killed."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._reader.join(5)
        if politely:
            self.client.shutdown()
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=not politely)
        self.manager.cleanup_resources()
