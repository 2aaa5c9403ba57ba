// The grid of a gallery: however many tiles there are, only those near the visible part are in the page.
//
// - Nodes are recycled: one that leaves the visible part becomes the tile that enters it.
// - A tile's place is its place among the shown indices: pending pictures hold theirs. What a filter left out keeps its
//   place while somebody looks at it (or below it), so that nothing moves under their eyes.
// - `order` is null where every index is shown: then the place is the index.

const TILE = 148;
const NARROW_TILE = 96;
const GAP = 8;
const CAPTION = 21;
const LINE = 15; // of words in a tile, in pixels
const OVERSCAN = 2;
const ORDER_MS = 250;
const SVG = "http://www.w3.org/2000/svg";
const BOX_COLORS = ["#f0be28", "#40a0ff", "#fa6e5a", "#46be78", "#c878f0", "#3cc8d2"];

// As album.py's label_color.
function labelColor(label) {
  let sum = 0;
  for (const char of label) sum += char.codePointAt(0);
  return BOX_COLORS[sum % BOX_COLORS.length];
}

const toldLabel = ([label, score]) => (score === null || score === undefined ? label : `${label} ${score.toFixed(2)}`);

// The boxes of a tile's labels, laid over a picture that is fitted into its element.
function boxesOf(tile) {
  const boxes = tile.labels.filter((found) => found[2]);
  const [width, height] = tile.size;
  if (!boxes.length || !width || !height) return null;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-hidden", "true");
  for (const [label, , box] of boxes.reverse()) {
    const rect = document.createElementNS(SVG, "rect");
    const [left, top, right, bottom] = box;
    const sides = { x: Math.min(left, right), y: Math.min(top, bottom), width: Math.abs(right - left), height: Math.abs(bottom - top), stroke: labelColor(label) };
    for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, String(value));
    svg.append(rect);
  }
  return svg;
}

function openGrid(root, store, filter, hooks) {
  const box = make("div", "tc-grid", root, { role: "listbox", "aria-label": "Pictures" });
  const field = make("div", "tc-field", box, { role: "presentation" });
  const live = new Map();
  const spare = [];
  const gone = new Set(); // what a filter left out, and has no place any more
  let order = null;
  let count = 0;
  let width = 0;
  let columns = 1;
  let tileWidth = TILE;
  let pitch = TILE;
  let scrolled = 0;
  let active = 0;
  let missing = [];
  let queued = false;
  let reordering = 0;

  const at = (place) => (order ? order[place] : place);

  // The first place whose index isn't below.
  function placeFrom(index) {
    if (!order) return Math.min(index, count);
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order[middle] < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function placeOf(index) {
    const place = placeFrom(index);
    return place < count && at(place) === index ? place : -1;
  }

  // ---- tiles --------------------------------------------------------------------------------------------------------

  function newNode() {
    const node = make("div", "tc-tile", field, { role: "option", tabindex: "-1" });
    make("div", "tc-face", node);
    make("div", "tc-caption", node);
    return node;
  }

  function fill(node, index) {
    const kind = store.kinds[index] || 0;
    const tile = store.cache.get(index) || null;
    if (node.shownIndex === index && node.shownKind === kind && node.shownTile === tile) return;
    node.shownIndex = index;
    node.shownKind = kind;
    node.shownTile = tile;
    const [face, caption] = node.children;
    const told = store.told(index);
    node.className = `tc-tile tc-kind-${kind}${index === active ? " tc-chosen" : ""}`;
    node.dataset.index = String(index);
    node.setAttribute("aria-label", told);
    node.title = told;
    caption.textContent = store.caption(index);
    const url = tile ? thumbnailOf(tile) : "";
    if (url) {
      const small = Math.max(...tile.size) < 64;
      const image = make("img", small ? "tc-sharp" : "", null, { alt: told, draggable: "false" });
      image.decoding = "async";
      image.addEventListener("error", () => face.replaceChildren(words("this thumbnail can't be shown")), { once: true });
      image.src = url;
      const boxes = boxesOf(tile);
      face.replaceChildren(image, ...(boxes ? [boxes] : []));
    } else if (tile && tile.text) {
      face.replaceChildren(words(tile.text));
    } else {
      face.replaceChildren();
    }
  }

  function words(text) {
    const node = make("div", "tc-words", null);
    node.textContent = text;
    return node;
  }

  function release(index) {
    const node = live.get(index);
    live.delete(index);
    node.hidden = true;
    node.tabIndex = -1;
    node.shownTile = undefined;
    spare.push(node);
  }

  function put(index, place) {
    let node = live.get(index);
    if (!node) {
      node = spare.pop() || newNode();
      node.hidden = false;
      live.set(index, node);
    }
    fill(node, index);
    if (node.shownPlace !== place || node.shownAmong !== count || node.shownWidth !== tileWidth) {
      node.shownPlace = place;
      node.shownAmong = count;
      node.shownWidth = tileWidth;
      node.style.width = `${tileWidth}px`;
      node.style.transform = `translate(${(place % columns) * (tileWidth + GAP)}px, ${Math.floor(place / columns) * pitch}px)`;
      node.setAttribute("aria-posinset", String(place + 1));
      node.setAttribute("aria-setsize", String(count));
    }
    node.tabIndex = index === active ? 0 : -1;
    node.setAttribute("aria-selected", String(index === active));
  }

  // ---- what is visible ----------------------------------------------------------------------------------------------

  function update() {
    queued = false;
    if (!width) return;
    const rows = Math.ceil(count / columns);
    const high = `${Math.max(0, rows * pitch - GAP)}px`;
    if (field.style.height !== high) field.style.height = high;
    const top = box.scrollTop;
    const bottom = top + box.clientHeight;
    const clip = (row) => Math.max(0, Math.min(count, row * columns));
    const first = clip(Math.floor(top / pitch));
    const last = clip(Math.ceil(bottom / pitch));
    const from = Math.max(0, first - OVERSCAN * columns);
    const to = Math.min(count, last + OVERSCAN * columns);
    if (count && placeOf(active) < 0) active = at(Math.min(placeFrom(active), count - 1));
    for (const index of [...live.keys()]) {
      const place = placeOf(index);
      // The one that has the focus stays, or the keyboard would lose its place.
      if ((place < from || place >= to) && (index !== active || place < 0)) release(index);
    }
    for (let place = from; place < to; place++) put(at(place), place);
    if (count && (placeOf(active) < from || placeOf(active) >= to)) put(active, placeOf(active));
    while (spare.length > 4 * columns) spare.pop().remove();
    look(first, last);
  }

  // What is looked at and isn't here, then what is near.
  function look(first, last) {
    missing = [];
    const lacks = (place) => {
      const index = at(place);
      if (store.kinds[index] !== DROPPED && !store.cache.has(index)) missing.push(index);
    };
    const ahead = Math.min(count, last + (last - first));
    const back = Math.max(0, first - (last - first));
    for (let place = first; place < last; place++) lacks(place);
    for (let place = last; place < ahead; place++) lacks(place);
    for (let place = first - 1; place >= back; place--) lacks(place);
    hooks.lacking();
  }

  function queue() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(update);
  }

  function measure() {
    const now = box.clientWidth;
    if (!now) {
      width = 0; // not in the page: what was scrolled to is kept for when it is
      return;
    }
    const again = !width;
    if (now !== width) {
      const anchor = Math.floor(scrolled / pitch) * columns;
      const within = scrolled % pitch;
      width = now;
      const least = now < 340 ? NARROW_TILE : TILE;
      columns = Math.max(1, Math.floor((now + GAP) / (least + GAP)));
      tileWidth = Math.floor((now - GAP * (columns - 1)) / columns);
      const before = pitch;
      pitch = Math.round(tileWidth * 0.75) + CAPTION + GAP;
      field.style.setProperty("--tc-face", `${pitch - CAPTION - GAP}px`);
      field.style.setProperty("--tc-lines", String(Math.max(1, Math.floor((pitch - CAPTION - GAP - 14) / LINE))));
      scrolled = Math.floor(anchor / columns) * pitch + within * (pitch / before);
    }
    update();
    if (again || box.scrollTop !== scrolled) box.scrollTop = scrolled;
    update();
  }

  // ---- which indices are shown --------------------------------------------------------------------------------------

  // `afresh`: nobody minds if what was left out gives up its place now.
  function reorder(afresh) {
    clearTimeout(reordering);
    reordering = 0;
    const first = Math.floor(scrolled / pitch) * columns;
    const anchor = scrolled > 0 && first < count ? at(first) : -1;
    const within = scrolled % pitch;
    const lastSeen = Math.min(count, Math.ceil((scrolled + box.clientHeight) / pitch) * columns) - 1;
    const horizon = afresh || lastSeen < 0 ? -1 : at(lastSeen);
    const chosen = filter.active();
    if (!chosen && !store.counts[DROPPED]) {
      order = null;
      count = store.places;
    } else {
      const shown = new Int32Array(store.places);
      let size = 0;
      for (let index = 0; index < store.places; index++) {
        const kind = store.kinds[index] || 0;
        if (kind === DROPPED) {
          if (chosen || gone.has(index)) continue;
          if (index > horizon) {
            gone.add(index);
            continue;
          }
        } else {
          gone.delete(index);
          if (chosen && !filter.passes(index)) continue;
        }
        shown[size++] = index;
      }
      order = shown.subarray(0, size);
      count = size;
    }
    if (anchor >= 0) {
      const target = Math.floor(placeFrom(anchor) / columns) * pitch + within;
      field.style.height = `${Math.max(0, Math.ceil(count / columns) * pitch - GAP)}px`;
      if (Math.abs(target - box.scrollTop) > 0.5) box.scrollTop = target;
      scrolled = box.scrollTop;
    }
    queue();
    hooks.reordered(count);
  }

  // ---- keyboard -----------------------------------------------------------------------------------------------------

  function choose(index, focus) {
    const place = placeOf(index);
    if (place < 0) return;
    const before = live.get(active);
    if (before) before.classList.remove("tc-chosen");
    active = index;
    const top = Math.floor(place / columns) * pitch;
    if (focus || hooks.isOpen()) {
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + pitch - GAP > box.scrollTop + box.clientHeight) box.scrollTop = top + pitch - GAP - box.clientHeight;
      scrolled = box.scrollTop;
    }
    update();
    const node = live.get(index);
    node.classList.add("tc-chosen");
    if (focus) node.focus({ preventScroll: true });
  }

  const step = (places) => choose(at(Math.max(0, Math.min(count - 1, placeOf(active) + places))), true);

  box.addEventListener("keydown", (event) => {
    const page = columns * Math.max(1, Math.floor(box.clientHeight / pitch));
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -count, End: count, PageDown: page, PageUp: -page };
    const opens = event.key === "Enter" || event.key === " ";
    if (!count || !(event.key in steps || opens)) return;
    // The notebook has its own keys.
    event.preventDefault();
    event.stopPropagation();
    if (opens) hooks.open(active);
    else step(steps[event.key]);
  });
  box.addEventListener("click", (event) => {
    const node = event.target.closest(".tc-tile");
    if (!node) return;
    choose(Number(node.dataset.index), true);
    hooks.open(active);
  });
  box.addEventListener("focusin", (event) => {
    const node = event.target.closest(".tc-tile");
    if (node && Number(node.dataset.index) !== active) choose(Number(node.dataset.index), false);
  });
  box.addEventListener("scroll", () => {
    if (!width || !box.isConnected) return;
    scrolled = box.scrollTop;
    queue();
  }, { passive: true });
  new ResizeObserver(measure).observe(box);

  return {
    measure,
    reorder,
    missing: () => missing,
    shows: (index) => live.has(index),
    focus: () => count && choose(active, true),
    // The next index that has something to open, in a direction.
    beside(index, direction) {
      for (let place = placeOf(index) + direction; place >= 0 && place < count; place += direction) {
        const kind = store.kinds[at(place)] || 0;
        if (kind && kind !== DROPPED) return at(place);
      }
      return -1;
    },
    // Which one of how many it is, for a person: tiles that were left out, and keep their place while it is looked at, don't count.
    standing(index) {
      let [among, all] = [0, 0];
      for (let place = 0; place < count; place++) {
        const one = at(place);
        if (store.kinds[one] === DROPPED) continue;
        all++;
        if (one === index) among = all;
      }
      return [among, all];
    },
    count: () => count,
    choose,
    pixels: () => Math.ceil(tileWidth * Math.min(2, window.devicePixelRatio || 1)),
    news(fresh, known) {
      for (const index of fresh) if (live.has(index)) fill(live.get(index), index);
      if (known && (order || filter.active() || store.counts[DROPPED])) reordering = reordering || setTimeout(reorder, ORDER_MS, false);
      else if (!order && count !== store.places) reorder(false);
      queue();
    },
  };
}
