"""The version that peers tell each other.

Owns: one constant, as pyproject.toml has it (a test compares them; reading the installed metadata takes 20 ms at every
start of a process). Must not know: anything.
"""

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
