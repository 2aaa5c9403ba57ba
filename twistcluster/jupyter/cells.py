"""The cell under `%%cluster submit` and `%%cluster everywhere`, made into a function.

Owns: what a cell returns, which names it assigns, and which it reads before that. Must not know: IPython, clusters.

A cell is written as if it were a module: `df = df.dropna()` reads the notebook's `df` and assigns its own. In a function
that would be an error, so names that are read first and assigned later become parameters (of `submit`), or globals that
have a value already (of `everywhere`, all of whose names are global).
"""

import ast

from twistcluster.jupyter.code import Code, asynchronous, free_names, function, unused_name
from twistcluster.jupyter.flow import assigned_names, read_before_assigned
from twistcluster.jupyter.grammar import GrammarError

__all__ = ["parse_everywhere_cell", "parse_submit_cell"]


def parse_submit_cell(line: str, cell: str) -> Code:
    """Read the cell under `%%cluster submit`; `line` is the rest of its first line.

    Raises:
        GrammarError: if it isn't Python, or has lines that only a notebook understands.
    """
    source, statements = _parse("submit", line, cell)
    early = tuple(sorted(read_before_assigned(statements)))
    tree = function(_returning(statements), is_async=any(map(asynchronous, statements)))
    _check_star(tree)
    return Code(tree, "cell", source, "submit cell", free_names(tree), early, spare=unused_name(tree))


def parse_everywhere_cell(line: str, cell: str) -> Code:
    """Read the cell under `%%cluster everywhere`.

    Raises:
        GrammarError: as `parse_submit_cell`.
    """
    source, statements = _parse("everywhere", line, cell)
    early = tuple(sorted(read_before_assigned(statements)))
    names = sorted(assigned_names(statements))
    declared = {name for node in statements if isinstance(node, ast.Global) for name in node.names}
    new = [name for name in names if name not in declared]
    body = [ast.copy_location(ast.Global(new), statements[0]), *statements] if new else statements
    tree = function(body, is_async=any(map(asynchronous, statements)))
    _check_star(tree)
    free = free_names(tree) - frozenset(names)
    return Code(tree, "everywhere", source, "everywhere", free, early, frozenset(names))


def _parse(command: str, line: str, cell: str) -> tuple[str, list[ast.stmt]]:
    first = f"%%cluster {command} {line}".rstrip()
    # The magic's own line counts: then line numbers are those that the notebook shows.
    source = f"{first}\n{cell}"
    try:
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        module = compile(f"\n{cell}", "<cluster>", "exec", flags, dont_inherit=True)
        assert isinstance(module, ast.Module)
        compile(module, "<cluster>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        raise GrammarError(_unreadable(source, command, error)) from None
    if not module.body:
        msg = f"The cell has no code: write it below the line %%cluster {command}.\nMore: %cluster help {command}"
        raise GrammarError(msg)
    return source, module.body


def _unreadable(source: str, command: str, error: SyntaxError) -> str:
    lines = source.splitlines()
    number = error.lineno or 0
    text = lines[number - 1] if 0 < number <= len(lines) else ""
    for place, other in enumerate(lines[1:], 2):
        if place <= max(number, 2) and other.lstrip().startswith(("!", "%")):
            number, text = place, other
            break
    stripped = text.strip()
    if stripped.startswith(("!", "%")) or " = !" in stripped or "= %" in stripped:
        return (
            f"Line {number} is for the notebook, not for a worker: {stripped}\n"
            "Take lines with ! and % out of the cell; a worker has subprocess.run instead of !."
        )
    shown = [f"Line {number} of the cell can't be read: {error.msg}", f"    {text.rstrip()}"]
    if error.offset and error.lineno == number:
        shown.append(f"    {' ' * (error.offset - 1)}^")
    return "\n".join([*shown, f"More: %cluster help {command}"])


def _returning(statements: list[ast.stmt]) -> list[ast.stmt]:
    last = statements[-1]
    if not isinstance(last, ast.Expr):
        return statements
    return [*statements[:-1], ast.copy_location(ast.Return(last.value), last)]


def _check_star(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            msg = f"Line {node.lineno}: a cell that runs on a worker names what it imports: from {node.module} import …"
            raise GrammarError(msg)
