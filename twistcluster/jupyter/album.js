// The gallery of a pipeline's pictures, as one anywidget; shared.js, album_grid.js, album_filters.js and album_full.js
// stand before it.
//
// - The store belongs to the model. Of each tile it has a *fact* [index, kind, label, score, label, score…] (to lay out,
//   count, filter); the tile itself (thumbnail, name, boxes, reason) is asked for when it is looked at, and some are kept.
// - At a job's end its output becomes a picture, the contact sheet, which is what the notebook saves. Where a page has the
//   model, it puts the living gallery on that picture.

const PICTURE = 1;
const ERROR = 2;
const WORDS = 3;
const DROPPED = 4;
const CACHED = 1500;
const ASK_MS = 30;
const ASK_PACE_MS = 150; // each question costs the page two messages about the kernel's status
const ASK_AGAIN_MS = 2000;
const ORPHAN_MS = 5000;
const SILENT_MS = 5000;
const SILENCE = "No answer from the kernel: it runs a cell, or is gone. Thumbnails that aren't here come when it answers.";

// A tile's thumbnail. Not an object URL: making one takes a message to another process, for which a page waits ten times
// as long as for these bytes as text.
function thumbnailOf(tile) {
  if (!tile.url && tile.bytes) {
    const view = tile.bytes;
    const bytes = view instanceof DataView ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array(view);
    let text = "";
    for (let start = 0; start < bytes.length; start += 8192) text += String.fromCharCode(...bytes.subarray(start, start + 8192));
    tile.url = `data:${typeOf(tile.bytes)};base64,${btoa(text)}`;
    tile.bytes = null;
  }
  return tile.url;
}

function openStore() {
  const store = {
    status: null, lines: [], labels: [], labelCounts: [], low: null, high: null, still: "", silent: false,
    kinds: [], marks: [], counts: [0, 0, 0, 0, 0], places: 0, cache: new Map(),
    name: (index) => (store.cache.get(index) || {}).name || `picture ${index}`,
    // One line about a tile, for captions.
    caption(index) {
      const tile = store.cache.get(index);
      if (store.kinds[index] === DROPPED) return "left out";
      if (!tile) return "";
      return tile.labels.length ? tile.labels.slice(0, 3).map(toldLabel).join(", ") : tile.name;
    },
    // All about a tile, for screen readers and as its tooltip.
    told(index) {
      const kind = store.kinds[index] || 0;
      const tile = store.cache.get(index);
      if (!kind) return `picture ${index}: not there yet`;
      if (kind === DROPPED) return `picture ${index}: left out`;
      if (!tile) return `picture ${index}`;
      if (kind === ERROR) return `${tile.name} failed: ${tile.text}`;
      const labels = tile.labels.slice(0, 5).map(toldLabel).join(", ");
      return [tile.name, labels || tile.text].filter((part) => part).join(": ");
    },
  };

  function takeFact([index, kind, ...marks]) {
    const old = store.kinds[index];
    if (old) {
      store.counts[old]--;
      for (let place = 0; place < (store.marks[index] || []).length; place += 2) store.labelCounts[store.marks[index][place]]--;
      store.cache.delete(index);
    }
    store.kinds[index] = kind;
    store.counts[kind]++;
    store.marks[index] = marks.length ? marks : undefined;
    for (let place = 0; place < marks.length; place += 2) {
      store.labelCounts[marks[place]] = (store.labelCounts[marks[place]] || 0) + 1;
      const score = marks[place + 1];
      if (score === null) continue;
      store.low = store.low === null ? score : Math.min(store.low, score);
      store.high = store.high === null ? score : Math.max(store.high, score);
    }
    return Boolean(old);
  }

  // Takes a frame or a snapshot; tells what changed: tiles, and whether facts did.
  store.take = (news, buffers, asked) => {
    const fresh = new Set();
    if (news.status) store.status = news.status;
    if (news.labels) news.labels.forEach((label, place) => { store.labels[(news.labels_from || 0) + place] = label; });
    for (const fact of news.facts || []) {
      if (takeFact(fact)) asked.delete(fact[0]);
      fresh.add(fact[0]);
    }
    (news.tiles || []).forEach((tile, place) => {
      const bytes = buffers[place];
      store.cache.delete(tile.index); // it becomes the newest
      store.cache.set(tile.index, { ...tile, bytes: bytes && bytes.byteLength ? bytes : null, url: "" });
      asked.delete(tile.index);
      fresh.add(tile.index);
    });
    if (news.lines) store.lines = takeLines(store.lines, news.lines, !buffers || news.lines_anew);
    if (news.still) store.still = news.still;
    store.places = Math.max(store.places, store.kinds.length, (store.status && store.status.tiles) || 0);
    return { fresh, known: Boolean((news.facts || []).length) };
  };

  // Keeps the newest tiles, and those that are in a page.
  store.tidy = (shown) => {
    for (const index of store.cache.keys()) {
      if (store.cache.size <= CACHED) return;
      if (!shown(index)) store.cache.delete(index);
    }
  };
  return store;
}

export default () => {
  const store = openStore();
  const link = openLink();
  let asked = new Set();
  let askedAt = 0;
  let asking = 0;
  let model = null;
  let silence = 0;
  let left = null; // a view whose output was just taken out of the page

  function lacking() {
    if (!asking) asking = setTimeout(ask, Math.max(ASK_MS, askedAt + ASK_PACE_MS - performance.now()));
  }

  function ask() {
    asking = 0;
    const all = new Set();
    let width = 0;
    for (const view of link.views) {
      for (const index of view.grid.missing()) all.add(index);
      width = Math.max(width, view.grid.pixels());
    }
    const now = performance.now();
    const due = now - askedAt > ASK_AGAIN_MS && [...all].some((index) => store.kinds[index]);
    if (!due && [...all].every((index) => asked.has(index))) return;
    asked = all;
    askedAt = now;
    say(model, { kind: "want", indices: [...all], width });
    if (!silence && [...all].some((index) => store.kinds[index])) silence = setTimeout(tellSilence, SILENT_MS, true);
  }

  function tellSilence(silent) {
    if (!silent) {
      clearTimeout(silence);
      silence = 0;
    }
    if (store.silent === silent) return;
    store.silent = silent;
    for (const view of link.views) view.paint();
  }

  const hooks = { lacking, fetch: (index) => say(model, { kind: "full", index }) };

  function attach(view, el) {
    view.host = el;
    el.append(view.root);
    const detach = link.attach(model, view, el);
    return () => {
      if (view.host !== el) return;
      detach();
      left = view;
      setTimeout(() => { if (left === view) left = null; }, ORPHAN_MS);
    };
  }

  // ---- on the contact sheet -----------------------------------------------------------------------------------------

  const mounted = [];

  function mount(image) {
    const parent = image.parentElement;
    if (!parent || parent.querySelector(":scope > .tc-mounted")) return;
    const host = make("div", "tc-mounted", parent);
    let view = left || [...link.views].find((one) => !one.root.isConnected);
    left = null;
    if (view) view.detach();
    else view = openAlbum(store, hooks);
    image.style.display = "none";
    view.detach = attach(view, host);
    view.back();
    mounted.push([image, host]);
  }

  function scan(node) {
    if (!store.still || !(node instanceof Element)) return;
    for (const image of node.matches("img") ? [node] : node.querySelectorAll("img")) {
      if ((image.getAttribute("src") || "").endsWith(store.still)) mount(image);
    }
  }

  const watch = new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "attributes") scan(change.target);
      else change.addedNodes.forEach(scan);
    }
  });

  function seekStill() {
    if (!store.still) return;
    watch.observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["src"] });
    scan(document.body);
  }

  function initialize({ model: given }) {
    model = given;
    store.take(model.get("state") || {}, null, asked);
    link.listen(model, (news, buffers) => {
      const { fresh, known } = store.take(news, buffers, asked);
      tellSilence(false);
      for (const view of link.views) view.news(fresh, known);
      store.tidy((index) => [...link.views].some((view) => view.grid.shows(index)));
    });
    model.on("msg:custom", (news, buffers) => {
      if (news && news.kind === "full") for (const view of link.views) view.full.fetched(news, (buffers || [])[0]);
      if (news && news.kind === "still") {
        store.still = news.tail;
        seekStill();
      }
    });
    seekStill();
    return () => {
      watch.disconnect();
      // The kernel is gone, or has forgotten this one: the picture stays.
      for (const [image, host] of mounted) {
        host.remove();
        image.style.display = "";
      }
    };
  }

  function render({ el }) {
    const view = openAlbum(store, hooks);
    const leave = attach(view, el);
    view.detach = leave;
    view.back();
    return leave;
  }

  return { initialize, render };
};

// ---- one view ---------------------------------------------------------------------------------------------------------

function openAlbum(store, hooks) {
  const root = make("section", "tc-view tc-album", null);
  const paintHead = openHead(root);
  const trouble = make("div", "tc-plot-error", root, { role: "status" });
  const filters = openFilters(root, store, () => grid.reorder(true));
  const place = make("div", "tc-place", root);
  const none = make("div", "tc-none", place);
  const grid = openGrid(place, store, filters, {
    lacking: hooks.lacking,
    isOpen: () => full.isOpen(),
    open: (index) => store.kinds[index] && store.kinds[index] !== DROPPED && full.open(index),
    reordered: (count) => {
      filters.paintCounts(count);
      setText(none, !count && filters.active() ? "No picture is like this." : "");
      place.classList.toggle("tc-no-tiles", !count);
    },
  });
  const full = openFull(place, store, {
    fetch: hooks.fetch,
    beside: grid.beside,
    standing: grid.standing,
    opened: (index) => {
      grid.choose(index, false);
      place.classList.add("tc-opened");
    },
    closed: () => {
      place.classList.remove("tc-opened");
      grid.focus();
    },
  });
  const output = make("div", "tc-output", root, { tabindex: "0", "aria-label": "What the items printed" });
  let focused = false;
  root.addEventListener("focusin", () => { focused = true; });
  root.addEventListener("focusout", () => { if (root.isConnected) focused = root.matches(":focus-within"); });
  // Letters are commands of the notebook; what the browser and JupyterLab do with Ctrl stays theirs.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Tab" && event.key !== "Escape") event.stopPropagation();
  });

  const view = {
    root, grid, full,
    host: null,
    visible: null, // until it is known
    used: () => root.matches(":hover, :focus-within"),
    news(fresh, known) {
      grid.news(fresh, known);
      full.news(fresh);
    },
    paint() {
      const status = store.status;
      if (!status) return;
      root.classList.toggle("tc-dark", isDark());
      root.setAttribute("aria-label", "Gallery of " + status.label);
      paintHead(status);
      setText(trouble, status.plot_error || (store.silent ? SILENCE : ""));
      filters.paint();
      filters.paintCounts(grid.count());
      paintLines(output, store.lines);
    },
    // It was put into the page, anew or again.
    back() {
      view.paint();
      grid.measure();
      grid.reorder(true);
      grid.measure();
      if (!focused) return;
      if (full.isOpen()) full.focus();
      else grid.focus();
    },
  };
  return view;
}
