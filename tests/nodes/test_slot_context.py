"""A slot finds the modules, files and folder of its context."""

import json
import subprocess
import sys
import textwrap

import pytest

from twistcluster.client.context import ContextBook

PRELUDE = """
import json, pathlib, sys
from twistcluster.nodes.slot_context import set_up
from twistcluster.wire.messages import Context, File, Module
import msgspec
context = msgspec.msgpack.decode(bytes.fromhex(sys.argv[1]), type=Context)
blobs = {bytes.fromhex(name): bytes.fromhex(data) for name, data in json.loads(sys.argv[2]).items()}
set_up(context, blobs.__getitem__, pathlib.Path(sys.argv[3]))
"""


@pytest.fixture
def run(tmp_path):
    """Run code in a process that was set up for a book's context."""
    import msgspec

    def run(book, code):
        context, blobs = book.current()
        arguments = [
            msgspec.msgpack.encode(context).hex(),
            json.dumps({name.hex(): data.hex() for name, data in blobs.items()}),
            str(tmp_path / "own"),
        ]
        done = subprocess.run(
            [sys.executable, "-P", "-c", PRELUDE + textwrap.dedent(code), *arguments],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.stdout + done.stderr

    return run


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The folder of a notebook, which is the working folder; modules imported from it are forgotten afterwards."""
    folder = tmp_path / "notebook"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_beside_the_notebook_are_found_as_they_were_sent(beside, run):
    (beside / "lab").mkdir()
    (beside / "lab" / "__init__.py").write_text("from lab import tools\n")
    (beside / "lab" / "tools.py").write_text("def f():\n    import lazily\n    return lazily.value\n")
    (beside / "lazily.py").write_text("value = 42\n")
    import lab

    book = ContextBook()
    assert lab.tools.f() == 42
    out = run(book, "import lab; print(lab.tools.f(), lab.__file__)")
    assert out.startswith("42 ") and "/own/modules/lab/" in out


def test_tracebacks_show_the_lines_of_modules(beside, run):
    (beside / "broken.py").write_text("def f():\n    raise ValueError('here')  # this line\n")
    import broken

    assert "# this line" in run(ContextBook(), "import broken; broken.f()") and broken


def test_an_uploaded_module_can_be_imported_and_its_folder_is_the_notebooks(beside, run):
    (beside / "uploaded_helper.py").write_text("value = 7\n")
    book = ContextBook()
    book.upload("uploaded_helper.py")
    out = run(book, "import os, uploaded_helper; print(uploaded_helper.value, os.getcwd())")
    assert out == f"7 {beside}\n"


def test_files_from_elsewhere_are_found_beside_those_of_the_notebook(beside, run, tmp_path):
    (beside / "here.txt").write_text("here")
    (tmp_path / "elsewhere.txt").write_text("elsewhere")
    book = ContextBook()
    book.upload(tmp_path / "elsewhere.txt")
    assert run(book, "print(open('here.txt').read(), open('elsewhere.txt').read())") == "here elsewhere\n"


def test_without_the_clients_folder_uploads_make_the_working_folder(beside, run, tmp_path):
    (beside / "data").mkdir()
    (beside / "data" / "a.txt").write_text("a")
    book = ContextBook()
    assert book.upload("data") == ["data/a.txt"]
    book.current()
    beside.rename(tmp_path / "gone")
    # The client's folder as it was named exists no more.
    assert "a" in run_at(book, run, "print(open('data/a.txt').read())", tmp_path)


def run_at(book, run, code, folder):
    class Elsewhere:
        def current(self):
            import msgspec

            context, blobs = book.current()
            return msgspec.structs.replace(context, folder="/no/such/folder"), blobs

    return run(Elsewhere(), code)
