"""What tests of several rooms use."""

import importlib
import os
import shutil
import time
from collections.abc import Callable
from types import ModuleType

import pytest

__all__ = ["IN_CI", "require", "require_module", "until"]

IN_CI = os.environ.get("CI") == "true"


def require(program: str) -> str:
    """The path of a program; without it the test skips and says why, in CI it fails."""
    if path := shutil.which(program):
        return path
    return missing(f"needs the program {program!r}, which isn't installed here")


def require_module(name: str) -> ModuleType:
    """An optional library; without it the test skips and says why, in CI it fails."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        return missing(f"needs the library {name!r}: {error}")


def missing(reason: str):
    if IN_CI:
        pytest.fail(f"{reason} (with CI=true that is a failure)")
    pytest.skip(reason)


def until(condition: Callable[[], object], seconds: float = 10.0, what: str = "") -> object:
    """Poll until the condition is true and return its value; past the deadline the test fails, saying what it waited for."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what or condition}")
        time.sleep(0.005)
    return value
