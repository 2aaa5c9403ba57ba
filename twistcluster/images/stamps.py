"""What a saved picture was made of, as a digest: the source, the steps, the options.

Two pictures with equal stamps are equal, as far as anybody can tell without making them. So a run that is done again
leaves out what it made before. Owns: what counts. Must not know: where stamps are kept.

- A **path** is its real path, size and time of modification, not its bytes: asking costs a stat, not a read. A file that
  was moved, or touched, is another source.
- **Bytes**, PIL images and arrays are their content.
- **Steps** are their names and parameters. A **function** of the notebook is its code, defaults, and the values of the
  names that it uses, functions of the notebook among them; one of a module is its name and its own code. A **module**
  that a function uses, imports or comes from is its name; where it isn't an installed one, its text too, and that of
  the modules which it imports, or reaches as `package.module`. A function has no stamp if it uses a value of a kind that
  can't be told from another, a name that only slots have (`cluster.everywhere`), or a module that isn't here, but for one
  that it imports in a `try`: what it makes is made again each time.
- A function that a library made in another way than by `def`, such as those of NumPy, is its name and the library's
  version.
- Versions of Python, Pillow and models aren't counted else, but code is compiled by Python: another minor version makes
  pictures with functions of one's own again.
"""

import builtins
import functools
import hashlib
import inspect
import os
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from twistcluster.errors import PictureUnreadable
from twistcluster.images.encoding import Encoding
from twistcluster.images.own_modules import imported_by, names_read, names_used, text_of_modules
from twistcluster.images.plan import Plan
from twistcluster.images.step import Step

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["facts_stamp", "plan_stamp", "source_stamp", "stamp"]

_VERSION: Final = b"twistcluster images 1"
"""Changes when the same steps make other pictures."""

_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), type(...))


class _NoStampError(Exception):
    """A value that can't be told from another."""


def stamp(source: bytes, plan: bytes | None) -> str | None:
    """32 hexadecimal digits that stand for a source and what is done to it; None if the plan has no stamp."""
    return None if plan is None else hashlib.blake2b(source + plan, digest_size=16).hexdigest()


def source_stamp(source: Any) -> bytes:
    """16 bytes that stand for a source, as `opening.opened` takes it.

    >>> source_stamp(b"GIF89a") == source_stamp(bytearray(b"GIF89a"))
    True

    Raises:
        PictureUnreadable: The path leads nowhere.
        TypeError: It is no source.
    """
    from PIL import Image

    digest = hashlib.blake2b(digest_size=16)
    if isinstance(source, str | os.PathLike):
        try:
            facts = os.stat(source)  # noqa: PTH116 (a PathLike may give bytes)
        except OSError as error:
            raise PictureUnreadable(f"{os.fsdecode(source)} can't be read: {error.strerror}") from error
        return facts_stamp(os.fsdecode(os.path.realpath(source)), facts.st_size, facts.st_mtime_ns)
    if isinstance(source, bytes | bytearray | memoryview):
        digest.update(b"bytes ")
        digest.update(source)
    elif isinstance(source, Image.Image):
        for part in _image_parts(source):
            digest.update(part)
    elif hasattr(source, "__array_interface__"):
        for part in _array_parts(source):
            digest.update(part)
    else:
        raise TypeError(f"a {type(source).__name__} is no picture: give bytes, a path, a PIL image or an array")
    return digest.digest()


def facts_stamp(name: str, size: int, mtime_ns: int) -> bytes:
    """16 bytes that stand for a file by what its disk says of it."""
    facts = repr(("path", name, size, mtime_ns)).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(facts, digest_size=16).digest()


def plan_stamp(plan: Plan, encoding: Encoding) -> bytes | None:
    """16 bytes that stand for steps and options, None if a function among them uses what can't be told.

    >>> from twistcluster.images.steps import Resize
    >>> one, two = (plan_stamp(Plan((Resize(size),)), Encoding("webp")) for size in (64, 65))
    >>> one == two
    False
    """
    digest = hashlib.blake2b(_VERSION, digest_size=16)
    walk = _Walk()
    try:
        for part in _parts((*plan.steps, encoding, plan.frames, plan.shrink), walk):
            digest.update(len(part).to_bytes(8, "little") + part)
        for part in walk.modules():
            digest.update(len(part).to_bytes(8, "little") + part)
    except Exception:  # objects of others may raise anything when they are looked at, lists be deeper than Python goes
        return None
    return digest.digest()


class _Walk:
    """What one look at a plan met.

    Attributes:
        met: Functions, which may refer to each other, and the lists and dicts under way, which may contain themselves.
        names: That the functions use, also of attributes.
    """

    def __init__(self) -> None:
        self.met: dict[int, int] = {}
        self.names: set[str] = set()
        self._modules: dict[str, str | None] = {}
        self._perhaps: set[str] = set()

    def add(self, module: str, file: str | None) -> None:
        """A module that is there."""
        self._modules[module] = file or self._modules.get(module)
        self._perhaps.discard(module)

    def add_imports(self, code: types.CodeType) -> None:
        """What code imports when it runs."""
        for name, needed in imported_by(code):
            if not needed and name not in self._modules:
                self._perhaps.add(name)
            elif needed:
                self._perhaps.discard(name)
            self._modules.setdefault(name, None)

    def modules(self) -> Iterator[bytes]:
        """The modules, by their names or texts; ModuleNotFoundError: one isn't here, but may be where functions run."""
        return text_of_modules(self._modules, self._perhaps, self.names)


def _image_parts(image: "Image.Image") -> Iterator[bytes]:
    """A picture's content: pixels, palette, profile, EXIF data."""
    profile, exif = (image.info.get(key, b"") for key in ("icc_profile", "exif"))
    shown = (image.mode, image.size, image.getpalette(), image.info.get("transparency"), profile, exif)
    yield repr(("image", shown)).encode()
    yield image.tobytes()


def _array_parts(source: Any) -> Iterator[Any]:
    import numpy as np

    array = np.ascontiguousarray(source)
    if array.dtype.hasobject:
        raise _NoStampError
    yield repr(("array", array.dtype.str, array.shape)).encode()
    yield array.reshape(-1).view(np.uint8).data  # not copied: pictures are large


def _parts(value: Any, walk: _Walk) -> Iterator[bytes]:
    """A value as bytes, the same in every process."""
    if isinstance(value, Step):
        yield f"step {value.name}".encode()
        yield from _parts(value.parameters(), walk)
    elif type(value) in _PLAIN:
        yield f"{type(value).__name__} {value!r}".encode()
    elif type(value) is tuple:
        yield f"tuple {len(value)}".encode()
        for one in value:
            yield from _parts(one, walk)
    elif type(value) in {list, dict}:
        yield from _container(value, walk)
    elif type(value) in {set, frozenset}:
        yield from (b"set", *sorted(b"".join(_parts(one, walk)) for one in value))
    elif isinstance(value, types.ModuleType):
        yield from _module(value, walk)
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), walk)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, walk)
    elif isinstance(value, types.CodeType):
        yield from _code(value, walk)
    elif isinstance(value, types.BuiltinFunctionType | type) and _importable(value):
        yield value.__qualname__.encode()
        yield from _module(sys.modules[value.__module__], walk)
    elif callable(value) and _importable(value):
        yield from _library_function(value, walk)
    elif type(value).__module__ == "numpy" and hasattr(value, "__array_interface__"):
        yield from _array_parts(value)
    else:
        raise _NoStampError


def _container(value: Any, walk: _Walk) -> Iterator[bytes]:
    if id(value) in walk.met:
        yield f"again {walk.met[id(value)]}".encode()
        return
    walk.met[id(value)] = len(walk.met)
    yield f"{type(value).__name__} {len(value)}".encode()
    for one in value.items() if type(value) is dict else value:
        yield from _parts(one, walk)
    del walk.met[id(value)]


def _function(function: types.FunctionType, walk: _Walk) -> Iterator[bytes]:
    if id(function) in walk.met:
        yield f"again {function.__qualname__}".encode()
        return
    walk.met[id(function)] = len(walk.met)
    walk.names |= names_used(function.__code__)
    yield from _code(function.__code__, walk)
    yield from _parts((function.__defaults__, function.__kwdefaults__), walk)
    yield from _parts(tuple(_content(cell) for cell in function.__closure__ or ()), walk)
    if _importable(function):
        yield function.__qualname__.encode()
        yield from _module(sys.modules[function.__module__], walk)
        return
    for name in sorted(names_read(function.__code__)):
        if name in function.__globals__:
            yield name.encode()
            yield from _parts(function.__globals__[name], walk)
        elif not hasattr(builtins, name):  # `cluster.everywhere` defined it in the slots, as it may do anew
            raise _NoStampError
    walk.add_imports(function.__code__)


def _library_function(value: Any, walk: _Walk) -> Iterator[bytes]:
    """What a library calls a function though Python doesn't, such as `np.flipud` or `np.sqrt`; of another version it may
    do something else.
    """
    module = sys.modules[value.__module__]
    library = sys.modules.get(module.__name__.partition(".")[0])
    yield repr(("library", value.__qualname__, str(getattr(library, "__version__", "")))).encode()
    yield from _module(module, walk)


def _code(code: types.CodeType, walk: _Walk) -> Iterator[bytes]:
    """Code without where it stands: a cell that is run again is another file."""
    yield code.co_code
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    yield repr((code.co_argcount, code.co_kwonlyargcount, code.co_flags, names)).encode()
    yield from _parts(code.co_consts, walk)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that gets its value later
        raise _NoStampError from None


def _module(module: types.ModuleType, walk: _Walk) -> Iterator[bytes]:
    """A module by its name; one that isn't installed, such as a file beside the notebook, by its text too."""
    walk.add(module.__name__, getattr(module, "__file__", None))
    yield f"module {module.__name__}".encode()


def _importable(value: Any) -> bool:
    """Whether another process finds it by its name."""
    # Not what an object makes up when it is asked for an attribute.
    if any(inspect.getattr_static(value, name, None) is None for name in ("__module__", "__qualname__")):
        return False
    module = sys.modules.get(value.__module__) if isinstance(value.__module__, str) else None
    if module is None or module.__name__ == "__main__" or not isinstance(value.__qualname__, str):
        return False
    found: Any = module
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value
