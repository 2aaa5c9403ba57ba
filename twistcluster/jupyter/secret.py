"""A line that is shown in a notebook and not saved with it.

Owns: the widget that shows it. The line is in no trait, whose values a notebook may keep, and in no output: it is sent
to a front end that asks, as long as this kernel lives and the line is good for something. Must not know: what it is for.
"""

import time
from typing import Any, Final

import anywidget

__all__ = ["SecretWidget", "fallback"]

_ESM: Final = """
export default {
  render({ model, el }) {
    const line = document.createElement("pre");
    const about = document.createElement("div");
    line.style.cssText = "user-select:all;white-space:pre-wrap;overflow-wrap:anywhere;padding:6px 10px;margin:2px 0;"
      + "border-left:3px solid #1976d2;font-family:var(--jp-code-font-family,monospace);font-size:12px";
    about.style.cssText = "white-space:pre-wrap;font-size:12px;padding:0 10px";
    line.className = "tc-secret";
    line.hidden = true;
    el.append(line, about);
    const told = (news) => {
      if (!news || news.kind !== "secret") return;
      line.hidden = !news.line;
      line.textContent = news.line;
      about.textContent = news.about;
    };
    model.on("msg:custom", told);
    model.send({ kind: "hello" });
    return () => model.off("msg:custom", told);
  },
};
"""


class SecretWidget(anywidget.AnyWidget):
    """Shows a line to whoever looks at the notebook now.

    Args:
        line: to be copied.
        about: what is to be known beside it.
        until: seconds since 1970; afterwards it is told to nobody.
    """

    _esm = _ESM

    def __init__(self, line: str, about: str, until: float) -> None:
        super().__init__()
        self._told = line, about, until
        self.on_msg(lambda _widget, content, _buffers: self._heard(content))

    def _heard(self, content: dict[str, Any]) -> None:
        if content.get("kind") == "hello":
            line, about, until = self._told
            if time.time() >= until:
                line, about = "", "This line is good for nothing any more."
            self.send({"kind": "secret", "line": line, "about": f"{about}\nThis isn't saved with the notebook."})

    def bundle(self, title: str) -> dict[str, Any]:
        """What goes into a display's data: nothing of the line."""
        model = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {"application/vnd.jupyter.widget-view+json": model, "text/plain": fallback(title)}


def fallback(title: str) -> str:
    """What is saved, and what is seen where there is no widget."""
    return f"{title} was shown here, and isn't saved. In a terminal: twistcluster invite"
