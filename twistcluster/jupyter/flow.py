"""Which names a cell assigns, and which it may read before it has assigned them.

Owns: one walk over the statements in the order in which they run. Must not know: what the names are for.

Where a path may leave a name unassigned (an `if` without the other branch) it counts as unassigned: taking the notebook's
value along then is what a module would do. A loop's body and a `try` are taken to run.
"""

import ast
from collections.abc import Iterable, Sequence

__all__ = ["assigned_names", "read_before_assigned"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def assigned_names(statements: Sequence[ast.stmt]) -> frozenset[str]:
    """The names that these statements assign in their own scope, imports, functions and classes among them."""
    walk = _Walk()
    walk.statements(statements)
    return frozenset(walk.ever)


def read_before_assigned(statements: Sequence[ast.stmt]) -> frozenset[str]:
    """Those of the assigned names that may be read before."""
    walk = _Walk()
    walk.statements(statements)
    return frozenset(walk.early & walk.ever - walk.declared)


class _Walk:
    """What is assigned so far, in the scope that is walked; `ever` at all; `early` was read before."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.ever: set[str] = set()
        self.early: set[str] = set()
        self.declared: set[str] = set()

    def assign(self, name: str) -> None:
        self.now.add(name)
        self.ever.add(name)

    def statements(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit(self, node: ast.AST) -> None:
        """Follow one node in the order in which Python runs its parts."""
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                if name not in self.now:
                    self.early.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                self.assign(name)
            case ast.Name(id=name, ctx=ast.Del()):
                if name not in self.now:
                    self.early.add(name)
                self.now.discard(name)
                self.ever.add(name)
            case ast.Global(names=names):
                self.declared.update(names)
            case ast.Assign(targets=targets, value=value):
                self.statements([value, *targets])
            case ast.AugAssign(target=target, value=value):
                if isinstance(target, ast.Name) and target.id not in self.now:
                    self.early.add(target.id)
                self.statements([value, target])
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self.statements([value, target])
            case ast.NamedExpr(target=target, value=value):
                self.statements([value, target])
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    self.assign((alias.asname or alias.name).split(".")[0])
            case ast.For() | ast.AsyncFor():
                self.statements([node.iter, node.target, *node.body, *node.orelse])
            case ast.If(test=test, body=body, orelse=orelse):
                self.visit(test)
                self.branches([body, orelse])
            case ast.Match(subject=subject, cases=cases):
                self.visit(subject)
                self.branches([[case] for case in cases])
            case ast.MatchAs(name=name) | ast.MatchStar(name=name):
                self.statements(ast.iter_child_nodes(node))
                if name:
                    self.assign(name)
            case ast.MatchMapping(rest=rest):
                self.statements(ast.iter_child_nodes(node))
                if rest:
                    self.assign(rest)
            case ast.ExceptHandler(name=name):
                if node.type is not None:
                    self.visit(node.type)
                if name:
                    self.assign(name)
                self.statements(node.body)
                if name:
                    self.now.discard(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.function(node)
            case ast.Lambda(args=args):
                self.statements([*args.defaults, *(default for default in args.kw_defaults if default)])
            case ast.ClassDef():
                self.class_(node)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self.comprehension(node)
            case _:
                self.statements(ast.iter_child_nodes(node))

    def branches(self, bodies: Sequence[Sequence[ast.AST]]) -> None:
        """One of these runs: what all of them assign is assigned."""
        before = set(self.now)
        after: list[set[str]] = []
        for body in bodies:
            self.now = set(before)
            self.statements(body)
            after.append(self.now)
        self.now = set.intersection(*after) if after else before

    def function(self, node: _Function) -> None:
        """Its body runs later: by then the cell's own names are there, and others come from outside anyway."""
        self.statements([*node.decorator_list, *node.args.defaults])
        self.statements(default for default in node.args.kw_defaults if default)
        self.assign(node.name)

    def class_(self, node: ast.ClassDef) -> None:
        self.statements([*node.decorator_list, *node.bases, *node.keywords])
        inner = _Walk()
        inner.now = set(self.now)
        inner.statements(node.body)
        self.early |= inner.early
        self.assign(node.name)

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        inner = _Walk()
        inner.now = set(self.now)
        for loop in node.generators:
            inner.statements([loop.iter, loop.target, *loop.ifs])
        inner.statements([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.early |= inner.early
        # Only a walrus assigns outside of the comprehension.
        for part in ast.walk(node):
            if isinstance(part, ast.NamedExpr) and isinstance(part.target, ast.Name):
                self.assign(part.target.id)
