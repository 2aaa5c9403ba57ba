import functools
import importlib
import math
import os
import subprocess
import sys
import types
import unittest.mock

import numpy as np
import pytest
from PIL import Image

from tests.images.pictures import GIF
from twistcluster.errors import PictureUnreadable
from twistcluster.images.encoding import Encoding
from twistcluster.images.plan import Plan
from twistcluster.images.stamps import plan_stamp, source_stamp, stamp
from twistcluster.images.steps import Grayscale, Map, Resize, Watermark


def of(*steps, encoding=None, **options):
    return plan_stamp(Plan(steps, **options), encoding or Encoding("webp"))


def cell(text, name="f", **names):
    """A function as a notebook's cell defines it."""
    space = {"__name__": "__main__", **names}
    exec(compile(text, f"/tmp/ipykernel_{os.getpid()}/{id(space)}.py", "exec"), space)
    return space[name]


def test_paths_are_their_size_and_time(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    first = source_stamp(path)
    (tmp_path / "link").symlink_to(path)
    assert source_stamp(str(path)) == source_stamp(tmp_path / "link") == first
    (tmp_path / "b.png").write_bytes(b"one")
    facts = path.stat()
    os.utime(tmp_path / "b.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert source_stamp(tmp_path / "b.png") != first
    os.utime(path, ns=(0, 5))
    assert source_stamp(path) != first
    with pytest.raises(PictureUnreadable, match="none.png can't be read"):
        source_stamp(tmp_path / "none.png")


def test_bytes_pictures_and_arrays_are_their_content():
    assert source_stamp(b"abc") == source_stamp(memoryview(b"abc")) != source_stamp(b"abd")
    image = Image.open(GIF)
    assert source_stamp(image) == source_stamp(image.copy()) != source_stamp(image.convert("L"))
    with_exif = image.copy()
    with_exif.info["exif"] = b"x"
    assert source_stamp(with_exif) != source_stamp(image)
    image.close()
    array = np.zeros((4, 6), "u1")
    assert source_stamp(array) == source_stamp(array.copy()) != source_stamp(array.reshape(6, 4))
    assert source_stamp(array) != source_stamp(array.view("i1"))
    with pytest.raises(TypeError, match="give bytes, a path"):
        source_stamp(5)


def test_steps_their_order_and_options_count():
    stamps = [
        of(),
        of(Resize(5)),
        of(Resize(6)),
        of(Resize((5, 5))),
        of(Resize(5), Grayscale()),
        of(Grayscale(), Resize(5)),
        of(Resize(5), frames="all"),
        of(Resize(5), shrink=False),
        of(Resize(5), encoding=Encoding("png")),
        of(Resize(5), encoding=Encoding("webp", quality=5)),
        of(Watermark(Image.new("L", (4, 4)))),
        of(Watermark(Image.new("L", (4, 5)))),
    ]
    assert len(set(stamps)) == len(stamps) and None not in stamps
    assert of(Resize(5)) == of(Resize(5), max_pixels=10**6)
    assert stamp(b"a", of()) != stamp(b"b", of()) and len(stamp(b"a", of())) == 32
    assert stamp(b"a", None) is None


def test_a_function_is_its_code_and_what_it_uses():
    text = "def f(image):\n    return image.rotate(angle) if g(image) else image\ndef g(image): return {LIMIT} > 3"
    same = [of(Map(cell(text.replace("{LIMIT}", "4"), angle=9))) for _ in range(2)]
    assert same[0] == same[1] is not None
    assert of(Map(cell(text.replace("{LIMIT}", "5"), angle=9))) != same[0]
    assert of(Map(cell(text.replace("{LIMIT}", "4"), angle=8))) != same[0]
    assert of(Map(cell("def f(image, by=2): return by"))) != of(Map(cell("def f(image, by=3): return by")))
    makers = "def make(x):\n    return lambda image: image.rotate(x)\nf = make({})"
    assert of(Map(cell(makers.format(1)))) != of(Map(cell(makers.format(2))))
    assert of(Map(functools.partial(math.pow, 2))) != of(Map(functools.partial(math.pow, 3)))
    assert of(Map(cell("import math\ndef f(image): return math.floor(f(image))"))) is not None


def test_what_can_not_be_told_has_no_stamp():
    for text in (
        "class A: pass\na = A()\ndef f(image): return a",
        "class A:\n    def __call__(self, image): return image\nf = A()",
        "import numpy as np\na = np.array([object()])\ndef f(image): return a",
    ):
        assert of(Map(cell(text))) is None
    assert of(Map(cell("import numpy as np\na = np.arange(3)\ndef f(image): return a"))) is not None


def test_a_module_beside_the_notebook_is_its_text(tmp_path, monkeypatch):
    stamps = []
    for text in ("def half(image): return 1", "def half(image): return 2", "def half(image): return 1"):
        (tmp_path / "helpers_of_mine.py").write_text(text)
        module = types.ModuleType("helpers_of_mine")
        module.__file__ = str(tmp_path / "helpers_of_mine.py")
        monkeypatch.setitem(sys.modules, "helpers_of_mine", module)
        exec(text, module.__dict__)
        stamps.append((of(Map(module.half)), of(Map(cell("def f(image): return h.half(image)", h=module)))))
    assert stamps[0] == stamps[2] and not set(stamps[0]) & set(stamps[1])


def test_stamps_are_the_same_in_every_process():
    text = """
from twistcluster.images.stamps import plan_stamp
from twistcluster.images.plan import Plan
from twistcluster.images.encoding import Encoding
from twistcluster.images.steps import Map, Resize, Text
def f(image, names=frozenset(["a", "b", "c"])):
    return image if image.mode in {"L", "RGB", "RGBA"} else names
print(plan_stamp(Plan((Resize(5), Text("x"), Map(f))), Encoding("webp")).hex())
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", text], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12"
    }
    assert len(found) == 1


def test_a_name_that_only_slots_have_has_no_stamp():
    assert of(Map(cell("def f(image): return image.point(SHADE)"))) is None
    assert of(Map(cell("def f(image): return [g() for _ in image]\ndef g(): return SHADE"))) is None
    assert (
        of(Map(cell("def f(image):\n    class A:\n        x = 1\n        y = x + len('a')\n    return A"))) is not None
    )


def test_a_module_that_a_function_imports_is_its_text_and_of_what_that_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "package_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("from . import deeper\nfrom nowhere_at_all import x\n")
    (tmp_path / "plain_of_mine.py").write_text("import package_of_mine.deep\n")
    texts = {
        package / "deeper.py": "V = {}",
        package / "deep.py": "from . import deeper\nV = {}",
        package / "__init__.py": "V = {}",
        tmp_path / "plain_of_mine.py": "import package_of_mine.deep\nV = {}",
    }
    for path, text in texts.items():
        path.write_text(text.format(0))
    functions = [
        "def f(image):\n    import plain_of_mine\n    return plain_of_mine.V",
        "def f(image):\n    from plain_of_mine import V\n    return V",
        "def f(image):\n    from package_of_mine import deep\n    return (lambda: deep.V)()",
        "def f(image):\n    def g():\n        import package_of_mine.deep as d\n        return d\n    return g()",
    ]
    seen = [{of(Map(cell(text)))} for text in functions]
    for number, (path, text) in enumerate(texts.items()):
        path.write_text(text.format(10 + number))
        for function, stamps in zip(functions, seen, strict=True):
            stamps.add(of(Map(cell(function))))
    assert [len(stamps) for stamps in seen] == [5, 5, 4, 4] and not any(None in stamps for stamps in seen)
    assert "package_of_mine" not in sys.modules  # nothing was imported


def test_modules_that_are_installed_or_nowhere():
    assert of(Map(cell("def f(image):\n    import colorsys, numpy.fft\n    from PIL import ImageOps\n    return 1")))
    for text in ("import nowhere_at_all", "from . import colorsys", "from .colorsys import ONE_THIRD"):
        assert of(Map(cell(f"def f(image):\n    {text}\n    return 1"))) is None
    assert of(Map(cell("def f(image): return m", m=types.ModuleType("made_up")))) is None


def test_functions_of_libraries(monkeypatch):
    library = [np.flipud, np.fliplr, np.sqrt, np.linalg.norm, np.add.reduce]
    stamps = [of(Map(function, "array")) for function in library[:4]]
    assert len(set(stamps)) == 4 and None not in stamps
    assert of(Map(library[4], "array")) is None  # a bound method of what nobody knows
    inside = cell("def f(a):\n    return flip(a)", flip=np.flipud)
    assert of(Map(inside, "array")) not in {
        None,
        of(Map(cell("def f(a):\n    return flip(a)", flip=np.fliplr), "array")),
    }
    monkeypatch.setattr(np, "__version__", "1000.0")
    assert of(Map(np.flipud, "array")) not in {None, stamps[0]}


class Callable:
    """Its instances have a state that no name tells."""

    def __call__(self, image):
        return image


one = Callable()


def test_a_callable_with_a_state_has_no_stamp():
    assert of(Map(one)) is None


class Anything:
    """Has every attribute, and all of them are itself."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments):
        return self


class Odd:
    __module__ = ["no", "name"]

    def __call__(self, image):
        return image


class Raising:
    """As objects that stand for others on first use."""

    def __getattribute__(self, name):
        raise LookupError(name)

    def __call__(self, image):
        return image


def test_objects_of_any_kind_raise_nothing():
    deep = []
    for _ in range(3000):
        deep = [deep]
    for value in (Anything(), Odd(), Raising(), unittest.mock.call, unittest.mock.MagicMock(), deep):
        assert of(Map(cell("def f(image): return V", V=value))) is None


def test_what_contains_itself_is_told_by_the_rest():
    def around(value):
        ring = [value]
        ring.append({"me": ring})
        return of(Map(cell("def f(image): return V", V=ring)))

    assert around(1) == around(1) != around(2)
    assert around(1) is not None


def test_a_module_that_is_used_by_the_name_of_its_package_is_its_text(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "outer_of_mine" / "space").mkdir(parents=True)
    (tmp_path / "outer_of_mine" / "__init__.py").write_text("")
    (tmp_path / "bare_of_mine").mkdir()
    deep, bare = tmp_path / "outer_of_mine/space/deep.py", tmp_path / "bare_of_mine/sub.py"
    (tmp_path / "outer_of_mine" / "other.py").write_text("def h(image): return image")
    for path in (deep, bare):
        path.write_text("def g(image): return image")
    text = "def f(image): return outer_of_mine.space.deep.g(image), bare_of_mine.sub.g(image)"
    inner = f"def make(outer_of_mine, bare_of_mine):\n    {text}\n    return f\n"
    try:
        import bare_of_mine
        import outer_of_mine

        packages = {"outer_of_mine": outer_of_mine, "bare_of_mine": bare_of_mine}

        def stamps():
            closed = cell(f"{inner}f = make(a, b)", a=outer_of_mine, b=bare_of_mine)
            return of(Map(cell(text, **packages))), of(Map(closed))

        seen = [stamps()]
        importlib.import_module("outer_of_mine.space.deep")
        importlib.import_module("outer_of_mine.other")
        assert stamps() == seen[0]  # whatever a program has imported
        (tmp_path / "outer_of_mine" / "other.py").write_text("def h(image): return 1")
        assert stamps() == seen[0]
        for path in (deep, bare):
            path.write_text(f"def g(image): return {path.stem!r}")
            seen.append(stamps())
        assert len({one for pair in seen for one in pair}) == 6 and None not in seen[0]
    finally:
        for name in [name for name in sys.modules if name.startswith(("outer_of_mine", "bare_of_mine"))]:
            del sys.modules[name]


def test_an_import_among_many_constants():
    many = "".join(f"    x = {number}.5\n" for number in range(400))
    assert of(Map(cell(f"def f(image):\n{many}    import colorsys\n    from json import loads\n    return image")))


def test_a_module_that_a_function_does_without():
    tried = "def f(image):\n    try:\n        import nowhere_at_all\n    except ImportError{}\n    return image"
    for rest in (":\n        pass", " as error:\n        import nowhere_else\n        print(error)"):
        assert of(Map(cell(tried.format(rest)))) is not None
    for text in (
        "def f(image):\n    with image:\n        import nowhere_at_all\n    return image",
        "def f(image):\n    yield 1\n    import nowhere_at_all\n    yield image",
        tried.format(":\n        pass").replace("    return", "    import nowhere_at_all\n    return"),
    ):
        assert of(Map(cell(text))) is None


def test_modules_that_are_there_later_make_another_stamp(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "def f(image):\n    try:\n        import later_of_mine\n    except ImportError:\n        pass\n    return image"
    )
    first = of(Map(cell(text)))
    (tmp_path / "later_of_mine.py").write_text("")
    assert first is not None and of(Map(cell(text))) not in {None, first}


def test_each_name_is_looked_up_once(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "large_of_mine"
    package.mkdir()
    for number in range(20):
        (package / f"m{number}.py").write_text(
            "import nowhere_at_all\nfrom PIL import Image\nfrom numpy import zeros\n"
        )
    (package / "__init__.py").write_text("".join(f"from . import m{number}\n" for number in range(20)))
    asked = []
    finder = types.SimpleNamespace(find_spec=lambda name, path=None, target=None: asked.append(name))
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert of(Map(cell("def f(image):\n    import large_of_mine\n    return image"))) is not None
    assert len(asked) == len(set(asked)) and not any(name.startswith("numpy.") for name in asked)
