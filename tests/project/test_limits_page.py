"""docs/limits.md is what wire/limits.py says, and each limit has a test."""

import ast
from pathlib import Path

import pytest

from twistcluster.testing.limits_page import PAGE, TESTS, limits_page, main
from twistcluster.wire import limits

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current(capsys):
    assert main(["--check", str(ROOT / PAGE)]) == 0, capsys.readouterr().out


def test_an_old_page_is_told(tmp_path, capsys):
    page = tmp_path / "limits.md"
    page.write_text("old")
    assert main(["--check", str(page)]) == 1
    assert "limits_page" in capsys.readouterr().out
    assert main([str(page)]) == main(["--check", str(page)]) == 0


def test_each_limit_is_there():
    assert set(TESTS) == set(limits.__all__)
    for name in limits.__all__:
        assert f"| `{name}` |" in limits_page()


@pytest.mark.parametrize("name", TESTS)
def test_its_test_is_there(name):
    path, test = TESTS[name].split("::")
    tree = ast.parse((ROOT / path).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
