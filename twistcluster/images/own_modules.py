"""What a function's modules count as in a stamp: those of its author by their text, all others by their name.

Owns: which those are, also among what they import themselves. Must not know: stamps, functions.
"""

import dis
import functools
import hashlib
import importlib.machinery
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, Final

from twistcluster.client.modules import find_beside, imported_names, is_installed, roots

__all__ = ["imported_by", "names_read", "text_of_modules"]

FILES: Final = 4096
"""Texts of which is known what they import."""
_READS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


@functools.lru_cache(FILES)
def names_read(code: CodeType) -> frozenset[str]:
    """Names that code, and code inside of it, looks up among globals and builtins."""
    own = {
        instruction.argval: instruction.opname == "LOAD_GLOBAL"
        for instruction in dis.get_instructions(code)
        if instruction.opname in _READS
    }
    # The body of a class looks up its own names first.
    made = {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_NAME"}
    found = {name for name, is_global in own.items() if is_global or name not in made}
    return frozenset(found.union(*map(names_read, _codes_in(code))))


@functools.lru_cache(FILES)
def imported_by(code: CodeType) -> tuple[tuple[str, bool], ...]:
    """Modules that code, and code inside of it, imports when it runs, and whether each is one for sure: what is imported
    from a module may be anything.
    """
    found: dict[str, bool] = {}
    base = ""
    level: list[Any] = [0, 0]
    """What the two instructions before loaded: of an import how relative it is, and which names it takes."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            up = level[0] if type(level[0]) is int else 0
            base = "." * up + instruction.argval  # nobody finds a relative one
            found[base] = True
        elif instruction.opname == "IMPORT_FROM":
            found.setdefault(f"{base}.{instruction.argval}", False)
        level = [level[1], instruction.argval]
    for inner in _codes_in(code):
        for name, sure in imported_by(inner):
            found[name] = found.get(name, False) or sure
    return tuple(sorted(found.items()))


def text_of_modules(name: str, file: str | None = None) -> Iterator[bytes]:
    """A module by its name, and if it isn't an installed one by its text, and the texts of those that it imports, and so
    on.

    Args:
        name: Its name.
        file: Where it lies; None: where an import would find it.

    Raises:
        ModuleNotFoundError: There is none.
    """
    yield f"module {name}".encode()
    pending = dict.fromkeys(_with_parents(name)) | {name: file}
    known: dict[str, bytes] = {}
    while pending:
        one, place = pending.popitem()
        try:
            place = place or _place(one)
        except ModuleNotFoundError:
            if one == name:
                raise
            known[one] = b""  # what a module imports may be no module, or one that it does without
            continue
        text, imports = _read(place, one)
        known[one] = text
        pending.update((other, None) for other in imports if other not in known and other not in pending)
    for one in sorted(one for one, text in known.items() if text):
        yield one.encode() + known[one]


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _place(name: str) -> str:
    """The file of a module of that name; "": it has none."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None) or ""
    if name.startswith("."):
        raise ModuleNotFoundError(name)
    if name.partition(".")[0] in sys.stdlib_module_names:
        return ""
    spec = _spec(name)
    if spec is not None:
        return (spec.has_location and spec.origin) or ""
    beside = find_beside(name, roots(_working_folder()))
    if beside is None:
        raise ModuleNotFoundError(name)
    return beside


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """What an import would find; nothing is imported, unlike by `importlib.util.find_spec`."""
    spec: importlib.machinery.ModuleSpec | None = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if spec is not None and spec.submodule_search_locations is None:
            return None
        path = None if spec is None else spec.submodule_search_locations
        full = ".".join(parts[:count])
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((one for finder in finders if (one := finder.find_spec(full, path)) is not None), None)
        if spec is None:
            return None
    return spec


def _read(place: str, name: str) -> tuple[bytes, frozenset[str]]:
    """A file's digest and the modules that it imports; nothing of one that is installed, or is none."""
    if not place or is_installed(place) or name.partition(".")[0] in {"twistcluster", "__main__"}:
        return b"", frozenset()
    package = name if place.endswith("/__init__.py") else name.rpartition(".")[0]
    try:
        facts = os.stat(place)  # noqa: PTH116 (once a module for each picture that a worker saves)
        return _contents(place, package, facts.st_mtime_ns, facts.st_size)
    except OSError:
        return b"", frozenset()


@functools.lru_cache(FILES)
def _contents(place: str, package: str, _mtime_ns: int, _size: int) -> tuple[bytes, frozenset[str]]:
    data = Path(place).read_bytes()
    imports = imported_names(data, package) if place.endswith(".py") else frozenset()
    return hashlib.blake2b(data, digest_size=16).digest(), imports


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    return (one for one in code.co_consts if isinstance(one, CodeType))


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (a string is wanted)
    except FileNotFoundError:
        return "/"
