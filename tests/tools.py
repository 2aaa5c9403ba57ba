"""What tests of several rooms use."""

import importlib
import os
import shutil
import time
from collections.abc import Callable
from types import ModuleType

import pytest

__all__ = ["IN_CI", "PATIENCE_S", "require", "require_module", "until"]

IN_CI = os.environ.get("CI") == "true"
PATIENCE_S = 60.0
"""For what happens at once on an idle machine: tests may run on a loaded one, and waiting for longer costs nothing."""


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


def until(condition: Callable[[], object], seconds: float = PATIENCE_S, what: str | Callable[[], str] = "") -> object:
    """Poll until the condition is true and return its value.

    Past the deadline the test fails, saying what it waited for (asked then, if `what` is a function).
    """
    deadline, pause = time.monotonic() + seconds, 0.005
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {(what() if callable(what) else what) or condition}")
        time.sleep(pause)
        pause = min(pause * 1.1, 0.025)  # what is asked may cost who is waited for
    return value
