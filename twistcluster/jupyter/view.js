// The live view of a job, as one anywidget; shared.js stands before it.
//
// - The store belongs to the model and survives its views: it starts from the trait `state` (so a reloaded page shows
//   what was there) and grows by custom messages, each one frame: {kind: "frame", n, ...} with its buffers.

export default () => {
  const store = { status: null, tiles: new Map(), urls: new Map(), errors: [], lines: [], plot: null, gallery: false };
  const link = openLink();

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
    if (news.lines) store.lines = takeLines(store.lines, news.lines, !buffers || news.lines_anew);
    return fresh;
  }

  function initialize({ model }) {
    take(model.get("state") || {}, null);
    link.listen(model, (news, buffers) => {
      const fresh = take(news, buffers);
      for (const view of link.views) for (const index of fresh) view.fresh.add(index);
    });
    return () => {
      for (const tile of store.tiles.values()) if (tile.url) URL.revokeObjectURL(tile.url);
      if (store.plot && store.plot.url) URL.revokeObjectURL(store.plot.url);
    };
  }

  function render({ model, el }) {
    const view = openView(el, store);
    for (const index of store.tiles.keys()) view.fresh.add(index);
    return link.attach(model, view, el);
  }

  return { initialize, render };
};

// ---- one view ---------------------------------------------------------------------------------------------------------

function openView(el, store) {
  const root = make("section", "tc-view", el);
  const paintHead = openHead(root);
  const result = make("div", "tc-result", root);
  const plot = make("div", "tc-plot", root);
  const plotImage = make("img", "", plot, { alt: "" });
  const plotError = make("div", "tc-plot-error", root, { role: "status" });
  const gallery = openGallery(root, store);
  const errors = make("ul", "tc-errors", root, { "aria-label": "Errors" });
  const output = make("div", "tc-output", root, { tabindex: "0", "aria-label": "What the items printed" });

  const view = {
    visible: null, // until it is known
    fresh: new Set(),
    // Somebody points at it or has the focus in it.
    used: () => root.matches(":hover, :focus-within"),
    paint() {
      const status = store.status;
      if (!status) return;
      root.classList.toggle("tc-dark", isDark());
      root.setAttribute("aria-label", "Job " + status.label);
      paintHead(status);
      setText(result, status.result);
      plot.hidden = !status.plot;
      plotImage.hidden = !store.plot;
      if (store.plot && plotImage.src !== store.plot.url) plotImage.src = store.plot.url;
      plotImage.alt = status.plot ? `Plot of ${status.label}, ${status.counts}` : "";
      setText(plotError, status.plot_error);
      gallery.paint(status, view.fresh);
      view.fresh.clear();
      paintErrors(errors, store.errors, status.errors_hidden);
      paintLines(output, store.lines);
    },
  };
  return view;
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
