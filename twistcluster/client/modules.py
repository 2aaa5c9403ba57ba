"""Which modules are installed wherever Python is, and which lie beside the notebook.

Owns: that distinction, and what a source file imports. Must not know: contexts, functions.
"""

import ast
import site
import sys
import sysconfig
from pathlib import Path
from typing import Final

__all__ = ["find_beside", "imported_names", "is_beside", "is_installed", "roots", "source_file", "with_parents"]

INSTALLED_FOLDERS: Final = {"site-packages", "dist-packages", ".venv", ".tox", ".nox"}
OWN: Final = "twistcluster"


def roots(folder: str) -> list[str]:
    """The folders whose modules travel: the working folder, that of the script, and what `sys.path` names below them."""
    found = [folder]
    first = sys.path[0] if sys.path else ""
    if first and not is_installed(f"{first}/"):
        found.append(first)
    bases = [f"{base.rstrip('/')}/" for base in found]
    found += [path for path in sys.path if path.startswith(tuple(bases)) and not is_installed(f"{path}/")]
    return [*dict.fromkeys(path.rstrip("/") for path in found)]


def source_file(module: object) -> str | None:
    """The source of a module, if it has one."""
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else None


def is_beside(name: str, path: str, folders: list[str]) -> bool:
    """Whether the source of a module lies below one of these folders, where its name says, and isn't installed."""
    if name == "__main__" or name.partition(".")[0] == OWN or is_installed(path):
        return False
    stem = name.replace(".", "/")
    return path.endswith((f"/{stem}.py", f"/{stem}/__init__.py")) and any(
        path.startswith(f"{each}/") for each in folders
    )


def find_beside(name: str, folders: list[str]) -> str | None:
    """The source that importing a name would find in one of these folders."""
    stem = name.replace(".", "/")
    for folder in folders:
        for path in (f"{folder}/{stem}/__init__.py", f"{folder}/{stem}.py"):
            if Path(path).is_file() and is_beside(name, path, folders):
                return path
    return None


def imported_names(source: bytes, package: str) -> frozenset[str]:
    """All modules that a source may import, anywhere in it; `package` is where its relative imports begin."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # its import will say so
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            if base:
                names.add(base)
                names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(parent for name in names for parent in with_parents(name))


def is_installed(path: str) -> bool:
    """Whether this is the path of what was installed, and so is the same for all."""
    return path.startswith(_PREFIXES) or not INSTALLED_FOLDERS.isdisjoint(path.split("/"))


def with_parents(name: str) -> list[str]:
    """The packages in which a module lies, outermost first, and itself."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _prefixes() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    return tuple(f"{path.rstrip('/')}/" for path in found if path)


_PREFIXES: Final = _prefixes()
