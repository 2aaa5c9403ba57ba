"""A function made of what somebody typed: its syntax tree, the names that it wants from outside, its source.

Owns: finding free names exactly, naming the source so that tracebacks can show it, and compiling. Must not know: where
the names' values come from, or who runs the function.
"""

import ast
import builtins
import copy
import hashlib
import linecache
import symtable
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["Code", "asynchronous", "build", "free_names", "function", "register_source", "unused_name"]

_INNER = "typed"
"""The name of the function in its own code; what people see is its label."""


@dataclass(frozen=True, slots=True)
class Code:
    """A function that waits for the values of its free names."""

    tree: ast.FunctionDef | ast.AsyncFunctionDef
    label: str
    """What the function, and so its job, is called."""
    source: str
    """The text that its line numbers refer to."""
    kind: str
    """Which magic it came from: stands in the file name that tracebacks show."""
    free: frozenset[str]
    """Names that it reads from outside; builtins are among them."""
    early: tuple[str, ...] = ()
    """A cell's names that are read before they are assigned: those that have a value outside become its parameters,
    or, if it assigns globals, those globals' first values."""
    assigns: frozenset[str] = frozenset()
    """Global names that it assigns."""
    spare: str = ""
    """A parameter for when there is no other: what is submitted is a map of one item."""

    @property
    def filename(self) -> str:
        """The same text has the same name: then the function's pickle is the same, too, and needn't be sent again."""
        digest = hashlib.blake2b(self.source.encode(), digest_size=4).hexdigest()
        return f"<cluster {self.kind} {digest}>"

    def parameters(self, values: Mapping[str, object], inputs: Collection[str] = ()) -> list[str]:
        """The parameters that it has beside its own, where these names have values, and `inputs` are to be passed."""
        names = [] if self.assigns else [name for name in self.early if name in values]
        names += [name for name in inputs if name not in names]
        return names or ([self.spare] if self.spare else [])

    def declares_global(self, name: str) -> bool:
        """Whether it says itself that this name is global."""
        return any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(self.tree))


def function(
    body: list[ast.stmt], parameters: tuple[str, ...] = (), *, is_async: bool = False
) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """A function of these statements, whose places in the source stay as they are."""
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(arg=name) for name in parameters],
        vararg=None,
        kwonlyargs=[],
        kw_defaults=[],
        kwarg=None,
        defaults=[],
    )
    kind = ast.AsyncFunctionDef if is_async else ast.FunctionDef
    node = kind(name=_INNER, args=arguments, body=body, decorator_list=[], returns=None, type_comment=None)
    if "type_params" in kind._fields:
        vars(node)["type_params"] = []
    node.lineno, node.col_offset = min(part.lineno for part in body), 0
    last = max(body, key=lambda part: (part.end_lineno or part.lineno, part.end_col_offset or 0))
    node.end_lineno, node.end_col_offset = last.end_lineno, last.end_col_offset
    ast.fix_missing_locations(node)
    return node


def unused_name(*trees: ast.AST) -> str:
    """A name that none of these mentions."""
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    name = "_item"
    while name in used:
        name += "_"
    return name


def free_names(tree: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """The names that the function, and those within it, read from their globals."""
    table = symtable.symtable(ast.unparse(tree), "<cluster>", "exec")
    names: set[str] = set()
    waiting = list(table.get_children())
    while waiting:
        scope = waiting.pop()
        waiting.extend(scope.get_children())
        names.update(name.get_name() for name in scope.get_symbols() if name.is_global() and name.is_referenced())
    return frozenset(names)


def asynchronous(tree: ast.AST) -> bool:
    """Whether there is an `await` (or `async for`, `async with`) outside of the functions within."""
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return False
    if isinstance(tree, ast.Await | ast.AsyncFor | ast.AsyncWith) or (
        isinstance(tree, ast.comprehension) and tree.is_async
    ):
        return True
    return any(map(asynchronous, ast.iter_child_nodes(tree)))


def register_source(filename: str, source: str) -> None:
    """Let tracebacks find the source."""
    # Without a time the entry is never thrown away as outdated.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)


def build(code: Code, values: Mapping[str, object], inputs: Collection[str] = ()) -> types.FunctionType:
    """The function, with these values as its globals, but `inputs`, which are parameters of it.

    It belongs to `__main__`, so that it travels by value, as the functions of a notebook do.
    """
    register_source(code.filename, code.source)
    tree = copy.deepcopy(code.tree)
    parameters = code.parameters(values, inputs)
    tree.args.args += [ast.arg(arg=name) for name in parameters]
    ast.fix_missing_locations(tree)
    module = ast.Module(body=[tree], type_ignores=[])
    surroundings: dict[str, object] = {"__name__": "__main__", "__builtins__": builtins}
    exec(compile(module, code.filename, "exec", dont_inherit=True), surroundings)  # noqa: S102
    made = surroundings.pop(_INNER)
    surroundings.update((name, value) for name, value in values.items() if name not in parameters)
    assert isinstance(made, types.FunctionType)
    made.__name__ = made.__qualname__ = code.label
    # In a traceback: the cell is no function of the user's.
    where = code.kind.rpartition(" ")[2]
    made.__code__ = made.__code__.replace(co_name=where, co_qualname=where)
    return made
