// The full picture, over the grid: it is fetched when somebody opens it; until then its thumbnail stands there.

const SLOW_MS = 3000;

function openFull(root, store, hooks) {
  const sheet = make("div", "tc-full", root, { role: "dialog", tabindex: "-1" });
  const head = make("div", "tc-full-head", sheet);
  const name = make("b", "", head);
  const about = make("span", "tc-full-about", head);
  const button = (text, title, act) => {
    const node = make("button", "tc-button", head, { type: "button", title, "aria-label": title });
    node.textContent = text;
    node.addEventListener("click", act);
    return node;
  };
  const before = button("‹", "Previous picture", () => go(-1));
  const after = button("›", "Next picture", () => go(1));
  const close = button("✕", "Close", () => shut());
  const desk = make("div", "tc-full-desk", sheet);
  const frame = make("div", "tc-full-frame", desk);
  const image = make("img", "", frame, { alt: "", draggable: "false" });
  const boxes = make("div", "tc-full-boxes", frame, { "aria-hidden": "true" });
  const text = make("div", "tc-full-text", desk);
  const state = make("div", "tc-full-state", desk, { role: "status" });
  const found = make("ul", "tc-full-labels", sheet, { "aria-label": "What was recognised" });
  sheet.hidden = true;
  let index = -1;
  let url = "";
  let shown = null;
  let slow = 0;

  function go(direction) {
    const next = hooks.beside(index, direction);
    if (next >= 0) open(next);
  }

  function shut() {
    if (sheet.hidden) return;
    sheet.hidden = true;
    index = -1;
    drop();
    image.removeAttribute("src");
    hooks.closed();
  }

  function drop() {
    clearTimeout(slow);
    if (url) URL.revokeObjectURL(url);
    url = "";
  }

  function say(words, waits) {
    state.hidden = !words;
    state.classList.toggle("tc-waits", waits);
    state.textContent = words;
  }

  function fit() {
    if (sheet.hidden || !shown) return;
    const natural = url && image.naturalWidth ? [image.naturalWidth, image.naturalHeight] : shown.size;
    let [width, height] = shown.size[0] ? shown.size : natural;
    if (natural[0] && Math.abs(natural[0] / natural[1] - width / height) > 0.03 * (width / height)) [width, height] = natural;
    if (!width || !height) return;
    const most = Math.max(width, height) < 64 ? 48 : 2;
    const factor = Math.min(most, desk.clientWidth / width, desk.clientHeight / height);
    frame.style.width = `${Math.max(1, Math.floor(width * factor))}px`;
    frame.style.height = `${Math.max(1, Math.floor(height * factor))}px`;
    image.className = Math.max(width, height) < 64 ? "tc-sharp" : "";
  }

  function paintBoxes(tile) {
    const [width, height] = tile.size;
    boxes.replaceChildren();
    if (!width || !height) return;
    const part = (value, whole) => `${Math.max(0, Math.min(100, (100 * value) / whole))}%`;
    for (const found of [...tile.labels].reverse()) {
      if (!found[2]) continue;
      const [left, top, right, bottom] = found[2];
      const node = make("div", "tc-full-box", boxes);
      node.style.setProperty("--tc-color", labelColor(found[0]));
      node.style.left = part(Math.min(left, right), width);
      node.style.top = part(Math.min(top, bottom), height);
      node.style.right = part(width - Math.max(left, right), width);
      node.style.bottom = part(height - Math.max(top, bottom), height);
      make("span", "", node).textContent = toldLabel(found);
    }
  }

  function paint() {
    const tile = store.cache.get(index);
    const kind = store.kinds[index] || 0;
    shown = tile || { size: [0, 0], labels: [], text: "", name: store.name(index), url: "" };
    sheet.setAttribute("aria-label", shown.name);
    name.textContent = shown.name;
    const [width, height] = shown.size;
    const size = width ? `${width.toLocaleString("en")} × ${height.toLocaleString("en")}` : "";
    const place = hooks.standing(index).map((one) => one.toLocaleString("en")).join(" of ");
    about.textContent = [size, place].filter((part) => part).join(" · ");
    before.disabled = hooks.beside(index, -1) < 0;
    after.disabled = hooks.beside(index, 1) < 0;
    frame.hidden = kind === ERROR || (kind === WORDS && !width);
    text.hidden = !frame.hidden || !shown.text;
    text.classList.toggle("tc-bad-text", kind === ERROR);
    text.textContent = shown.text;
    image.alt = store.told(index);
    if (!url) {
      const thumbnail = thumbnailOf(shown);
      if (thumbnail) image.src = thumbnail;
      else image.removeAttribute("src");
    }
    paintBoxes(shown);
    found.hidden = !shown.labels.length;
    found.replaceChildren(...shown.labels.map((one) => {
      const node = make("li", "", null);
      node.style.setProperty("--tc-color", labelColor(one[0]));
      node.textContent = toldLabel(one);
      return node;
    }));
    fit();
  }

  function open(which) {
    const first = sheet.hidden;
    index = which;
    drop();
    sheet.hidden = false;
    say("", false);
    paint();
    if (!frame.hidden) {
      say("Loading the picture…", true);
      slow = setTimeout(() => state.hidden || say("Loading the picture… No answer yet: the kernel runs a cell, or is gone.", true), SLOW_MS);
      hooks.fetch(index);
    }
    hooks.opened(index);
    sheet.focus({ preventScroll: true });
    if (first) sheet.scrollIntoView({ block: "nearest" });
  }

  sheet.addEventListener("keydown", (event) => {
    const keys = { Escape: shut, ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => go(-1), ArrowDown: () => go(1) };
    if (event.key === "Tab") {
      // A dialog keeps the focus.
      const stops = [before, after, close].filter((node) => !node.disabled);
      const at = stops.indexOf(document.activeElement) + (event.shiftKey ? -1 : 1);
      stops[(at + stops.length) % stops.length].focus();
    } else if (event.key in keys) {
      keys[event.key]();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  image.addEventListener("load", fit);
  image.addEventListener("error", () => url && say("The browser can't show this picture.", false));
  new ResizeObserver(fit).observe(desk);

  return {
    open,
    shut,
    isOpen: () => !sheet.hidden,
    index: () => index,
    focus: () => sheet.focus({ preventScroll: true }),
    news(fresh) {
      if (index >= 0 && fresh.has(index)) paint();
    },
    fetched(news, bytes) {
      if (news.index !== index) return;
      clearTimeout(slow);
      if (news.error || !bytes || !bytes.byteLength) {
        say(news.error || "There is no picture.", false);
        return;
      }
      say("", false);
      url = asUrl(bytes, news.mime);
      image.src = url;
    },
  };
}
