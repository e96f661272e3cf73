"use strict";
// Draws one page of questions at a time from the data in #data. Texts only ever become text nodes.
(() => {
  const { runs, samples } = JSON.parse(document.getElementById("data").textContent);
  const PER_PAGE = 20;
  const TICK_STEPS_S = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];
  const MAX_TICKS = 9;
  const MAX_STACKED = 3;
  const STACKED_PX = 20;
  const control = (name) => document.getElementById(`by-${name}`);
  const list = document.getElementById("list");
  let shown = samples;
  let page = 0;

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  const drawing = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  // How much more the compared run scores than the first; null where either has no score.
  const difference = (sample) => {
    const [first, other] = [sample.a[0], sample.a[Number(control("run").value)]];
    return first && other && first.s !== null && other.s !== null ? other.s - first.s : null;
  };

  const ORDERS = {
    size: (d) => (d === null ? Infinity : -Math.abs(d)),
    better: (d) => (d === null ? Infinity : -d),
    worse: (d) => (d === null ? Infinity : d),
    file: () => 0,
  };

  const textOf = (sample) => {
    sample.text ??= [sample.q, sample.i, sample.v, ...sample.a.map((answer) => (answer ? answer.w : ""))]
      .join("\n").toLowerCase();
    return sample.text;
  };

  const choose = () => {
    const [task, failure, words] = [control("task").value, control("failure").value, control("text").value];
    const [low, high] = control("count").value.split("-").map(Number);
    const wanted = words.trim().toLowerCase();
    const fails = (sample, kind) => sample.a.some((answer) => answer && (kind ? answer.f === kind : answer.f));
    const rank = ORDERS[control("order").value];
    shown = samples
      .filter((sample) => (!task || task === `${sample.b}\n${sample.t}`)
        && sample.g.length >= low && sample.g.length <= high
        && (failure === "" || (failure === "none" ? !fails(sample) : fails(sample, failure.slice(5))))
        && (!wanted || textOf(sample).includes(wanted)))
      .map((sample) => [rank(difference(sample)), sample])
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([, sample]) => sample);
    page = 0;
    draw();
  };

  const draw = () => {
    const last = Math.max(0, Math.ceil(shown.length / PER_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const part = shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    list.replaceChildren(...part.map(article));
    const from = page * PER_PAGE + 1;
    const place = part.length ? `${from}–${from + part.length - 1} of ` : "";
    for (const note of document.querySelectorAll(".place")) {
      note.textContent = `${place}${shown.length.toLocaleString("en")} question${shown.length === 1 ? "" : "s"}`;
    }
    for (const button of document.querySelectorAll(".turn")) {
      button.disabled = button.value === "-1" ? page === 0 : page === last;
    }
  };

  const article = (sample) => {
    const change = difference(sample);
    const meta = element("p", { className: "meta" });
    if (change !== null) meta.append(element("span", { className: "why", textContent: signed(change) }), " ");
    const number = sample.g.length;
    const task = sample.i.startsWith(sample.t) ? "" : sample.t;
    const facts = [sample.i, sample.v, sample.b, task, number && `${number} segment${number === 1 ? "" : "s"}`];
    facts.filter(Boolean).forEach((fact, place) => meta.append(place ? " · " : "", element("bdi", { textContent: fact })));
    const written = element("dl", { className: "written" });
    sample.a.forEach((answer, run) => answer && written.append(element("div", {},
      element("dt", { textContent: runs[run] }), text("dd", answer.w + rest(answer)))));
    return element("article", { className: "timeline pair" },
      element("h3", {}, text("span", sample.q)), meta, axes(sample),
      element("details", {}, element("summary", { textContent: "What the runs wrote" }), written));
  };

  const text = (tag, content) => element(tag, { className: "text", dir: "auto", textContent: content });
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const rest = ({ n, p }) => (n > p.length ? `\n(${n.toLocaleString("en")} segments, ${p.length} drawn)` : "");

  // Truth and answers on one time axis; where nothing is a time, what was written stands in its place.
  const axes = (sample) => {
    const made = element("div", { className: "axes" });
    if (!sample.g.length && sample.a.every((answer) => !answer || !answer.p.length)) {
      sample.a.forEach((answer, run) => made.append(name(runs[run]), text("span", answer ? answer.w : ""),
        element("span", { className: "verdict", textContent: answer ? verdict(answer) : "not evaluated" })));
      return made;
    }
    if (sample.g.length) made.append(...row("true", stacked(sample.g, (strip) => [bars(strip, sample, "ink")]), sample, ""));
    sample.a.forEach((answer, run) => {
      if (!answer) return made.append(...row(runs[run], [], sample, "not evaluated"));
      const inside = (strip) => strip.flatMap(([a, b]) => sample.g.map(([c, d]) => [Math.max(a, c), Math.min(b, d)]));
      const drawn = stacked(answer.p, (strip) =>
        [bars(strip, sample, "orange"), bars(inside(strip).filter(([a, b]) => a < b), sample, "blue")]);
      made.append(...row(runs[run], drawn, sample, verdict(answer)));
    });
    const scale = drawing("svg", { class: "scale" });
    scale.append(...ticks(sample.x));
    made.append(element("span"), scale, element("span"));
    return made;
  };

  const verdict = ({ s, u, f }) => {
    const score = s === null ? "no score" : `${u ? "IoU" : "score"} ${s.toFixed(2)}`;
    return f ? `${score}, ${f.replaceAll("_", " ")}` : score;
  };

  const name = (run) => element("span", { className: "name", textContent: run, title: run });

  const row = (label, drawn, sample, note) => {
    const svg = drawing("svg", { role: "img", "aria-label": label });
    svg.append(bars(sample.g, sample, "truth"), ...drawn);
    return [name(label), svg, element("span", { className: "verdict", textContent: note })];
  };

  // Segments that overlap or touch stand above each other, in MAX_STACKED strips or fewer (as in timelines.py): by start,
  // each in the first strip that is free, else in a new one, else in the one that ends first.
  const stacked = (segments, draw) => {
    const strips = [];
    const end = (strip) => strip[strip.length - 1][1];
    for (const segment of segments.filter(([a, b]) => a < b).sort(([a, b], [c, d]) => a - c || b - d)) {
      const free = strips.find((strip) => end(strip) < segment[0]);
      if (!free && strips.length < MAX_STACKED) strips.push([segment]);
      else (free ?? strips.reduce((one, other) => (end(other) < end(one) ? other : one))).push(segment);
    }
    return strips.flatMap((strip, place) => draw(strip).map((group) => {
      if (strips.length > 1) {
        const distance = STACKED_PX / strips.length;
        group.style.setProperty("--top", `${1.5 + place * distance}px`);
        group.style.setProperty("--height", `${0.85 * distance - 1}px`);
      }
      return group;
    }));
  };

  const bars = (segments, sample, colour) => {
    const group = drawing("g", { class: colour });
    for (const [start, end] of segments) {
      const [left, right] = [Math.max(0, Math.min(start, sample.x)), Math.max(0, Math.min(end, sample.x))];
      if (right < left || end <= 0 || start >= sample.x) continue;
      const [x, width] = [(100 * left) / sample.x, (100 * (right - left)) / sample.x];
      group.append(drawing("rect", { x: `${x.toFixed(3)}%`, width: `${width.toFixed(3)}%` }));
    }
    return group;
  };

  const ticks = (length) => {
    const step = TICK_STEPS_S.find((seconds) => length / seconds <= MAX_TICKS) ?? length / MAX_TICKS;
    const made = [];
    for (let at = 0; at <= length * 1.0001; at += step) {
      const x = `${((100 * at) / length).toFixed(3)}%`;
      const label = drawing("text", { x, y: 15, "text-anchor": "middle" });
      label.textContent = `${Number(at.toFixed(2))} s`;
      made.push(drawing("line", { x1: x, x2: x, y1: 0, y2: 4 }), label);
    }
    return made;
  };

  for (const name of ["task", "count", "failure", "order", "run"]) control(name).addEventListener("change", choose);
  control("text").addEventListener("input", choose);
  for (const button of document.querySelectorAll(".turn")) {
    button.addEventListener("click", () => {
      page += Number(button.value);
      draw();
      document.getElementById("samples").scrollIntoView();
    });
  }
  choose();
})();
