"""What somebody does in the first five minutes, in real kernels: mistakes, interrupts, edits, a second notebook."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.jupyter.kernel import Kernel, Ran
from tests.tools import until

NEXT = re.compile(r"%%?cluster \w+|cluster\.job\(|\.cancel\(\)|\.retry\(\)|%cluster help")


def is_a_message(text: str) -> str:
    """At most five lines, and it names the next command."""
    text = text.strip()
    assert text
    assert len(text.splitlines()) <= 5, text
    assert NEXT.search(text), text
    assert "Traceback" not in text
    return text


class Notebook:
    """Cells that succeeded are kept, to be run again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.kernel = Kernel(folder)
        self.cells: list[str] = []
        self.closed = False

    def cell(self, code: str) -> Ran:
        self.cells.append(code)
        return self.kernel.do(code)

    def close(self) -> None:
        self.kernel.close(politely=True)
        self.closed = True

    def value(self, expression: str) -> str:
        return self.kernel.value(expression)

    def mistake(self, code: str) -> str:
        ran = self.kernel.run(code)
        assert not ran.ok
        return is_a_message(ran.error)

    def interrupted(self, code: str) -> Ran:
        ran = self.kernel.begin(f"print('under way')\n{code}")
        until(lambda: "under way" in ran.stdout and written_by_items(self.folder), 20, "cell and job to be under way")
        self.kernel.interrupt()
        ran = self.kernel.finish(ran, 20)
        assert not ran.ok
        return ran


@pytest.fixture
def open_notebook(tmp_path):
    opened = []

    def open_one(name):
        opened.append(Notebook(tmp_path / name))
        return opened[-1]

    yield open_one
    for notebook in opened:
        if not notebook.closed:
            notebook.kernel.run("%cluster stop --force")
            notebook.close()


def written_by_items(folder: Path) -> list[int]:
    log = folder / "ran.txt"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


SLOW = """
import time
def slow(x):
    with open({log!r}, "a") as log:
        log.write(f"{{x}}\\n")
    time.sleep(0.1)
    return x
"""


def each_once(notebook: Notebook, job: str, count: int) -> None:
    assert notebook.value(f"{job}.results() == list(range({count}))") == "True"
    assert Counter(written_by_items(notebook.folder)) == Counter(range(count))
    (notebook.folder / "ran.txt").unlink()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_first_five_minutes(open_notebook):
    first = open_notebook("first")

    first.cell("%load_ext twistcluster")
    assert "'default'" in first.cell("%cluster start -n 2").stdout

    # A typo in a magic.
    assert "%cluster status" in first.mistake("%cluster statsu")
    assert "%cluster map abs(x) for x in range(3)" in first.mistake("%cluster mpa abs(x) for x in range(3)")
    assert "--name" in first.mistake("%cluster map --nmae a abs(x) for x in range(3)")

    # An exception in item 17.
    first.cell("def inverse(x):\n    return 1 / (x - 17)")
    failing = first.cell("job = %cluster map inverse(x) for x in range(40)")
    until(lambda: "17" in failing.shown, 20, "the error to be shown under its cell")
    error = is_a_message(failing.of("display_data")[0]["data"]["text/plain"])
    assert "item 17" in error and "ZeroDivisionError" in error
    wrong = first.kernel.run("job.results()")
    assert "return 1 / (x - 17)" in wrong.error and "ZeroDivisionError: division by zero" in wrong.error
    assert first.value("len(job.results(errors='skip'))") == "39"
    # By name; when all cells run again the name is another one, and the old job was let go.
    errors = "get_ipython().run_line_magic('cluster', f'errors {job.name}')"
    assert "ZeroDivisionError" in first.cell(errors).stdout

    # An interrupt of a cell that waits: the work goes on, no item is hurt.
    first.cell(SLOW.format(log=str(first.folder / "ran.txt")))
    first.cell("job = %cluster map slow(x) for x in range(30)")
    ran = first.interrupted("job.results()")
    assert "slow-1" in is_a_message(ran.error)
    each_once(first, "job", 30)

    # An interrupt of a busy one.
    first.cell("job = %cluster map slow(x) for x in range(30)")
    ran = first.interrupted("while True: pass")
    assert "KeyboardInterrupt" in ran.error
    each_once(first, "job", 30)

    # A helper module is edited, and the same cell is run again.
    (first.folder / "helpers.py").write_text("def scaled(x):\n    return 2 * x\n")
    first.cell("import helpers")
    again = "job = %cluster map helpers.scaled(x) for x in range(4)\njob.results()"
    assert first.cell(again).result == "[0, 2, 4, 6]"
    (first.folder / "helpers.py").write_text("def scaled(x):\n    return 300 * x\n")
    assert first.cell(again).result == "[0, 300, 600, 900]"

    # A second notebook on the same cluster, whose helper module has the same name.
    second = open_notebook("second")
    (second.folder / "helpers.py").write_text("def scaled(x):\n    return -x\n")
    second.cell("%load_ext twistcluster")
    second.cell("%cluster connect default")
    second.cell("import helpers")
    assert second.cell(again).result == "[0, -1, -2, -3]"
    assert first.cell(again).result == "[0, 300, 600, 900]"
    assert second.cell(again).result == "[0, -1, -2, -3]"

    # Every cell again, and the extension again.
    cells, first.cells = first.cells, []
    for cell in cells:
        first.cell(cell)
    first.cell("%reload_ext twistcluster")
    assert "'default'" in first.cell("%cluster status").stdout
    assert first.cell(again).result == "[0, 300, 600, 900]"

    # Stop: not while somebody else uses it.
    busy = first.mistake("%cluster stop")
    assert "--force" in busy
    second.close()
    deadline = time.monotonic() + 20
    while not (stopped := first.kernel.run("%cluster stop")).ok and time.monotonic() < deadline:
        is_a_message(stopped.error)
    assert stopped.ok
    assert "%cluster start" in first.mistake("%cluster status")
    assert "no cluster" in first.cell("%cluster list").stdout
