import sys
import types

import pytest
from PIL import Image

from twistcluster.images import work
from twistcluster.images.encoding import Encoding
from twistcluster.images.names import Pattern
from twistcluster.images.plan import Plan
from twistcluster.images.source import Given, Item
from twistcluster.images.steps import Map, Resize
from twistcluster.images.work import Pictures, Saving


@pytest.fixture
def closing():
    yield
    while work._folders:
        work._folders.popitem()[1][0].close()


def pictures(folder, plan, run):
    return Pictures(plan, saving=Saving(str(folder), Pattern("{index}.{ext}"), Encoding("png"), False, run))


@pytest.mark.usefixtures("closing")
def test_a_slot_makes_the_stamp_of_the_functions_once_for_a_save(tmp_path, monkeypatch):
    module = types.ModuleType("helpers_of_mine")
    module.__file__ = str(tmp_path / "helpers_of_mine.py")
    (tmp_path / "helpers_of_mine.py").write_text("def same(image): return image")
    exec("def same(image): return image", module.__dict__)
    monkeypatch.setitem(sys.modules, "helpers_of_mine", module)
    made = []
    plan_stamp = work.plan_stamp
    monkeypatch.setattr(work, "plan_stamp", lambda *parts: made.append(parts) or plan_stamp(*parts))
    items = [Item(index, Given(Image.new("L", (4, 4), index), f"{index}")) for index in range(5)]
    for run, others in (("a", 5), ("b", 0)):
        work_of = pictures(tmp_path / "out", Plan((Map(module.same),)), run)
        assert sum(work_of(item).made for item in items) == others
    assert len(made) == 2
    other = pictures(tmp_path / "more", Plan((Resize(2),)), "c")
    assert all(other(item).made for item in items) and len(made) == 3
