"""What follows `%cluster submit` and `%cluster map`: one expression, made into a function.

Owns: the reading of `f(x)` and of `f(x) for x in items if wanted(x)`. The body of a map runs on workers; its items, and
the conditions behind `if`, are for the notebook: nothing is sent that isn't wanted. Must not know: IPython, clusters.
"""

import ast
import types
from dataclasses import dataclass

from twistcluster.jupyter.code import Code, asynchronous, free_names, function, unused_name
from twistcluster.jupyter.grammar import GrammarError

__all__ = ["MapLine", "parse_map", "parse_submit"]


@dataclass(frozen=True, slots=True)
class MapLine:
    """`BODY for TARGET in ITEMS if CONDITION`."""

    body: Code
    """A function of one item."""
    items: types.CodeType
    """To be evaluated in the notebook's names."""
    condition: Code | None
    """A function of one item, for the notebook to call."""


def parse_submit(text: str) -> Code:
    """Read the expression after `%cluster submit`.

    Raises:
        GrammarError: if it isn't one expression.
    """
    expression = _parse(text, "submit")
    if isinstance(expression, ast.GeneratorExp):
        msg = f"submit runs one expression, once. To run it for each item: %cluster map {text}"
        raise GrammarError(msg)
    body: list[ast.stmt] = [ast.copy_location(ast.Return(expression), expression)]
    tree = function(body, is_async=asynchronous(expression))
    label = _label(expression, "expression")
    return Code(tree, label, text, "submit", free_names(tree), spare=unused_name(tree))


def parse_map(text: str) -> MapLine:
    """Read what follows `%cluster map`.

    Raises:
        GrammarError: if it isn't a body with one `for`.
    """
    tree = _parse(text, "map")
    if not isinstance(tree, ast.GeneratorExp):
        bracketed = isinstance(tree, ast.ListComp | ast.SetComp)
        hint = " without brackets" if bracketed else ""
        msg = f"map takes a body and one `for`{hint}: %cluster map f(x) for x in items"
        raise GrammarError(msg)
    if len(tree.generators) > 1:
        msg = (
            f"map takes one `for`, and here are {len(tree.generators)}.\n"
            "Try: %cluster map f(a, b) for a, b in itertools.product(ones, others)"
        )
        raise GrammarError(msg)
    loop = tree.generators[0]
    if loop.is_async or any(map(asynchronous, [loop.iter, *loop.ifs])):
        msg = (
            "The items of a map, and its conditions, are taken in the notebook, without await.\nMore: %cluster help map"
        )
        raise GrammarError(msg)
    _check_target(loop.target)
    body = _of_one_item(loop.target, tree.elt, text, _label(tree.elt, "item"))
    items = compile(ast.Expression(loop.iter), body.filename, "eval", dont_inherit=True)
    condition = None
    if loop.ifs:
        both = loop.ifs[0] if len(loop.ifs) == 1 else ast.BoolOp(ast.And(), loop.ifs)
        condition = _of_one_item(loop.target, ast.copy_location(both, loop.ifs[0]), text, "condition")
    return MapLine(body, items, condition)


def _parse(text: str, command: str) -> ast.expr:
    # The brackets' own lines let a comment stand at the end, and leave all columns as they are.
    try:
        module = compile(f"(\n{text}\n)", "<cluster>", "eval", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert isinstance(module, ast.Expression)
        ast.increment_lineno(module, -1)
        compile(module, "<cluster>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        raise GrammarError(_unreadable(text, command, error)) from None
    return module.body


def _unreadable(text: str, command: str, error: SyntaxError) -> str:
    lines = [f"{command} can't read this expression: {error.msg}"]
    if "\n" not in text:
        lines.append(f"    {text}")
        if error.lineno == 2 and error.offset:
            lines.append(f"    {' ' * (error.offset - 1)}^")
    return "\n".join([*lines, f"More: %cluster help {command}"])


def _check_target(target: ast.expr) -> None:
    for node in ast.walk(target):
        if isinstance(node, ast.Attribute | ast.Subscript):
            msg = "The loop of a map has a name, or names: %cluster map f(a, b) for a, b in pairs"
            raise GrammarError(msg)


def _of_one_item(target: ast.expr, value: ast.expr, text: str, label: str) -> Code:
    returning = ast.copy_location(ast.Return(value), value)
    is_async = asynchronous(value)
    if isinstance(target, ast.Name):
        return _code(function([returning], (target.id,), is_async=is_async), text, label)
    parameter = unused_name(value, target)
    unpacking = ast.Assign([target], ast.copy_location(ast.Name(parameter, ast.Load()), target))
    tree = function([ast.copy_location(unpacking, target), returning], (parameter,), is_async=is_async)
    return _code(tree, text, label)


def _code(tree: ast.FunctionDef | ast.AsyncFunctionDef, text: str, label: str) -> Code:
    return Code(tree, label, text, "map", free_names(tree))


def _label(body: ast.expr, otherwise: str) -> str:
    """What people would call it: the function that it calls."""
    while isinstance(body, ast.Await):
        body = body.value
    if isinstance(body, ast.Call):
        if isinstance(body.func, ast.Name):
            return body.func.id
        if isinstance(body.func, ast.Attribute):
            return body.func.attr
    return otherwise
