"""What a function's modules count as in a stamp: those of its author by their text, all others by their name.

Owns: which those are, also among what they import themselves. Must not know: stamps, functions.
"""

import contextlib
import dis
import functools
import hashlib
import importlib.machinery
import itertools
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any, Final

from twistcluster.client.modules import find_beside, imported_names, is_installed, roots, with_parents

__all__ = ["imported_by", "names_read", "names_used", "text_of_modules"]

FILES: Final = 4096
"""Texts of which is known what they import."""
NOT_OWN: Final = {"twistcluster", "__main__"}
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
def names_used(code: CodeType) -> frozenset[str]:
    """All names in code, and code inside of it, those of attributes among them."""
    return frozenset(code.co_names).union(*map(names_used, _codes_in(code)))


@functools.lru_cache(FILES)
def imported_by(code: CodeType) -> tuple[tuple[str, bool], ...]:
    """Modules that code, and code inside of it, imports when it runs, and whether it needs each: what is imported from a
    module may be anything, and code goes on without what it tries to import.
    """
    found: dict[str, bool] = {}
    base = ""
    tried = _tried(code)
    level: list[Any] = [0, 0]
    """What the two instructions before loaded: of an import how relative it is, and which names it takes."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "EXTENDED_ARG":  # the first half of the next one
            continue
        if instruction.opname == "IMPORT_NAME":
            up = level[0] if type(level[0]) is int else 0
            base = "." * up + instruction.argval  # nobody finds a relative one
            found[base] = found.get(base, False) or not any(instruction.offset in each for each in tried)
        elif instruction.opname == "IMPORT_FROM":
            found.setdefault(f"{base}.{instruction.argval}", False)
        level = [level[1], instruction.argval]
    for inner in _codes_in(code):
        for name, sure in imported_by(inner):
            found[name] = found.get(name, False) or sure
    return tuple(sorted(found.items()))


def _tried(code: CodeType) -> list[range]:
    """Where code stands in a `try`, or in what is done if that fails."""
    instructions = [one for one in dis.get_instructions(code) if one.opname not in {"EXTENDED_ARG", "CACHE"}]
    handlers = {one.offset: (one.opname, then.opname) for one, then in itertools.pairwise(instructions)}
    found = []
    for entry in dis.Bytecode(code).exception_entries:  # type: ignore[attr-defined]
        first, then = handlers.get(entry.target, ("", ""))
        # `with` has handlers too, as have generators.
        if first in {"PUSH_EXC_INFO", "COPY", "LOAD_CONST"} and then != "WITH_EXCEPT_START":
            found.append(range(entry.start, entry.end))
    return found


def text_of_modules(
    modules: Mapping[str, str | None], perhaps: Collection[str] = (), names: Collection[str] = ()
) -> Iterator[bytes]:
    """Modules by their names, and those that aren't installed by their texts, and the texts of those that they import, and
    so on.

    Args:
        modules: Their names, and where they lie; None: where an import would find them.
        perhaps: Which of them need not be there.
        names: Of attributes: modules of these names in packages that aren't installed count too, as `import a.b` is used
            by the name of `a`.

    Raises:
        ModuleNotFoundError: There is none of that name.
    """
    search = _Search()
    pending: dict[str, str | None] = {}
    for name in modules:
        pending.update(dict.fromkeys(with_parents(name)[:-1]))
    pending.update(modules)
    known: dict[str, bytes] = {}
    while pending:
        one, place = pending.popitem()
        asked = one in modules
        try:
            place = place or search.place(one, inside=asked)
        except ModuleNotFoundError:
            if asked and one not in perhaps:
                raise
            known[one] = b""  # what a module imports may be no module, or one that it does without
            continue
        text, imports = _read(place, one)
        known[one] = text
        more = (*imports, *search.below(one, place, names))
        pending.update((other, None) for other in more if other not in known and other not in pending)
        if asked:
            yield f"module {one}".encode()
    for one in sorted(one for one, text in known.items() if text):
        yield one.encode() + known[one]


class _Search:
    """Where modules lie, for the time of one question: nothing is imported, unlike by `importlib.util.find_spec`."""

    def __init__(self) -> None:
        self._roots: list[str] | None = None
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}
        self._installed: dict[str, bool] = {}

    def place(self, name: str, *, inside: bool) -> str:
        """The file of a module of that name; "": it has none.

        Args:
            name: Its name.
            inside: Look also into packages that are installed: whether there is one of this name matters.

        Raises:
            ModuleNotFoundError: There is none.
        """
        module = sys.modules.get(name)
        if module is not None:
            return _file(module)
        if name.startswith("."):
            raise ModuleNotFoundError(name)
        top, _, rest = name.partition(".")
        if top in sys.stdlib_module_names or (rest and not inside and self._is_installed(top)):
            return ""
        spec = self._spec(name)
        if spec is not None:
            return (spec.has_location and spec.origin) or ""
        if self._roots is None:
            self._roots = roots(_working_folder())
        beside = find_beside(name, self._roots)
        if beside is None:
            raise ModuleNotFoundError(name)
        return beside

    def below(self, name: str, place: str, names: Collection[str]) -> Iterator[str]:
        """Modules in a package, if it isn't an installed one, that have one of these names."""
        top = name.partition(".")[0]
        if not names or top in sys.stdlib_module_names or top in NOT_OWN or self._is_installed(top):
            return
        if place and not place.endswith("/__init__.py"):
            return
        for folder in self._folders(name) or ([os.path.dirname(place)] if place else []):  # noqa: PTH120
            if is_installed(f"{folder}/"):
                continue
            with contextlib.suppress(OSError):  # such as the folder of an archive
                there = {entry.partition(".")[0] for entry in os.listdir(folder)}  # noqa: PTH208
                yield from (f"{name}.{one}" for one in sorted(there.intersection(names)))

    def _is_installed(self, top: str) -> bool:
        """Whether all of a package is installed."""
        if top not in self._installed:
            try:
                place = self.place(top, inside=True)
            except ModuleNotFoundError:
                place = ""
            folders = self._folders(top) or []
            self._installed[top] = is_installed(place) and all(is_installed(f"{folder}/") for folder in folders)
        return self._installed[top]

    def _folders(self, package: str) -> list[str] | None:
        """Where an import looks for what is in a package; None: it is none."""
        module = sys.modules.get(package)
        if module is not None:
            found = getattr(module, "__path__", None)
        else:
            spec = self._spec(package)
            found = None if spec is None else spec.submodule_search_locations
        return None if found is None else [*found]

    def _spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """What an import would find."""
        if name not in self._specs:
            package = name.rpartition(".")[0]
            path = self._folders(package) if package else None
            finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
            if package and path is None:
                finders = []
            found = (finder.find_spec(name, path) for finder in finders)
            self._specs[name] = next((one for one in found if one is not None), None)
        return self._specs[name]


def _file(module: object) -> str:
    found = getattr(module, "__file__", None)
    return found if isinstance(found, str) else ""


def _read(place: str, name: str) -> tuple[bytes, frozenset[str]]:
    """A file's digest and the modules that it imports; nothing of one that is installed, or is none."""
    if not place or is_installed(place) or name.partition(".")[0] in NOT_OWN:
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
