// @ts-check
"use strict";
(() => {
  /** @typedef {{shape: number[], cells: number[], scale: number, data: string, numbers?: Float32Array | Float64Array}} Series */

  /** @param {string} id @returns {any} */
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const words = data.words;
  /** @type {Map<string, any>} */
  const boxes = new Map();
  for (const id of Object.keys(data.boxes)) boxes.set(id, by("g-" + id));
  const rows = [...document.querySelectorAll(".row")].map((e) => /** @type {HTMLElement} */ (e));
  const lines = [...document.querySelectorAll(".line")].map((e) => /** @type {HTMLElement} */ (e));
  const edges = [...document.querySelectorAll("#graph .edge")].map((e) => /** @type {SVGElement} */ (/** @type {unknown} */ (e)));
  const last = data.steps.length - 1;
  const MOST = 8; // steps of the zoom
  const state = { s: last, t: 0, pin: "", hover: "", predict: false, revealed: true, z: 0 };

  // Numbers of the picture are outlines; here they change, so each becomes text in its place, with a dash for unknown.
  for (const place of document.querySelectorAll("#graph .number")) {
    const outline = /** @type {SVGGraphicsElement} */ (/** @type {unknown} */ (place.querySelector("path, text")));
    const around = outline.getBBox();
    const move = /translate\(([-\d.]+) ([-\d.]+)\)/.exec(outline.getAttribute("transform") || "");
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    text.setAttribute("x", String(around.x + around.width / 2 + (move ? Number(move[1]) : 0)));
    text.setAttribute("y", String(move ? Number(move[2]) : around.y + around.height));
    text.setAttribute("text-anchor", "middle");
    text.setAttribute("font-size", "9");
    text.setAttribute("fill", outline.getAttribute("fill") || "currentColor");
    const dash = /** @type {Element} */ (text.cloneNode());
    dash.textContent = "—";
    dash.classList.add("dash");
    outline.replaceWith(text, dash);
  }
  // What a strip says of its first numbers, and an edge of ids, helps nobody here.
  for (const title of document.querySelectorAll("#graph .strip > title, #graph .edge > title")) title.remove();

  // ---- numbers ------------------------------------------------------------------------------------------------------

  /** @param {Series} series @param {number} t */
  const numbersOf = (series, t) => {
    if (!series.numbers) {
      const raw = atob(series.data);
      const bytes = Uint8Array.from(raw, (c) => c.charCodeAt(0));
      series.numbers = data.run.wide ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
    }
    const n = series.cells[0] * series.cells[1];
    return series.numbers.subarray(t * n, (t + 1) * n);
  };

  /** @param {number} v @param {number} [most] */
  const digits = (v, most = 4) => (Number.isNaN(v) ? "nan" : !Number.isFinite(v) ? (v > 0 ? "∞" : "−∞") : v === 0 ? "0" : String(Number(v.toPrecision(most))).replace(/-/g, "−"));

  /** @param {Series} series @param {number} t */
  const table = (series, t) => {
    const numbers = numbersOf(series, t);
    const [r, c] = series.cells;
    const texts = Array.from(numbers, (v) => digits(v, c > 5 ? 3 : 4)); // so that eight fit beside each other
    const wide = texts.slice(0, c).map((_, j) => Math.max(...texts.filter((_, i) => i % c === j).map((x) => x.length)));
    const out = [];
    for (let i = 0; i < r; i++)
      out.push(wide.map((w, j) => texts[i * c + j].padStart(w)).join(c > 5 ? " " : "  "));
    const whole = series.shape.reduce((a, b) => a * b, 1);
    return (whole > r * c ? `(${series.shape.join(", ")}), ${words.mean}\n` : "") + out.join("\n");
  };

  // ---- showing ------------------------------------------------------------------------------------------------------

  const selected = () => state.pin || state.hover;

  const light = () => {
    const id = selected();
    const lit = new Set(id ? data.links[id] || [] : []);
    for (const [key, box] of boxes) {
      box.classList.toggle("lit", key === id);
      box.classList.toggle("pinned", key === state.pin);
      box.setAttribute("aria-pressed", String(key === state.pin));
    }
    for (const row of rows) row.classList.toggle("lit", row.dataset.box === id);
    for (const line of lines) line.classList.toggle("lit", lit.has(Number(line.dataset.line)));
    readout(id);
  };

  /** @param {string} id */
  const readout = (id) => {
    const out = by("readout");
    if (!id) {
      out.textContent = words.nothing;
      out.className = "";
      return;
    }
    const parts = [titleOf(id)];
    const series = data.run && data.run.series[id];
    const known = arrived(id);
    for (const name of /** @type {const} */ (["value", "gradient"])) {
      const one = series && series[name];
      if (!one) continue;
      const ok = name === "gradient" ? complete(id) : known;
      parts.push(`${words[name]}: ${ok ? (one.cells[0] * one.cells[1] > 1 ? "\n" : "") + table(one, state.t) : "— " + words.unknown}`);
    }
    out.textContent = parts.join("\n");
    out.className = parts.length > 1 ? "table" : "";
  };

  const when = new Map();
  data.steps.forEach((/** @type {any} */ step, /** @type {number} */ k) => step.box && when.set(step.box, k));
  /** The last step whose result is known: while a reader predicts, the one before. */
  const reached = () => state.s - (state.predict && !state.revealed ? 1 : 0);
  /** @param {string} id */
  const arrived = (id) => !when.has(id) || /** @type {number} */ (when.get(id)) <= reached();
  /** Whether the whole gradient of a forward box is known at this step. @param {string} id */
  const complete = (id) => !data.steps.slice(reached() + 1).some((/** @type {any} */ step) => step.target === id);
  /** What a box is called; while a reader predicts, nothing of what is to come. @param {string} id */
  const titleOf = (id) => (state.predict && !arrived(id) ? words.secret : data.boxes[id].title);

  /** Names a box for those who hear it, with the number that others see in it. @param {string} id */
  const label = (id) => {
    const number = arrived(id) && boxes.get(id).querySelector(".number text");
    boxes.get(id).setAttribute("aria-label", titleOf(id) + (number ? ", " + number.textContent : ""));
  };

  const step = () => {
    const now = data.steps[state.s];
    const asked = reached() < state.s && now.box;
    /** @param {Element} element @param {boolean} known @param {boolean} current */
    const mark = (element, known, current) => {
      element.classList.toggle("later", !known);
      element.classList.toggle("secret", !known && state.predict);
      element.classList.toggle("now", current);
    };
    for (const [key, box] of boxes) {
      mark(box, arrived(key), key === now.box);
      box.classList.toggle("origin", now.origin.includes(key));
      box.querySelector("title").textContent = titleOf(key);
      label(key);
    }
    for (const edge of edges) {
      const ends = (edge.dataset.ends || "").split(" ");
      edge.classList.toggle("later", ends.some((e) => when.get(e) > state.s));
      edge.classList.toggle("now", ends[1] === now.box);
    }
    for (const row of rows) {
      const id = row.dataset.box || "";
      mark(row, arrived(id), id === now.box);
      row.setAttribute("aria-label", row.classList.contains("secret") ? words.secret : row.dataset.text || "");
    }
    const current = new Set(now.box ? data.links[now.box] : []);
    const pending = new Set([...boxes.keys()].filter((id) => !arrived(id)).flatMap((id) => data.links[id]));
    for (const id of boxes.keys()) if (arrived(id)) for (const n of data.links[id]) pending.delete(n);
    for (const line of lines) {
      const n = Number(line.dataset.line);
      mark(line, !pending.has(n), current.has(n));
    }
    by("sentence").textContent = asked ? words.hidden : now.text;
    by("reveal").hidden = !asked;
    by("count").textContent = `${words.formula} ${state.s} ${words.of} ${last}`;
    by("steps").value = String(state.s);
    by("steps").setAttribute("aria-valuetext", by("count").textContent);
    show(now.box);
    readout(selected());
    remember();
  };

  /** Brings a box, its formula and its code into sight. @param {string | null} id @param {Element} [except] */
  const show = (id, except) => {
    const marked = id ? data.links[id] : [];
    const found = [boxes.get(id || ""), rows.find((r) => r.dataset.box === id), lines[marked[marked.length - 1] - 1]];
    for (const item of found) if (item && item.closest(".pane") !== except) into(item);
  };

  /** Scrolls a pane, never the page. @param {Element} item */
  const into = (item) => {
    const pane = item.closest(".pane");
    if (!pane) return;
    const a = item.getBoundingClientRect(), b = pane.getBoundingClientRect();
    if (a.top < b.top + 4 || a.bottom > b.bottom - 4) pane.scrollTop += (a.top + a.bottom - b.top - b.bottom) / 2;
    if (a.left < b.left || a.right > b.right) pane.scrollLeft += (a.left + a.right - b.left - b.right) / 2;
  };

  const scrub = () => {
    if (!data.run) return;
    const { k, series } = data.run;
    const loss = data.run.loss.map(Number); // what is not finite comes as text
    for (const [id, pair] of Object.entries(series)) {
      const one = pair.value;
      const box = boxes.get(id);
      if (!one || !box) continue;
      const numbers = numbersOf(one, state.t);
      const cells = box.querySelectorAll(".strip rect");
      cells.forEach((/** @type {any} */ cell, /** @type {number} */ i) => {
        const v = numbers[i];
        cell.classList.toggle("bad", !Number.isFinite(v));
        const share = one.scale > 0 ? Math.max(-1, Math.min(1, v / one.scale)) : 0;
        cell.setAttribute("fill", !Number.isFinite(v) ? "var(--paper)" : `color-mix(in srgb, var(--zero), var(--${v >= 0 ? "positive" : "negative"}) ${Math.round(Math.abs(share) * 100)}%)`);
      });
      const number = box.querySelector(".number text");
      if (number && one.cells[0] * one.cells[1] === 1) number.textContent = digits(numbers[0]);
      label(id);
    }
    by("scrub").value = String(state.t);
    const told = `${words.step} ${k[state.t]}, ${words.loss} ${digits(loss[state.t])}`;
    by("when").textContent = told;
    by("scrub").setAttribute("aria-valuetext", told);
    const finite = loss.filter(Number.isFinite);
    const low = Math.min(...finite), high = Math.max(...finite);
    const x = (/** @type {number} */ i) => 4 + (152 * i) / Math.max(loss.length - 1, 1);
    const y = (/** @type {number} */ v) => (high > low ? 32 - (28 * (v - low)) / (high - low) : 18);
    const points = loss.map((/** @type {number} */ v, /** @type {number} */ i) => [x(i), y(v)]).filter((/** @type {number[]} */ p) => Number.isFinite(p[1]));
    const curve = by("curve");
    curve.querySelector("path").setAttribute("d", points.map((/** @type {number[]} */ p, /** @type {number} */ i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join(""));
    const dot = curve.querySelector("circle");
    dot.setAttribute("cx", String(x(state.t)));
    dot.setAttribute("cy", String(Number.isFinite(loss[state.t]) ? y(loss[state.t]) : 4));
    readout(selected());
    remember();
  };

  // ---- state in the address -----------------------------------------------------------------------------------------

  const remember = () => {
    const parts = [`s=${state.s}`];
    if (data.run && data.run.k.length > 1) parts.push(`t=${state.t}`);
    if (state.pin) parts.push(`p=${state.pin}`);
    if (state.z) parts.push(`z=${state.z}`);
    try {
      history.replaceState(null, "", "#" + parts.join("&"));
    } catch {
      // a sandboxed frame has no address of its own
    }
  };

  const recall = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    /** @param {string} name @param {number} most @param {number} otherwise */
    const whole = (name, most, otherwise) => {
      const v = asked.get(name);
      return v !== null && /^\d+$/.test(v) ? Math.min(Number(v), most) : otherwise;
    };
    state.s = whole("s", last, state.s);
    state.t = whole("t", data.run ? data.run.k.length - 1 : 0, state.t);
    state.z = whole("z", MOST, 0);
    const pin = asked.get("p") || "";
    state.pin = boxes.has(pin) ? pin : "";
  };

  // ---- what a reader does -------------------------------------------------------------------------------------------

  /** @param {number} s */
  const goTo = (s) => {
    const next = Math.max(0, Math.min(last, s));
    state.revealed = next <= state.s || !state.predict;
    state.s = next;
    step();
  };
  /** @param {number} t */
  const goToRecord = (t) => {
    if (!data.run) return;
    state.t = Math.max(0, Math.min(data.run.k.length - 1, t));
    scrub();
  };
  /** Each step of the zoom makes the picture a quarter larger; at 0 it fits its pane. @param {number} z */
  const zoom = (z) => {
    state.z = Math.max(0, Math.min(MOST, z));
    by("graph").style.setProperty("--zoom", String(1.25 ** state.z));
    by("smaller").disabled = state.z === 0;
    by("larger").disabled = state.z === MOST;
    show(state.pin || data.steps[state.s].box);
    remember();
  };
  /** @param {string} id @param {Element} from the pane that it was asked in */
  const pin = (id, from) => {
    state.pin = state.pin === id ? "" : id;
    light();
    if (state.pin) show(id, from);
    remember();
  };

  /** @param {any} element @param {string} id */
  const linked = (element, id) => {
    element.addEventListener("mouseenter", () => ((state.hover = id), light()));
    element.addEventListener("mouseleave", () => ((state.hover = ""), light()));
    element.addEventListener("focus", () => ((state.hover = id), light()));
    element.addEventListener("blur", () => ((state.hover = ""), light()));
    element.addEventListener("click", () => pin(id, element.closest(".pane")));
    element.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
      if (e.key === "Enter" || e.key === " ") {
        e.preventDefault();
        pin(id, element.closest(".pane"));
      }
    });
  };

  for (const [id, box] of boxes) {
    box.setAttribute("tabindex", "0");
    box.setAttribute("role", "button");
    linked(box, id);
  }
  for (const row of rows) linked(row, row.dataset.box || "");
  const owner = new Map();
  for (const [id, numbers] of Object.entries(data.links)) for (const n of numbers) if (!owner.has(n)) owner.set(n, id);
  for (const line of lines) {
    const id = owner.get(Number(line.dataset.line));
    if (id) {
      line.dataset.box = id;
      line.setAttribute("role", "button");
      linked(line, id);
    }
  }
  /** One stop for the Tab key in a pane; arrows up and down go on from there. @param {HTMLElement[]} items */
  const roving = (items) =>
    items.forEach((item, k) => {
      item.tabIndex = k ? -1 : 0;
      item.addEventListener("focus", () => items.forEach((other) => (other.tabIndex = other === item ? 0 : -1)));
      item.addEventListener("keydown", (e) => {
        const next = items[k + (e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : NaN)];
        if (!next) return;
        e.preventDefault();
        next.focus();
      });
    });
  roving(rows);
  roving(lines.filter((line) => line.dataset.box));

  by("steps").max = String(last);
  by("steps").addEventListener("input", () => goTo(Number(by("steps").value)));
  by("back").addEventListener("click", () => goTo(state.s - 1));
  by("forth").addEventListener("click", () => goTo(state.s + 1));
  by("scrub").addEventListener("input", () => goToRecord(Number(by("scrub").value)));
  by("predict").addEventListener("change", () => {
    state.predict = by("predict").checked;
    state.revealed = !state.predict;
    step();
  });
  by("reveal").addEventListener("click", () => {
    state.revealed = true;
    step();
    by("forth").focus(); // the button that was pressed is gone
  });
  by("smaller").addEventListener("click", () => zoom(state.z - 1));
  by("larger").addEventListener("click", () => zoom(state.z + 1));
  by("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  document.addEventListener("keydown", (e) => {
    const on = /** @type {HTMLElement} */ (e.target);
    if (/** @type {any} */ (on).type === "range" || e.altKey || e.ctrlKey || e.metaKey) return;
    const moves = /** @type {Record<string, () => void>} */ ({
      ArrowRight: () => goTo(state.s + 1),
      ArrowLeft: () => goTo(state.s - 1),
      Home: () => goTo(0),
      End: () => goTo(last),
      PageUp: () => goToRecord(state.t - 1),
      PageDown: () => goToRecord(state.t + 1),
      "+": () => zoom(state.z + 1),
      "-": () => zoom(state.z - 1),
      Escape: () => ((state.pin = ""), light(), remember()),
    });
    if (moves[e.key]) {
      e.preventDefault();
      moves[e.key]();
    }
  });
  addEventListener("hashchange", () => (recall(), zoom(state.z), step(), scrub(), light()));

  recall();
  if (data.run && data.run.k.length > 1) {
    by("training").hidden = false;
    by("scrub").max = String(data.run.k.length - 1);
  }
  zoom(state.z);
  scrub();
  step();
  light();
})();
