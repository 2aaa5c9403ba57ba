"""A real JupyterLab in a real browser: a server of its own, with its own settings, and Chromium driven by playwright.

    with Lab(folder, theme="dark") as lab:
        page = lab.open("quickstart.ipynb")
        page.run_cell(0)
        page.screenshot("first.png")

Ends the server, its kernels and the browser when left. Other suites use it too (the quickstart's).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nbformat
import pytest
from playwright.sync_api import Locator, Page, sync_playwright

__all__ = ["CHROMIUM", "Lab", "LabPage", "chromium_or_skip", "until", "write_notebook"]

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
NOTEBOOK = "window.jupyterapp.shell.currentWidget.content"
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "completer-extension/inline-completer": {"providers": {}},
}


def chromium_or_skip() -> None:
    """Skip where there is no Chromium; where CI=true that is a failure."""
    if not Path(CHROMIUM).exists():
        message = "needs Chromium (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook of code cells."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)


def until(condition: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout:g} s")
        time.sleep(0.05)
    return value


class LabPage:
    """One notebook, open in the browser."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def wait_for_kernel(self) -> None:
        """Until the kernel is there and idle."""
        ready = (
            "() => { const context = window.jupyterapp.shell.currentWidget?.sessionContext;"
            " const kernel = context?.session?.kernel;"
            " return !!kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle'; }"
        )
        until(lambda: self.page.evaluate(ready), "the kernel is idle", 90.0)

    def cell(self, number: int) -> Locator:
        """A cell, by its place in the notebook; it is in the page only while it is near the window."""
        return self.notebook.locator(f'.jp-Cell[data-windowed-list-index="{number}"]')

    def outputs(self, number: int) -> Locator:
        """A code cell's output area."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def show_cell(self, number: int) -> None:
        """Scroll a cell to the top of the window."""
        self.page.evaluate(f"() => {NOTEBOOK}.scrollToItem({number}, 'start')")
        self.cell(number).wait_for()

    def run_cell(self, number: int, *, wait: bool = True, timeout: float = 60.0) -> None:
        """Scroll to a cell and run it; with `wait`, until it returned."""
        self.show_cell(number)
        self.page.evaluate(f"() => {{ {NOTEBOOK}.activeCellIndex = {number}; }}")
        # In a call of its own: the command takes the cell that is active when the page has come to rest.
        self.page.evaluate("() => { window.testRun = window.jupyterapp.commands.execute('notebook:run-cell'); }")
        if wait:
            self.wait_for_cell(timeout)

    def wait_for_cell(self, timeout: float = 60.0) -> None:
        """Until the cell that `run_cell` began has returned."""
        ended = "() => Promise.race([window.testRun.then(() => true), new Promise((go) => setTimeout(go, 200, false))])"
        until(lambda: self.page.evaluate(ended), "the cell returned", timeout)

    def run_all(self) -> None:
        """The menu's "Run All Cells"; returns at once."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def save(self) -> None:
        """Save the notebook, and wait for it."""
        self.page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")

    def reload(self) -> None:
        """Reload the page, and wait for the notebook."""
        self.page.reload()
        self.cell(0).wait_for(timeout=90_000)

    def close(self) -> None:
        """Shut the notebook's kernel down, and close the window."""
        shutdown = "async () => { await window.jupyterapp.shell.currentWidget?.sessionContext?.shutdown(); }"
        self.page.evaluate(shutdown)
        self.page.context.close()

    def screenshot(self, path: Path | str) -> None:
        """What the browser shows."""
        self.page.screenshot(path=str(path))


class Lab:
    """A JupyterLab server and a browser.

    Args:
        folder: What the server serves; its settings, runtime files and logs go into a folder beside.
        theme: "light" or "dark".
    """

    def __init__(self, folder: Path, theme: str = "light", width: int = 1280, height: int = 960) -> None:
        self.folder = folder
        self.theme = theme
        self.size = {"width": width, "height": height}
        self.token = uuid.uuid4().hex
        self.home = folder.parent / f"{folder.name}-lab-{self.token[:6]}"
        self.url = ""
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        chromium_or_skip()
        environment = self._surroundings()
        self._log = (self.home / "server.log").open("wb")
        self._server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
                f"--ServerApp.root_dir={self.folder}", f"--IdentityProvider.token={self.token}",
                "--LabApp.expose_app_in_browser=True", "--LabApp.collaborative=False", "--ServerApp.quit_button=False",
            ],
            env=environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        try:
            self.url = until(self._started, "the JupyterLab server started", 90.0)
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        except BaseException:
            self._end_server()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._browser.close()
            self._playwright.stop()
        finally:
            self._end_server()

    def open(self, name: str, *, ratio: float = 1.0) -> LabPage:
        """Open a notebook of the folder in a new window, and wait for its kernel."""
        context = self._browser.new_context(viewport=self.size, device_scale_factor=ratio)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{self.url}lab/tree/{name}?token={self.token}&reset", timeout=90_000)
        lab_page = LabPage(page)
        lab_page.cell(0).wait_for(timeout=90_000)
        lab_page.wait_for_kernel()
        # The side bar takes a third of the window.
        page.evaluate("() => window.jupyterapp.shell.collapseLeft && window.jupyterapp.shell.collapseLeft()")
        return lab_page

    def _surroundings(self) -> dict[str, str]:
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        for name in folders.values():
            (self.home / name).mkdir(parents=True)
        themes = {
            "apputils-extension/themes": {"theme": "JupyterLab Dark" if self.theme == "dark" else "JupyterLab Light"}
        }
        for name, values in (SETTINGS | themes).items():
            path = self.home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER_"))}
        return clean | {variable: str(self.home / name) for variable, name in folders.items()}

    def _started(self) -> str:
        if self._server.poll() is not None:
            pytest.fail(f"JupyterLab ended:\n{(self.home / 'server.log').read_text()[-3000:]}")
        for path in (self.home / "runtime").glob("jpserver-*.json"):
            try:
                return str(json.loads(path.read_text())["url"])
            except ValueError:
                continue
        return ""

    def _end_server(self) -> None:
        # SIGTERM: the server shuts its kernels down; they are in sessions of their own.
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        self._log.close()
        shutil.rmtree(self.home, ignore_errors=True)
