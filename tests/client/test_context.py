"""A context is what lies beside the notebook now."""

import os
import sys
import time

import pytest

from twistcluster.client.context import ContextBook
from twistcluster.client.modules import imported_names


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The folder of a notebook; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def modules(context):
    return {module.name: module.path for module in context.modules}


def test_nothing_beside_the_notebook(beside):
    context, blobs = ContextBook().current()
    assert context.folder == str(beside) and modules(context) == {} and blobs == {}


def test_imported_modules_and_what_they_import_travel(beside):
    (beside / "tc_helper.py").write_text("import json\nimport tc_lab.deep\nfrom tc_other import x\n")
    (beside / "tc_lab").mkdir()
    (beside / "tc_lab" / "__init__.py").write_text("def f():\n    from . import lazy\n    import numpy\n")
    (beside / "tc_lab" / "deep.py").write_text("")
    (beside / "tc_lab" / "lazy.py").write_text("from .deeper.still import y\n")
    (beside / "tc_lab" / "deeper").mkdir()
    (beside / "tc_lab" / "deeper" / "still.py").write_text("y = 1\n")
    (beside / "tc_other.py").write_text("x = 1\n")
    (beside / "tc_unused.py").write_text("")
    import tc_helper

    book = ContextBook()
    context, blobs = book.current()
    assert modules(context) == {
        "tc_helper": "tc_helper.py",
        "tc_lab": "tc_lab/__init__.py",
        "tc_lab.deep": "tc_lab/deep.py",
        "tc_lab.deeper.still": "tc_lab/deeper/still.py",
        "tc_lab.lazy": "tc_lab/lazy.py",
        "tc_other": "tc_other.py",
    }
    assert {module.digest for module in context.modules} == set(blobs) and tc_helper
    assert book.current()[0] is context


def test_an_edited_module_counts_as_it_is_on_disk(beside):
    (beside / "tc_edited.py").write_text("value = 1\n")
    import tc_edited

    book = ContextBook()
    before, _ = book.current()
    (beside / "tc_edited.py").write_text("value = 22\nimport tc_new\n")
    (beside / "tc_new.py").write_text("")
    after, blobs = book.current()
    assert after.base != before.base and after.digest != before.digest
    assert b"value = 22\nimport tc_new\n" in blobs.values() and "tc_new" in modules(after)
    assert tc_edited.value == 1
    (beside / "tc_edited.py").write_text("value = 1\n")
    again, _ = book.current()
    assert {m.digest for m in before.modules} <= {m.digest for m in again.modules}


def test_what_one_client_has_read_the_next_one_reads_only_if_it_changed(beside, monkeypatch):
    (beside / "tc_once.py").write_text("value = 1\n")
    import tc_once

    read = []
    monkeypatch.setattr("twistcluster.client.context.imported_names", lambda *its: read.append(its) or frozenset())
    first, blobs = ContextBook().current()
    assert ContextBook().current() == (first, blobs) and len(read) == 1 and tc_once
    (beside / "tc_once.py").write_text("value = 22\n")
    changed, blobs = ContextBook().current()
    assert changed.base != first.base and [*blobs.values()] == [b"value = 22\n"] and len(read) == 2


def test_a_module_that_is_gone_stays_as_it_was(beside):
    (beside / "tc_gone.py").write_text("value = 1\n")
    import tc_gone

    book = ContextBook()
    before, _ = book.current()
    (beside / "tc_gone.py").unlink()
    assert book.current()[0] == before and tc_gone


def test_a_module_imported_later_and_one_that_only_items_import(beside):
    book = ContextBook()
    assert modules(book.current()[0]) == {}
    (beside / "tc_later.py").write_text("")
    import tc_later

    assert modules(book.current()[0]) == {"tc_later": "tc_later.py"} and tc_later
    (beside / "tc_in_items.py").write_text("")
    book.expect(["tc_in_items", "json", "tc_nowhere"])
    assert "tc_in_items" in modules(book.current()[0])


def test_a_folder_of_modules_below_the_notebooks(beside, monkeypatch):
    (beside / "src").mkdir()
    (beside / "src" / "tc_in_src.py").write_text("")
    monkeypatch.syspath_prepend(str(beside / "src"))
    import tc_in_src

    assert modules(ContextBook().current()[0]) == {"tc_in_src": "tc_in_src.py"} and tc_in_src


def test_installed_modules_stay(beside):
    folder = beside / ".venv" / "lib" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "tc_installed.py").write_text("")
    sys.path.insert(0, str(folder))
    import tc_installed

    assert modules(ContextBook().current()[0]) == {} and tc_installed


def test_a_broken_source_travels_all_the_same(beside):
    (beside / "tc_broken.py").write_text("value = 1\n")
    import tc_broken

    (beside / "tc_broken.py").write_text("def oops(:\n")
    context, blobs = ContextBook().current()
    assert modules(context) == {"tc_broken": "tc_broken.py"} and b"def oops(:\n" in blobs.values() and tc_broken


def test_uploads_have_their_own_names(beside, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.txt").write_text("far")
    (beside / "data").mkdir()
    (beside / "data" / "near.txt").write_text("near")
    book = ContextBook()
    empty, _ = book.current()
    assert book.upload(elsewhere / "far.txt") == ["far.txt"]
    assert book.upload("data/near.txt") == ["data/near.txt"]
    assert book.upload(elsewhere) == [f"{elsewhere.name}/far.txt"]
    context, blobs = book.current()
    assert [file.name for file in context.files] == sorted(["far.txt", "data/near.txt", f"{elsewhere.name}/far.txt"])
    assert {*blobs.values()} == {b"far", b"near"} and context.base != empty.base
    with pytest.raises(FileNotFoundError):
        book.upload("nothing.txt")


def test_steps_make_another_context_of_the_same_base(beside):
    book = ContextBook()
    before, _ = book.current()
    book.add_step(b"one", b"blob")
    book.add_step(b"two", b"blob2")
    after, blobs = book.current()
    assert after.steps == [b"one", b"two"] and blobs == {b"one": b"blob", b"two": b"blob2"}
    assert after.base == before.base and after.digest != before.digest
    book.remove_step(b"one")
    book.remove_step(b"never")
    assert book.current()[0].steps == [b"two"]


def test_another_working_folder_is_another_base(beside, monkeypatch, tmp_path_factory):
    book = ContextBook()
    before, _ = book.current()
    monkeypatch.chdir(tmp_path_factory.mktemp("other"))
    assert book.current()[0].base != before.base


def test_looking_is_cheap(beside):
    for n in range(10):
        (beside / f"tc_many{n}.py").write_text("")
        __import__(f"tc_many{n}")
    book = ContextBook()
    book.current()
    best = min(timed(book.current) for _ in range(50))
    assert best < 1e-3  # 20 microseconds where nothing else runs


def timed(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_a_working_folder_that_was_removed(beside, tmp_path_factory, monkeypatch):
    gone = tmp_path_factory.mktemp("gone")
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert ContextBook().current()[0].folder == ""
    os.chdir(beside)


def test_imported_names():
    source = b"import a.b, c as d\nfrom e import f\ndef g():\n from . import h\n from ..i import j\n"
    assert imported_names(source, "pkg.sub") == {
        "a", "a.b", "c", "e", "e.f", "pkg", "pkg.sub", "pkg.sub.h", "pkg.i", "pkg.i.j",
    }  # fmt: skip
