"use strict";
// The timeline of one scenario: rates above, then lanes, all on one axis (seconds since the scenario began).
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("timeline");
  const GUTTER = 150, RIGHT = 14, LANE = 16, GAP = 8, AXIS = 24;

  const unpack = ({ type, data: text }) => {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new globalThis[type](bytes.buffer);
  };
  const unpackAll = (columns) => Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, unpack(column)]));
  // One for each workload: its operations in columns, and when each began and ended.
  const histories = data.histories.map((each) => {
    const ops = unpackAll(each.operations);
    const start = (i) => each.since + ops.began[i] * data.tick;
    return { ...each, ops, rates: unpackAll(each.rates), size: ops.began.length, start, end: (i) => start(i) + ops.took[i] * data.tick };
  });
  const logs = [], counts = unpack(data.logs.marks), at = unpack(data.logs.at), line = unpack(data.logs.line);
  let mark = 0;
  data.logs.files.forEach((file, n) => {
    const from = mark, to = (mark += counts[n]);
    logs.push({ file, href: data.logs.hrefs[n] ?? file, at: at.subarray(from, to), line: line.subarray(from, to) });
  });
  const OUT = data.outcomes.length;

  let last = data.total;
  for (const { size, end } of histories) for (let i = 0; i < size; i++) last = Math.max(last, end(i));
  for (const phase of [...data.phases, ...data.waits.map(([, start_s, seconds]) => ({ start_s, seconds }))]) last = Math.max(last, phase.start_s + phase.seconds);
  for (const lane of data.states) for (const span of lane.spans) last = Math.max(last, span[1]);
  const whole = [0, last || 1];
  let view = [...whole];

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const clock = (s, digits = 3) =>
    new Date((data.started + s) * 1000).toISOString().slice(11, digits ? 20 + digits : 19).replace("Z", "") + " UTC";
  const seconds = (s) => (Math.abs(s) < 0.1 ? (s * 1000).toFixed(2) + " ms" : s.toFixed(3) + " s");

  // Each lane has a name, a top, a height, and what is in it.
  const lanes = [];
  const add = (lane) => {
    const before = lanes[lanes.length - 1];
    lane.top = before ? before.top + before.height + (before.group === lane.group ? 1 : GAP) : 2;
    lane.height = lane.height || LANE;
    lanes.push(lane);
  };
  const rows = (spans) => { // none of which overlap in a row
    const found = [];
    for (const span of [...spans].sort((a, b) => a.start_s - b.start_s || b.seconds - a.seconds)) {
      const row = found.find((each) => each[each.length - 1].start_s + each[each.length - 1].seconds <= span.start_s);
      if (row) row.push(span);
      else found.push([span]);
    }
    return found;
  };
  const LATE = { "timed out": "fail", "broken off": "fail", ceased: "fail" };
  const waits = data.waits.map(([name, start_s, seconds, within, ended]) => ({
    name, start_s, seconds, colour: LATE[ended] || "wait", text: `${within === null ? "" : ` of at most ${within} s`}, ${ended}` }));
  if (data.faults.length) add({ group: "faults", name: "faults", faults: data.faults });
  rows(data.phases).forEach((row, n) => add({ group: "phases", name: n ? "" : "phases", phases: row }));
  rows(waits).forEach((row, n) => add({ group: "waits", name: n ? "" : "waits", phases: row }));
  for (const history of histories) {
    const { ops, size, end } = history, who = histories.length > 1 && history.of ? history.of : "client";
    const ofClient = Array.from({ length: history.lanes }, (_, n) => ({ group: "clients of " + history.of, name: `${who} ${n}`, history, ops: [] }));
    for (let i = 0; i < size; i++) ofClient[ops.lane[i]].ops.push(i);
    ofClient.forEach(add);
    const ofNode = history.nodes.map((name) => ({ group: "nodes of " + history.of, name: "answered by " + name, history, ends: [] }));
    for (let i = 0; i < size; i++) if (ops.node[i]) ofNode[ops.node[i]].ends.push(i);
    for (const lane of ofNode)
      if (lane.ends.length) {
        lane.ends.sort((a, b) => end(a) - end(b));
        add(lane);
      }
  }
  const QUALITY = { good: "good", bad: "bad", some: "warn" };
  for (const { group, name, spans } of data.states) {
    const short = name.length > 28 ? "\u2026" + name.slice(-27) : name;
    add({ group: "states of " + group, name: short, whole: name, spans });
  }
  const bottom = lanes.length ? lanes[lanes.length - 1].top + lanes[lanes.length - 1].height + 4 : 4;

  const canvas = document.createElement("canvas");
  canvas.className = "lanes";
  canvas.style.height = bottom + AXIS + "px";
  const hair = div("hair"), tip = div("tip"), select = div("select"), plots = document.createElement("div");
  box.append(plots, canvas, hair, tip, select);
  function div(id) {
    const made = document.createElement("div");
    made.id = id;
    return made;
  }

  const width = () => Math.max(300, box.clientWidth);
  const toX = (s) => GUTTER + ((s - view[0]) / (view[1] - view[0])) * (width() - GUTTER - RIGHT);
  const toS = (x) => view[0] + ((x - GUTTER) / (width() - GUTTER - RIGHT)) * (view[1] - view[0]);
  const clip = (x) => Math.min(Math.max(x, GUTTER), width() - RIGHT);

  function draw() {
    const scale = globalThis.devicePixelRatio || 1, w = width(), h = bottom + AXIS;
    canvas.width = w * scale;
    canvas.height = h * scale;
    const g = canvas.getContext("2d");
    g.scale(scale, scale);
    g.font = "12px system-ui, sans-serif";
    g.textBaseline = "middle";
    const colour = Object.fromEntries(data.outcomes.map((name) => [name, css(name)]));
    bands(g, 0, bottom, toX, clip);
    for (const lane of lanes) {
      g.fillStyle = css("faint");
      g.textAlign = "right";
      g.fillText(lane.name, GUTTER - 6, lane.top + lane.height / 2, GUTTER - 10);
      g.textAlign = "left";
      if (lane.phases) for (const phase of lane.phases) bar(g, lane, phase.start_s, phase.start_s + phase.seconds, css(phase.colour || "phase"), phase.name);
      if (lane.faults) for (const fault of lane.faults) bar(g, lane, fault.at, fault.healed ?? fault.effect ?? fault.at, css("fault"), "");
      if (lane.faults) for (const fault of lane.faults) label(g, lane, fault);
      if (lane.spans) for (const [from, to, state, quality] of lane.spans) span(g, lane, from, to, css(QUALITY[quality]), state);
      if (lane.ops) marks(g, lane, lane.ops, lane.history.start, lane.history.end, colour);
      if (lane.ends) marks(g, lane, lane.ends, lane.history.end, lane.history.end, colour);
    }
    axis(g, w);
  }
  function bar(g, lane, from, to, fill, text) {
    if (to < view[0] || from > view[1]) return;
    const a = clip(toX(from)), b = Math.max(clip(toX(to)), a + 2);
    g.fillStyle = fill;
    g.fillRect(a, lane.top, b - a, lane.height);
    if (b - a < 30) return;
    g.save();
    g.beginPath();
    g.rect(a, lane.top, b - a, lane.height);
    g.clip();
    g.fillStyle = css("ink");
    g.fillText(text, a + 4, lane.top + lane.height / 2);
    g.restore();
  }
  function span(g, lane, from, to, fill, state) {
    if (to < view[0] || from > view[1]) return;
    g.globalAlpha = 0.45;
    bar(g, lane, from, to, fill, "");
    g.globalAlpha = 1;
    bar(g, lane, from, Math.min(from, to), fill, ""); // where it begins
    if (clip(toX(to)) - clip(toX(from)) > 30) bar(g, lane, from, to, "transparent", state);
  }
  function label(g, lane, fault) {
    const x = toX(fault.healed ?? fault.effect ?? fault.at);
    if (x < GUTTER || x > width() - RIGHT) return;
    g.fillStyle = css("ink");
    g.fillText(fault.name + (fault.healed === null ? " (its healing was not recorded)" : ""), x + 6, lane.top + lane.height / 2);
  }
  // Operations in the order of their time; of those that fall on one pixel, the worst is seen.
  function marks(g, lane, list, from, to, colour) {
    for (let outcome = 0; outcome < OUT; outcome++) {
      g.fillStyle = colour[data.outcomes[outcome]];
      let drawn = -1;
      for (let n = first(list, view[0], to); n < list.length; n++) {
        const i = list[n];
        if (from(i) > view[1]) break;
        if (lane.history.ops.kind[i] % OUT !== outcome) continue;
        const a = clip(toX(from(i))), b = clip(toX(to(i)));
        if (b - a < 1 && Math.round(a) === drawn) continue;
        drawn = Math.round(a);
        g.fillRect(a, lane.top + 1, Math.max(b - a - 0.5, 1), lane.height - 2);
      }
    }
  }
  // The place of the first that ends at `s` or later: ends are in order in a lane, as a client does one thing at a time.
  function first(list, s, to) {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (to(list[middle]) < s) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  function bands(g, top, height, x, limit) {
    for (const fault of data.faults) {
      const a = limit(x(fault.at)), b = limit(x(fault.healed ?? fault.effect ?? fault.at));
      g.fillStyle = css("fault");
      g.globalAlpha = 0.22;
      g.fillRect(a, top, Math.max(b - a, 2), height);
      g.globalAlpha = 1;
    }
  }
  function axis(g, w) {
    const span = view[1] - view[0], about = span / Math.max(2, (w - GUTTER) / 110);
    const unit = 10 ** Math.floor(Math.log10(about));
    const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= about);
    g.strokeStyle = g.fillStyle = css("faint");
    g.textAlign = "center";
    for (let s = Math.ceil(view[0] / step) * step; s <= view[1]; s += step) {
      const x = toX(s);
      g.globalAlpha = 0.25;
      g.beginPath();
      g.moveTo(x, 0);
      g.lineTo(x, bottom);
      g.stroke();
      g.globalAlpha = 1;
      g.fillText(+s.toFixed(6) + " s", x, bottom + AXIS / 2);
    }
  }

  const charts = [];
  const fault = { hooks: { drawClear: [(u) => {
    const { left, top, width: w, height: h } = u.bbox;
    const limit = (x) => Math.min(Math.max(x, left), left + w);
    bands(u.ctx, top, h, (s) => u.valToPos(s, "x", true), limit);
  }], setSelect: [(u) => {
    if (u.select.width > 3) look(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }] } };
  function chart({ rates, since }, title, names, format) {
    const at = Array.from(rates.at, (s) => s + since);
    const line = (name, colour) => ({ label: name, stroke: () => css(colour), width: 1.3, points: { show: false },
      value: (u, v) => (v == null ? "" : format(v)) });
    const stroke = () => css("faint"), grid = { stroke: () => css("line"), width: 1 };
    const options = {
      title, width: width(), height: 150, padding: [8, RIGHT, 8, 0], legend: { live: true },
      cursor: { sync: { key: "rookery" }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: false, range: () => view }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ stroke, grid, show: false }, { stroke, grid, size: GUTTER, values: (u, all) => all.map(format) }],
      series: [{ label: "at", value: (u, v) => (v == null ? "" : v.toFixed(1) + " s") }, ...names.map(([label, , colour]) => line(label, colour))],
      hooks: fault.hooks,
    };
    const columns = names.map(([, column]) => Array.from(rates[column], (v) => (Number.isNaN(v) ? null : v)));
    charts.push(new uPlot(options, [at, ...columns], plots));
  }
  for (const history of histories.filter(({ size }) => size)) {
    const some = (name) => history.rates[name].some((v) => v > 0);
    const who = histories.length > 1 && history.of ? history.of + ": " : "";
    chart(history, who + "operations a second, by how they ended", [["ok", "ok", "ok"], ["fail", "fail", "fail"], ["info", "info", "info"]].filter(([, name]) => name === "ok" || some(name)), (v) => v.toFixed(v < 10 ? 1 : 0) + "/s");
    chart(history, who + "how long acknowledged operations took", [["median", "median", "ok"], ["99 %", "p99", "fail"]], seconds);
  }

  let waiting = 0;
  function look(from, to) {
    const least = 0.01, span = Math.min(Math.max(to - from, least), whole[1] - whole[0]);
    from = Math.min(Math.max(from, whole[0]), whole[1] - span);
    view = [from, from + span];
    if (!waiting) waiting = requestAnimationFrame(() => {
      waiting = 0;
      for (const u of charts) u.setScale("x", { min: view[0], max: view[1] });
      draw();
    });
  }
  const zoom = (factor, around = (view[0] + view[1]) / 2) =>
    look(around - (around - view[0]) * factor, around + (view[1] - around) * factor);
  const place = (event) => {
    const rect = canvas.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  };
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return; // else the page would not scroll
    event.preventDefault();
    zoom(event.deltaY + event.deltaX > 0 ? 1.25 : 0.8, toS(place(event)[0]));
  }, { passive: false });
  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => (pressed = place(event)[0]));
  globalThis.addEventListener("pointerup", (event) => {
    if (pressed === null) return;
    const [x] = place(event), from = Math.min(pressed, x), to = Math.max(pressed, x);
    pressed = null;
    select.style.display = "none";
    if (to - from > 4) look(toS(from), toS(to));
    else moment(toS(x));
  });
  canvas.addEventListener("dblclick", () => look(...whole));
  canvas.addEventListener("pointerleave", () => (hair.style.display = tip.style.display = "none"));
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const offset = canvas.offsetLeft;
    if (x < GUTTER || x > width() - RIGHT) return;
    hair.style.display = "block";
    hair.style.left = offset + x + "px";
    if (pressed !== null) {
      select.style.cssText = `display:block;left:${offset + Math.min(pressed, x)}px;width:${Math.abs(x - pressed)}px;top:${canvas.offsetTop}px;height:${bottom}px`;
    }
    tip.textContent = textAt(x, y);
    tip.style.display = "block";
    const left = offset + x + 14;
    tip.style.left = (left + tip.offsetWidth > width() ? offset + x - 14 - tip.offsetWidth : left) + "px";
    tip.style.top = canvas.offsetTop + y + 14 + "px";
  });
  function textAt(x, y) {
    const s = toS(x), lines = [`${s.toFixed(3)} s, ${clock(s)}`];
    const near = (2 * (view[1] - view[0])) / width();
    const lane = lanes.find((each) => y >= each.top && y <= each.top + each.height);
    const within = (from, to) => s >= from - near && s <= to + near;
    if (lane && lane.phases)
      for (const phase of lane.phases)
        if (within(phase.start_s, phase.start_s + phase.seconds)) lines.push(`${phase.name}: ${phase.seconds.toFixed(1)} s${phase.text || ""}`);
    if (lane && lane.spans) {
      lines.push(lane.whole);
      for (const [from, to, state, , text] of lane.spans)
        if (within(from, to)) lines.push(text ? `${state}: ${text}` : state);
    }
    if (lane && (lane.ops || lane.ends)) {
      const list = lane.ops || lane.ends, { start, end } = lane.history, from = lane.ops ? start : end;
      const n = first(list, s - near, end), i = list[n];
      if (i !== undefined && within(from(i), end(i))) lines.push(...operation(lane.history, i));
    }
    for (const each of data.faults)
      if (within(each.at, each.healed ?? each.effect ?? each.at)) lines.push(`${each.name}; proof: ${each.proof}`);
    return lines.join("\n");
  }
  function operation({ ops, nodes, errors, start, end }, i) {
    const kind = ops.kind[i], lines = [];
    const key = ops.key[i] < 0 ? "" : ` of row ${ops.key[i]}`;
    lines.push(`${data.functions[Math.floor(kind / OUT)]}${key}: ${data.outcomes[kind % OUT]} after ${seconds(end(i) - start(i))}`);
    if (ops.node[i]) lines.push("answered by " + nodes[ops.node[i]]);
    if (ops.error[i]) lines.push(errors[ops.error[i]]);
    return lines;
  }
  // Where each log is at that moment.
  function moment(s) {
    const list = document.getElementById("moment");
    if (!list) return;
    list.replaceChildren();
    const head = document.createElement("p");
    head.textContent = `At ${s.toFixed(3)} s, ${clock(s)}; each log is there at about this line:`;
    list.append(head);
    for (const log of logs) {
      let n = log.at.length - 1;
      while (n > 0 && log.at[n] > s) n--;
      if (log.at[n] > s || (n === log.at.length - 1 && s - log.at[n] > 5)) continue;
      const line = document.createElement("div"), link = document.createElement("a");
      link.href = log.href;
      link.textContent = log.file;
      line.className = "mono";
      line.append(link, ` from line ${log.line[n]} on`);
      list.append(line);
    }
  }

  for (const [id, act] of Object.entries({
    whole: () => look(...whole), closer: () => zoom(0.5), wider: () => zoom(2),
    left: () => look(view[0] - (view[1] - view[0]) / 3, view[1] - (view[1] - view[0]) / 3),
    right: () => look(view[0] + (view[1] - view[0]) / 3, view[1] + (view[1] - view[0]) / 3),
    fault: () => data.faults.length && look(data.faults[0].at - 10, (data.faults[0].healed ?? data.faults[0].effect ?? data.faults[0].at) + 30),
  })) document.getElementById(id).addEventListener("click", act);
  const again = () => {
    for (const u of charts) u.setSize({ width: width(), height: 150 });
    draw();
  };
  globalThis.addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  draw();
  document.getElementById("bar").hidden = false;
})();
