// The live view of a job, as one anywidget. Everything that comes from users is set with textContent, never as markup.
//
// - The store belongs to the model and survives its views: it starts from the trait `state` (so a reloaded page shows
//   what was there) and grows by custom messages, each one frame: {kind: "frame", n, ...} with its buffers.
// - A frame is acknowledged once it is painted; a hidden page paints nothing, so it acknowledges nothing and gets nothing.

const LINES = 200;

export default () => {
  const store = { status: null, tiles: new Map(), urls: new Map(), errors: [], lines: [], plot: null, gallery: false };
  const views = new Set();
  let newest = 0;
  let acknowledged = 0;
  let scheduled = false;

  const asUrl = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));

  const typeOf = (bytes) => {
    const first = bytes instanceof DataView ? bytes.getUint8(0) : new Uint8Array(bytes)[0];
    return first === 0x89 ? "image/png" : "image/jpeg";
  };

  function takeTile(tile, bytes) {
    const old = store.tiles.get(tile.index);
    if (old && old.url) URL.revokeObjectURL(old.url);
    const url = tile.width && bytes && bytes.byteLength ? asUrl(bytes, typeOf(bytes)) : null;
    store.tiles.set(tile.index, { ...tile, url });
    return tile.index;
  }

  function takePlot(plot, bytes) {
    if (bytes && bytes.byteLength) {
      if (store.plot && store.plot.url) setTimeout((url) => URL.revokeObjectURL(url), 2000, store.plot.url);
      store.plot = { ...plot, url: asUrl(bytes, "image/png") };
    }
  }

  // A snapshot has its bytes in place, a frame has them in its buffers, in the order: tiles, plot.
  function take(news, buffers) {
    const fresh = [];
    let next = 0;
    for (const tile of news.tiles || []) {
      fresh.push(takeTile(tile, buffers ? buffers[next++] : tile.data));
    }
    if (news.plot) takePlot(news.plot, buffers ? buffers[next] : news.plot.data);
    if (news.status) store.status = news.status;
    if (news.errors) store.errors = news.errors;
    if (news.lines) {
      store.lines = buffers && !news.lines_anew ? store.lines.concat(news.lines) : news.lines.slice();
      if (store.lines.length > LINES) store.lines.splice(0, store.lines.length - LINES);
    }
    return fresh;
  }

  const dark = () => {
    const body = document.body;
    if (body.dataset.jpThemeLight !== undefined) return body.dataset.jpThemeLight === "false";
    if (body.classList.contains("vscode-light")) return false;
    if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast")) return true;
    return document.documentElement.getAttribute("theme") === "dark"
      || (document.documentElement.getAttribute("theme") === null && matchMedia("(prefers-color-scheme: dark)").matches);
  };

  const looking = () => [...views].some((view) => view.visible !== false);
  const about = () => ({ theme: dark() ? "dark" : "light", ratio: Math.min(2, window.devicePixelRatio || 1), visible: looking(), used: [...views].some((view) => view.used()) });

  function initialize({ model }) {
    take(model.get("state") || {}, null);
    model.on("msg:custom", (news, buffers) => {
      if (!news || news.kind !== "frame") return;
      const fresh = take(news, buffers || []);
      for (const view of views) for (const index of fresh) view.fresh.add(index);
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
    return () => {
      for (const tile of store.tiles.values()) if (tile.url) URL.revokeObjectURL(tile.url);
      if (store.plot && store.plot.url) URL.revokeObjectURL(store.plot.url);
    };
  }

  function render({ model, el }) {
    const view = openView(el, store, dark);
    for (const index of store.tiles.keys()) view.fresh.add(index);
    views.add(view);
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
  }

  return { initialize, render };
};

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

// ---- one view ---------------------------------------------------------------------------------------------------------

function openView(el, store, dark) {
  const root = make("section", "tc-view", el);
  const head = make("div", "tc-head", root);
  const label = make("span", "tc-label", head);
  const counts = make("span", "tc-counts", head);
  const failures = make("span", "tc-failures", head);
  const detail = make("span", "tc-detail", head);
  const bar = make("div", "tc-bar", root, { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  const parts = ["tc-done", "tc-failed", "tc-cancelled"].map((name) => make("i", name, bar));
  const note = make("div", "tc-note", root);
  const result = make("div", "tc-result", root);
  const plot = make("div", "tc-plot", root);
  const plotImage = make("img", "", plot, { alt: "" });
  const plotError = make("div", "tc-plot-error", root, { role: "status" });
  const gallery = openGallery(root, store);
  const errors = make("ul", "tc-errors", root, { "aria-label": "Errors" });
  const output = make("div", "tc-output", root, { tabindex: "0", "aria-label": "What the items printed" });

  const set = (node, text) => {
    node.hidden = !text;
    if (node.textContent !== text) node.textContent = text;
  };

  const view = {
    visible: null, // until it is known
    fresh: new Set(),
    // Somebody points at it or has the focus in it.
    used: () => root.matches(":hover, :focus-within"),
    paint() {
      const status = store.status;
      if (!status) return;
      root.classList.toggle("tc-dark", dark());
      root.setAttribute("aria-label", "Job " + status.label);
      set(label, status.label);
      set(counts, status.counts);
      set(failures, status.failures);
      set(detail, status.detail);
      set(note, status.note);
      set(result, status.result);
      bar.classList.toggle("tc-open", status.parts === null);
      bar.setAttribute("aria-label", status.counts);
      (status.parts || [0, 0, 0]).forEach((part, place) => { parts[place].style.width = `${100 * part}%`; });
      if (status.parts) bar.setAttribute("aria-valuenow", String(Math.round(100 * (status.parts[0] + status.parts[1] + status.parts[2]))));
      else bar.removeAttribute("aria-valuenow");
      plot.hidden = !status.plot;
      plotImage.hidden = !store.plot;
      if (store.plot && plotImage.src !== store.plot.url) plotImage.src = store.plot.url;
      plotImage.alt = status.plot ? `Plot of ${status.label}, ${status.counts}` : "";
      set(plotError, status.plot_error);
      gallery.paint(status, view.fresh);
      view.fresh.clear();
      paintErrors(errors, store.errors, status.errors_hidden);
      paintLines(output, store.lines);
    },
  };
  return view;
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

// ---- the gallery ------------------------------------------------------------------------------------------------------

function openGallery(root, store) {
  const box = make("div", "tc-gallery", root, { role: "listbox", "aria-label": "Results" });
  const foot = make("div", "tc-foot", root);
  const count = make("span", "tc-count", foot);
  const words = make("span", "tc-about", foot);
  const preview = make("div", "tc-preview", root);
  const large = make("img", "", preview, { alt: "" });
  const largeWords = make("div", "", preview);
  preview.hidden = true;
  const nodes = [];
  let chosen = 0;
  let touched = false;
  let farthest = -1;

  const told = (index) => {
    const tile = store.tiles.get(index);
    if (!tile) return `item ${index}: not there yet`;
    return tile.text ? `item ${index}: ${tile.text}` : `item ${index}`;
  };

  function addNode(index) {
    const node = make("div", "tc-tile tc-empty", box, { role: "option", tabindex: index === chosen ? "0" : "-1", "aria-label": told(index) });
    node.dataset.index = String(index);
    make("div", "tc-face", node);
    make("div", "tc-caption", node).textContent = String(index);
    nodes.push(node);
  }

  function fill(index) {
    const tile = store.tiles.get(index);
    const node = nodes[index];
    if (!tile || !node) return;
    const face = node.firstChild;
    node.className = tile.failed ? "tc-tile tc-bad" : "tc-tile";
    node.lastChild.textContent = tile.failed ? `${index} failed` : String(index);
    node.setAttribute("aria-label", told(index));
    node.title = told(index);
    if (tile.url) {
      const image = make("img", Math.max(tile.width, tile.height) < 64 ? "tc-sharp" : "", null, { alt: `Result of item ${index}`, draggable: "false", width: tile.width, height: tile.height });
      image.decoding = "async";
      image.src = tile.url;
      face.replaceChildren(image);
    } else {
      const text = make("div", "tc-words", null);
      // No room for words among many tiles: they are in the tile's label, and in the list of errors.
      text.textContent = box.classList.contains("tc-dense") ? (tile.failed ? "✕" : "…") : tile.text;
      face.replaceChildren(text);
    }
  }

  function look(open) {
    const tile = store.tiles.get(chosen);
    preview.hidden = !open || !tile;
    if (preview.hidden) return;
    const node = nodes[chosen];
    const below = node.offsetTop - box.scrollTop + node.offsetHeight;
    preview.style.left = `${box.offsetLeft + Math.max(0, Math.min(node.offsetLeft, box.clientWidth - 244))}px`;
    // Under the tile, in the upper half of the gallery; over it in the lower.
    const under = below < box.clientHeight / 2 || box.clientHeight < 300;
    preview.style.top = under ? `${box.offsetTop + below + 4}px` : "auto";
    preview.style.bottom = under ? "auto" : `${root.clientHeight - (box.offsetTop + below - node.offsetHeight) + 4}px`;
    large.hidden = !tile.url;
    if (tile.url) large.src = tile.url;
    large.className = tile.url && Math.max(tile.width, tile.height) < 64 ? "tc-sharp" : "";
    large.alt = `Result of item ${chosen}`;
    largeWords.textContent = told(chosen);
  }

  function choose(index, focus) {
    const target = Math.max(0, Math.min(nodes.length - 1, index));
    if (!nodes[target]) return;
    if (nodes[chosen]) {
      nodes[chosen].tabIndex = -1;
      nodes[chosen].classList.remove("tc-chosen");
      nodes[chosen].removeAttribute("aria-selected");
    }
    chosen = target;
    touched = true;
    nodes[chosen].tabIndex = 0;
    nodes[chosen].classList.add("tc-chosen");
    nodes[chosen].setAttribute("aria-selected", "true");
    words.textContent = told(chosen);
    if (!preview.hidden) look(true);
    if (focus) nodes[chosen].focus({ preventScroll: false });
  }

  box.addEventListener("keydown", (event) => {
    const columns = Math.max(1, getComputedStyle(box).gridTemplateColumns.split(" ").length);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -chosen, End: nodes.length, PageDown: 4 * columns, PageUp: -4 * columns };
    const opens = event.key === "Enter" || event.key === " ";
    const closes = event.key === "Escape" && !preview.hidden;
    if (!(event.key in steps) && !opens && !closes) return;
    // The notebook has its own keys.
    event.preventDefault();
    event.stopPropagation();
    if (opens || closes) look(opens && preview.hidden);
    else choose(chosen + steps[event.key], true);
  });
  box.addEventListener("click", (event) => {
    const node = event.target.closest(".tc-tile");
    if (!node) return;
    const again = Number(node.dataset.index) === chosen && !preview.hidden;
    choose(Number(node.dataset.index), true);
    look(!again);
  });
  box.addEventListener("focusin", (event) => {
    const node = event.target.closest(".tc-tile");
    if (node) choose(Number(node.dataset.index), false);
  });
  box.addEventListener("focusout", (event) => {
    if (!box.contains(event.relatedTarget)) look(false);
  });
  for (const kind of ["wheel", "touchmove", "pointerdown"]) box.addEventListener(kind, () => { touched = true; }, { passive: true });

  return {
    paint(status, fresh) {
      box.hidden = foot.hidden = !status.gallery;
      if (!status.gallery) return;
      const many = status.tiles;
      // As card.py's _Grid: 6 columns of a full width for 18 tiles, 16 for more than 144.
      const columns = many <= 18 ? 6 : many <= 40 ? 8 : many <= 80 ? 10 : many <= 144 ? 12 : 16;
      box.style.setProperty("--tc-tile", `${Math.floor((788 - 6 * (columns - 1)) / columns)}px`);
      box.classList.toggle("tc-dense", columns > 10);
      const before = nodes.length;
      while (nodes.length < many) addNode(nodes.length);
      if (before !== nodes.length) for (let index = before; index < nodes.length; index++) fill(index);
      for (const index of fresh) {
        fill(index);
        farthest = Math.max(farthest, index);
      }
      count.textContent = status.gallery;
      if (nodes[chosen] && nodes[chosen].classList.contains("tc-chosen")) words.textContent = told(chosen);
      // Follow what comes, until somebody looks around.
      if (!touched && fresh.size && nodes[farthest]) {
        const node = nodes[farthest];
        const low = node.offsetTop + node.offsetHeight - box.clientHeight + 4;
        if (box.scrollHeight > box.clientHeight && low > box.scrollTop) box.scrollTop = low;
      }
    },
  };
}
