"""The front end of a view: one anywidget with inline ESM and CSS: of view.js and view.css, of a gallery album.js and others.

An inline module can't import another, so the pieces that make one stand one behind the other in it.

Owns: the widget's class and what belongs to its comm. Frames go as custom messages with binary buffers. The one trait
`state` is never sent as such while the view lives: it is put together when a front end asks for the model, which is how
a reloaded page gets everything that was shown. Must not know: jobs, when frames are sent.
"""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

__all__ = ["AlbumWidget", "ViewWidget"]

_HERE = files(__package__ or "twistcluster.jupyter")


def _read(*names: str) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


class ViewWidget(anywidget.AnyWidget):
    """A live view's model.

    Args:
        snapshot: Everything that the view shows now, in one dict.
        heard: Is called with each message of a front end, in a subshell's thread or in the main thread: hand on only.
    """

    _esm = _read("shared.js", "view.js")
    _css = _read("view.css")
    state = traitlets.Any(None).tag(sync=True, to_json=lambda _, widget: widget.snapshot())

    def __init__(self, snapshot: Callable[[], dict[str, Any]], heard: Callable[[dict[str, Any]], None]) -> None:
        # Before super(): opening the comm sends the state.
        self.snapshot = snapshot
        super().__init__()
        comm = self.comm
        if hasattr(comm, "_reply_subshell_for"):
            # ipykernel 7.4 answers in the shell that sent last, which is busy while a cell runs: take the one asked for.
            comm._reply_subshell_for = lambda _data, default: default  # noqa: SLF001 - there is no public name
        self.on_msg(lambda _widget, content, _buffers: heard(content))

    def bundle(self) -> dict[str, Any]:
        """What goes into a display's data."""
        return {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.model_id,
            }
        }


class AlbumWidget(ViewWidget):
    """A live gallery's model."""

    _esm = _read("shared.js", "album_grid.js", "album_filters.js", "album_full.js", "album.js")
    _css = _read("view.css", "album.css")
