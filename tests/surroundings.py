"""A plugin: each test has folders of its own, and at the end nothing of ours is left on the machine.

Tests never see the user's clusters, kernels or IPython profile. What the tests started carries a mark in its
environment, so a process that left our process tree is found too.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from twistcluster.storage.folder import clear_dead

MARK = "TWISTCLUSTER_TEST_SESSION"
GRACE_SECONDS = 30.0
TEMPORARY = {Path(tempfile.gettempdir()), Path("/tmp")}
SHARED_MEMORY = Path("/dev/shm")
OTHERS = (".org.chromium", "sem.", "psm_", "joblib", "loky", "pym-")
"""What Chromium, multiprocessing and joblib leave in /dev/shm."""

FOLDERS = {"XDG_RUNTIME_DIR": "run", "JUPYTER_RUNTIME_DIR": "jupyter", "XDG_STATE_HOME": "state"}
SESSION_FOLDERS = {"IPYTHONDIR": "ipython", "JUPYTER_CONFIG_DIR": "jupyter-config", "JUPYTER_DATA_DIR": "jupyter-data"}


def make_folders(parent: str, names: dict[str, str]) -> dict[str, str]:
    made = {variable: Path(parent, name) for variable, name in names.items()}
    for path in made.values():
        path.mkdir(mode=0o700)
    return {variable: str(path) for variable, path in made.items()}


# ---- of the whole run -------------------------------------------------------------------------------------------------


class Watch:
    """Looks before the first test and after the last one: what is there only then was forgotten by a test.

    With pytest-xdist the process that hands the tests out looks; its workers, and what they start, inherit the mark.
    """

    def __init__(self) -> None:
        self.left: list[str] = []
        self._patch = pytest.MonkeyPatch()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        self._token = uuid.uuid4().hex
        self._before = lying_about()
        self._patch.setenv(MARK, self._token)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._patch.undo()
        clear_dead()  # of clusters that tests killed: otherwise the next one to start does it
        processes, paths = what_is_left(self._token, self._before)
        self.left = [f"process {process.pid}: {told(process)}" for process in processes] + sorted(map(str, paths))
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left:
            terminalreporter.section("tests left behind", red=True)
            terminalreporter.write("".join(f"  {each}\n" for each in self.left))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watch(), "what tests leave behind")


@pytest.fixture(scope="session", autouse=True)
def session_folders() -> Iterator[None]:
    """Folders in the place of the user's, for what outlives a test."""
    # Directly in /tmp and with short names: a socket's path has 107 bytes.
    parent = tempfile.mkdtemp(prefix="tct-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        for variable, path in make_folders(parent, FOLDERS | SESSION_FOLDERS).items():
            patch.setenv(variable, path)
        yield
    shutil.rmtree(parent, ignore_errors=True)


# ---- of one test --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_folders(session_folders: None) -> Iterator[None]:
    """Each test's own runtime, Jupyter and state folders."""
    parent = tempfile.mkdtemp(prefix="tct-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        for variable, path in make_folders(parent, FOLDERS).items():
            patch.setenv(variable, path)
        yield
    shutil.rmtree(parent, ignore_errors=True)


# ---- what is left -------------------------------------------------------------------------------------------------------


def lying_about() -> set[Path]:
    """Files and folders that could be ours, but stores of clusters that run: tests of ours may run beside these."""
    found = {path for folder in TEMPORARY for path in folder.glob("twistcluster-*")}
    if SHARED_MEMORY.is_dir():
        found |= {path for path in SHARED_MEMORY.iterdir() if not path.name.startswith(OTHERS)}
    return {path for path in found if not in_use(path)}


def in_use(path: Path) -> bool:
    """Whether a process that lives has the store in this folder. (One of ours is found among the processes.)"""
    try:
        with (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def marked_processes(token: str) -> list[psutil.Process]:
    mark = f"{MARK}={token}".encode()
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            # multiprocessing's and loky's trackers end with the process that they track for: this one.
            if mark in environment and "tracker" not in told(process) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def told(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "ended meanwhile"


def what_is_left(token: str, before: set[Path]) -> tuple[list[psutil.Process], set[Path]]:
    """Polls: what is just ending has a moment to do so."""
    deadline = time.monotonic() + GRACE_SECONDS
    while True:
        processes, paths = marked_processes(token), lying_about() - before
        if not (processes or paths) or time.monotonic() > deadline:
            return processes, paths
        time.sleep(0.05)
