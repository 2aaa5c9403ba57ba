"""What a process has loaded of models: each once, by its digest, the last few of them.

Owns: this memory, ONNX Runtime's sessions, and how libraries are asked for that an extra brings. Must not know: pictures,
what a model's numbers mean.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from twistcluster.errors import ExtraMissing

__all__ = ["loaded", "onnx_runtime", "session", "threads"]

KEPT: Final = 4
"""Models of which a process keeps the sessions."""

_kept: OrderedDict[bytes, Any] = OrderedDict()
_lock = threading.Lock()


def loaded(digest: bytes, load: Callable[[], Any]) -> Any:
    """What `load` made for this digest when it was first asked for in this process."""
    with _lock:
        if digest in _kept:
            _kept.move_to_end(digest)
            return _kept[digest]
        made = _kept[digest] = load()
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return made


def session(data: bytes, digest: bytes) -> Any:
    """The `InferenceSession` of a model. Raises what ONNX Runtime raises."""
    return loaded(digest, lambda: _session(data))


def threads() -> int:
    """With how many threads a model runs: OMP_NUM_THREADS, which slots set to their share of the cores, or 1."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, int(given)) if given.strip().isdecimal() else 1


def onnx_runtime() -> Any:
    """The module `onnxruntime`, or an error that says how to install it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ExtraMissing(
            "recognition needs onnxruntime here, and it can't be imported: pip install 'twistcluster[recognition]' "
            f"({error})",
            name="onnxruntime",
        ) from error
    return onnxruntime


def _session(data: bytes) -> Any:
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised; warnings about a model's nodes are for its maker
    have = runtime.get_available_providers()
    wanted = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in have]
    return runtime.InferenceSession(data, options, providers=wanted)
