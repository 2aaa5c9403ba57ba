// What the front ends of views share: it stands before view.js or album.js in one module. Everything that comes from users
// is set with textContent, never as markup.

const LINES = 200;

const asUrl = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));

function typeOf(bytes) {
  const first = bytes instanceof DataView ? bytes.getUint8(0) : new Uint8Array(bytes)[0];
  return first === 0x89 ? "image/png" : first === 0x52 ? "image/webp" : "image/jpeg";
}

function isDark() {
  const body = document.body;
  if (body.dataset.jpThemeLight !== undefined) return body.dataset.jpThemeLight === "false";
  if (body.classList.contains("vscode-light")) return false;
  if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast")) return true;
  return document.documentElement.getAttribute("theme") === "dark"
    || (document.documentElement.getAttribute("theme") === null && matchMedia("(prefers-color-scheme: dark)").matches);
}

// A kernel that is gone takes no messages.
function say(model, what) {
  try {
    model.send(what);
  } catch {
    // Nobody is there to be told.
  }
}

function make(tag, name, parent, attributes = {}) {
  const node = document.createElement(tag);
  node.className = name;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (parent) parent.append(node);
  return node;
}

// ---- frames and their acknowledgements --------------------------------------------------------------------------------

// The views of one model, and the pace of its frames: a frame is acknowledged once it is painted; a hidden page paints
// nothing, so it acknowledges nothing and gets nothing. A view has `visible`, `used()` and `paint()`.
function openLink() {
  const views = new Set();
  let newest = 0;
  let acknowledged = 0;
  let scheduled = false;

  const looking = () => [...views].some((view) => view.visible !== false);
  const about = () => ({ theme: isDark() ? "dark" : "light", ratio: Math.min(2, window.devicePixelRatio || 1), visible: looking(), used: [...views].some((view) => view.used()) });

  return {
    views,
    listen(model, take) {
      model.on("msg:custom", (news, buffers) => {
        if (!news || news.kind !== "frame") return;
        take(news, buffers || []);
        newest = Math.max(newest, news.n);
        const acknowledge = () => {
          if (newest > acknowledged) {
            acknowledged = newest;
            say(model, { kind: "ack", n: newest, ...about() });
          }
        };
        if (!views.size) {
          acknowledge();
          say(model, { kind: "visible", ...about() });
          return;
        }
        if (scheduled) return;
        scheduled = true;
        requestAnimationFrame(() => {
          scheduled = false;
          for (const view of views) view.paint();
          acknowledge();
        });
      });
      say(model, { kind: "hello", ...about() });
    },
    attach(model, view, el) {
      views.add(view);
      view.visible = null; // until it is known
      view.paint();
      const report = () => say(model, { kind: "visible", ...about() });
      const watch = new IntersectionObserver((entries) => {
        const visible = entries[entries.length - 1].isIntersecting && !document.hidden;
        if (visible !== view.visible) {
          view.visible = visible;
          report();
        }
      });
      watch.observe(el);
      const shown = () => {
        watch.unobserve(el);
        view.visible = false;
        watch.observe(el);
        if (document.hidden) report();
      };
      document.addEventListener("visibilitychange", shown);
      return () => {
        watch.disconnect();
        document.removeEventListener("visibilitychange", shown);
        views.delete(view);
        report();
      };
    },
  };
}

// ---- what all views show ----------------------------------------------------------------------------------------------

function takeLines(lines, news, afresh) {
  const all = afresh ? news.slice() : lines.concat(news);
  if (all.length > LINES) all.splice(0, all.length - LINES);
  return all;
}

function setText(node, text) {
  node.hidden = !text;
  if (node.textContent !== text) node.textContent = text;
}

// Name, counts and the bar of a job.
function openHead(root) {
  const head = make("div", "tc-head", root);
  const label = make("span", "tc-label", head);
  const counts = make("span", "tc-counts", head);
  const failures = make("span", "tc-failures", head);
  const detail = make("span", "tc-detail", head);
  const bar = make("div", "tc-bar", root, { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  const parts = ["tc-done", "tc-failed", "tc-cancelled"].map((name) => make("i", name, bar));
  const note = make("div", "tc-note", root);
  return (status) => {
    setText(label, status.label);
    setText(counts, status.counts);
    setText(failures, status.failures);
    setText(detail, status.detail);
    setText(note, status.note);
    bar.classList.toggle("tc-open", status.parts === null);
    bar.setAttribute("aria-label", status.counts);
    (status.parts || [0, 0, 0]).forEach((part, place) => { parts[place].style.width = `${100 * part}%`; });
    if (status.parts) bar.setAttribute("aria-valuenow", String(Math.round(100 * (status.parts[0] + status.parts[1] + status.parts[2]))));
    else bar.removeAttribute("aria-valuenow");
  };
}

function paintErrors(list, errors, hidden) {
  list.hidden = !errors.length;
  const wanted = errors.length + (hidden ? 1 : 0);
  while (list.children.length > wanted) list.lastChild.remove();
  while (list.children.length < wanted) {
    const line = make("li", "", list);
    make("b", "", line);
    make("span", "", line);
  }
  errors.forEach(([where, what], place) => {
    const line = list.children[place];
    line.className = "";
    line.firstChild.textContent = where + "  ";
    line.lastChild.textContent = what;
  });
  if (hidden) {
    const line = list.lastChild;
    line.className = "tc-more";
    line.firstChild.textContent = "";
    line.lastChild.textContent = hidden;
  }
}

function paintLines(box, lines) {
  box.hidden = !lines.length;
  const text = lines.join("\n");
  if (box.textContent === text) return;
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
  box.textContent = text;
  if (atEnd) box.scrollTop = box.scrollHeight;
}
