"""A line that is shown in a notebook and not saved with it.

Owns: the widget that shows it. The line is in no trait, whose values a notebook may keep, and in no output: it is sent
to a front end that asks, as long as this kernel lives and the line is good for something. Must not know: what it is for.
"""

import time
from typing import Any, Final

import anywidget

__all__ = ["SecretWidget", "fallback"]

_ESM: Final = """
const STYLE = {
  row: "display:flex;gap:8px;align-items:center;padding:6px 6px 6px 10px;margin:2px 0;border-left:3px solid #1976d2;"
    + "background:var(--jp-layout-color2,#8881)",
  line: "flex:1;margin:0;user-select:all;white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px;line-height:1.4;"
    + "font-family:var(--jp-code-font-family,monospace);color:inherit;background:none",
  copy: "flex:none;min-width:6em;padding:3px 10px;font-size:12px;cursor:pointer;border-radius:3px;color:inherit;"
    + "border:1px solid var(--jp-border-color1,#8888);background:var(--jp-layout-color1,transparent)",
  about: "font-size:12px;line-height:1.5;padding:2px 13px;color:var(--jp-ui-font-color1,inherit)",
  code: "user-select:all;font-size:12px;font-family:var(--jp-code-font-family,monospace);background:none;color:inherit;padding:0",
};

function made(tag, parent, text = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
  return element;
}

async function copied(line) {
  try {
    await navigator.clipboard.writeText(line.textContent);
    return true;
  } catch {  // a page without TLS that isn't this machine's own has no clipboard
    window.getSelection().selectAllChildren(line);
    return document.execCommand("copy");
  }
}

export default {
  render({ model, el }) {
    const row = made("div", el);
    const line = made("pre", row);
    const copy = made("button", row, "Copy");
    const about = made("div", el);
    line.className = "tc-secret";
    Object.entries({ row, line, copy, about }).forEach(([name, each]) => { each.style.cssText = STYLE[name]; });
    row.style.display = "none";
    copy.type = "button";
    copy.title = "Copy the line";
    copy.onclick = async () => {
      copy.textContent = (await copied(line)) ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    };
    const told = (news) => {
      if (!news || news.kind !== "secret") return;
      row.style.display = news.line ? "flex" : "none";
      line.textContent = news.line;
      about.replaceChildren();
      for (const text of news.about.split("\\n")) {
        const [label, code] = text.split(":  ");  // what is to be typed stands behind two spaces
        const part = made("div", about, code === undefined ? text : `${label}: `);
        if (code !== undefined) made("code", part, code).style.cssText = STYLE.code;
      }
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
