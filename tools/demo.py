"""`make demo`: run the quickstart from end to end, and keep what a reader of it would have seen.

It runs in folders of its own, so that it neither meets nor stops a cluster of yours, and without your IPython profile.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbconvert
import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "01-quickstart.ipynb"
PAGE = ROOT / "build" / "quickstart.html"
LOG = ROOT / "build" / "quickstart.log"
"""What the kernel and its child processes say beside the notebook."""
CELL_SECONDS = 300


class Run(nbclient.NotebookClient):
    """Runs a notebook and remembers what each cell took."""

    def __init__(self, notebook: NotebookNode, folder: Path) -> None:
        super().__init__(
            notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        self.seconds: dict[int, float] = {}

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, *args: object, **kwargs: object
    ) -> NotebookNode:
        """One cell, timed."""
        began = time.monotonic()
        try:
            return await super().async_execute_cell(cell, cell_index, *args, **kwargs)
        finally:
            self.seconds[cell_index] = time.monotonic() - began


def main() -> int:
    """Run, export, tell."""
    print(f"Running {NOTEBOOK.relative_to(ROOT)} ...", flush=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    began = time.monotonic()
    failure = None
    with tempfile.TemporaryDirectory(prefix="tc-demo-", dir="/tmp") as folder:  # short: sockets live in it
        use_folders(Path(folder))
        run = Run(notebook, NOTEBOOK.parent)
        PAGE.parent.mkdir(exist_ok=True)
        with LOG.open("wb") as log:
            try:
                run.execute(stdout=log, stderr=log)
            except nbclient.exceptions.CellExecutionError as error:
                failure = error
    html, _ = nbconvert.HTMLExporter(embed_images=True).from_notebook_node(notebook)
    PAGE.write_text(html, encoding="utf-8")
    print_summary(notebook, run.seconds, time.monotonic() - began)
    if failure:
        print(f"A cell failed:\n\n{failure}", file=sys.stderr)
    print(f"\nThe notebook as it ran, with its final pictures: {PAGE}")
    print("make lab opens it in JupyterLab, and beside it two notebooks about pictures.")
    return 1 if failure else 0


def use_folders(parent: Path) -> None:
    """The kernel, and so the cluster, inherit these."""
    names = {
        "XDG_RUNTIME_DIR": "run",
        "JUPYTER_RUNTIME_DIR": "jupyter",
        "XDG_STATE_HOME": "state",
        "IPYTHONDIR": "ipython",
    }
    for variable, name in names.items():
        (parent / name).mkdir(mode=0o700)
        os.environ[variable] = str(parent / name)


def print_summary(notebook: NotebookNode, seconds: dict[int, float], total: float) -> None:
    """One line for each section, so that it fits on a screen."""
    sections: list[tuple[str, float, int]] = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and (heading := heading_of(cell.source)):
            sections.append((heading, 0.0, 0))
        elif cell.cell_type == "code":
            title, took, pictures = sections.pop() if sections else (NOTEBOOK.stem, 0.0, 0)
            sections.append((title, took + seconds.get(index, 0.0), pictures + pictures_of(cell)))
    print(f"\n  {'section':<58} {'seconds':>8} {'pictures':>9}")
    for title, took, pictures in sections:
        if not took:
            continue
        print(f"  {title[:58]:<58} {took:8.1f} {pictures or '':>9}")
    print(f"  {'all':<58} {total:8.1f} {sum(section[2] for section in sections):9}")


def heading_of(source: str) -> str:
    """The first heading of a markdown cell."""
    return next((line.lstrip("# ") for line in source.splitlines() if line.startswith("#")), "")


def pictures_of(cell: NotebookNode) -> int:
    """How many of a cell's outputs hold a picture."""
    kinds = ("image/png", "image/jpeg", "image/svg+xml")
    return sum(any(kind in output.get("data", {}) for kind in kinds) for output in cell.outputs)


if __name__ == "__main__":
    sys.exit(main())
