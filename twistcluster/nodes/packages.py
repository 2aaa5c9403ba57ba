"""The versions of packages that peers compare, as a difference may change results or keep them from loading.

Owns: which. Must not know: who compares.
"""

import functools
import importlib.metadata
from typing import Final

from twistcluster.net.version import VERSION

__all__ = ["COMPARED", "packages"]

COMPARED: Final = (
    "cloudpickle",
    "numpy",
    "pandas",
    "pillow",
    "polars",
    "pyarrow",
    "scikit-image",
    "scikit-learn",
    "scipy",
)


@functools.cache
def packages() -> dict[str, str]:
    """The versions of those that are installed here, and of twistcluster itself; none is imported."""
    found = {"twistcluster": VERSION}
    for name in COMPARED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
