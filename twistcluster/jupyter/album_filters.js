// The tool bar of a gallery: which label, which least score, errors only; and how many there are.

const LABELS_SHOWN = 500;
const OPTIONS_MS = 500;

const counted = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

function openFilters(root, store, changed) {
  const bar = make("div", "tc-tools", root, { role: "group", "aria-label": "Which pictures are shown" });
  const select = make("select", "tc-select", bar, { "aria-label": "Only pictures with this label" });
  const scores = make("label", "tc-scores", bar);
  make("span", "", scores).textContent = "Least score";
  const slider = make("input", "", scores, { type: "range", "aria-label": "Only pictures with at least this score" });
  const told = make("output", "", scores);
  const bad = make("label", "tc-bad-only", bar);
  const onlyBad = make("input", "", bad, { type: "checkbox" });
  const badText = make("span", "", bad);
  const counts = make("span", "tc-shown", bar);
  let label = -1;
  let least = null; // none
  let paintedAt = 0;
  let later = 0;
  let range = "";

  function active() {
    return label >= 0 || least !== null || onlyBad.checked;
  }

  function passes(index) {
    const kind = store.kinds[index];
    if (onlyBad.checked) return kind === ERROR;
    const marks = store.marks[index];
    if (!marks) return false;
    for (let place = 0; place < marks.length; place += 2) {
      if (label >= 0 && marks[place] !== label) continue;
      if (least === null || (marks[place + 1] !== null && marks[place + 1] >= least)) return true;
    }
    return false;
  }

  function paintOptions() {
    const found = store.labelCounts.map((number, place) => [number, place]).filter(([number]) => number);
    select.hidden = !store.labels.length;
    // Not while somebody chooses: the list would move under the pointer.
    if (select.hidden || select.matches(":focus")) return;
    found.sort((one, other) => other[0] - one[0] || one[1] - other[1]);
    const options = [["All labels", -1], ...found.slice(0, LABELS_SHOWN).map(([number, place]) => [`${store.labels[place]} (${number.toLocaleString("en")})`, place])];
    if (label >= 0 && !options.some(([, place]) => place === label)) options.push([store.labels[label], label]);
    while (select.length > options.length) select.remove(select.length - 1);
    options.forEach(([text, place], row) => {
      const option = select.options[row] || make("option", "", select);
      if (option.textContent !== text) option.textContent = text;
      option.value = String(place);
    });
    select.value = String(label);
  }

  function paintRange() {
    scores.hidden = store.low === null;
    if (scores.hidden) return;
    const whole = store.low >= 0 && store.high <= 1;
    const [low, high] = whole ? [0, 1] : [store.low, store.high];
    const now = `${low} ${high}`;
    if (now === range) return;
    range = now;
    slider.min = String(low);
    slider.max = String(high);
    slider.step = whole ? "0.01" : String((high - low) / 100 || 1);
    slider.value = String(least === null ? low : least);
    paintScore();
  }

  function paintScore() {
    told.textContent = least === null ? "any" : least.toFixed(2);
  }

  // In the tool bar, too: `shown` is how many places the grid has.
  function paintCounts(shown) {
    const errors = store.counts[ERROR];
    bad.hidden = !errors && !onlyBad.checked;
    badText.textContent = `Errors only (${errors.toLocaleString("en")})`;
    const here = store.counts[PICTURE] + store.counts[WORDS];
    const parts = [];
    if (active()) parts.push(onlyBad.checked ? counted(shown, "error") : `${counted(shown, "picture")} of ${here.toLocaleString("en")}`);
    else parts.push(here + errors + store.counts[DROPPED] < store.places ? `${here.toLocaleString("en")} of ${counted(store.places, "picture")}` : counted(here, "picture"));
    if (store.counts[DROPPED]) parts.push(`${store.counts[DROPPED].toLocaleString("en")} left out`);
    counts.textContent = parts.join(" · ");
  }

  select.addEventListener("change", () => {
    label = Number(select.value);
    onlyBad.checked = false;
    changed();
  });
  select.addEventListener("blur", () => paintOptions());
  slider.addEventListener("input", () => {
    least = Number(slider.value) <= Number(slider.min) ? null : Number(slider.value);
    onlyBad.checked = false;
    paintScore();
    changed();
  });
  onlyBad.addEventListener("change", () => {
    label = -1;
    least = null;
    select.value = "-1";
    slider.value = slider.min;
    paintScore();
    changed();
  });

  function paint() {
    later = 0;
    paintedAt = performance.now();
    paintOptions();
    paintRange();
  }

  return {
    active,
    passes,
    paintCounts,
    paint() {
      if (later) return;
      const rest = paintedAt + OPTIONS_MS - performance.now();
      if (rest <= 0 || !paintedAt) paint();
      else later = setTimeout(paint, rest);
    },
  };
}
