// Plays one recording, clean and attacked, side by side; and shows its events in x, y and time.
"use strict";
(() => {
  const root = document.getElementById("player");
  const data = JSON.parse(document.getElementById("events").textContent);
  const get = (name) => document.getElementById(name);
  const flatContext = get("clean").getContext && get("clean").getContext("2d");
  // Without a canvas the table and the picture below are all there is.
  if (!flatContext) return;

  const [steps, channels, height, width] = data.shape;
  const kinds = ["kept", "added", "removed"];
  const crowded = 40000;
  const unpack = (cell) => {
    const x = cell % width;
    const y = Math.floor(cell / width) % height;
    const on = channels < 2 || Math.floor(cell / (width * height)) % channels > 0;
    return { t: Math.floor(cell / (width * height * channels)), x, y, on };
  };
  const events = kinds.flatMap((kind) => data[kind].map((cell) => ({ kind, ...unpack(cell) })));
  const byStep = Array.from({ length: steps }, () => []);
  for (const event of events) byStep[event.t].push(event);

  const state = { step: 0, playing: false, yaw: -0.65, pitch: 0.35, flat: events.length > crowded, last: 0, due: 0 };
  let colours = {};
  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "off", "added", "removed", "soft", "line", "panel"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  };
  const shown = (kind) => root.querySelector(`[data-kind=${kind}]`).checked;

  // A mark has a shape of its own, so that colour is not all that tells it apart.
  const mark = (pen, kind, on, x, y, size) => {
    const half = size / 2;
    if (kind === "kept") {
      pen.fillStyle = on ? colours.ink : colours.off;
      pen.fillRect(x - half, y - half, size, size);
    } else if (kind === "added") {
      pen.fillStyle = colours.added;
      pen.beginPath();
      pen.moveTo(x, y - half);
      pen.lineTo(x + half, y);
      pen.lineTo(x, y + half);
      pen.lineTo(x - half, y);
      pen.fill();
    } else {
      pen.strokeStyle = colours.removed;
      pen.lineWidth = Math.max(1.5, size / 5);
      pen.beginPath();
      pen.moveTo(x - half, y - half);
      pen.lineTo(x + half, y + half);
      pen.moveTo(x + half, y - half);
      pen.lineTo(x - half, y + half);
      pen.stroke();
    }
  };

  // Fits a canvas to its box, in the screen's own pixels; returns its pen and size in CSS pixels.
  const fitted = (canvas, aspect) => {
    const wide = canvas.clientWidth || 300;
    const high = Math.round(wide * aspect);
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.panel;
    pen.fillRect(0, 0, wide, high);
    return [pen, wide, high];
  };

  const drawSensor = (canvas, kindsHere) => {
    const [pen, wide, high] = fitted(canvas, height / width);
    const cell = Math.min(wide / width, high / height);
    const trail = get("trail").value === "all" ? state.step + 1 : Number(get("trail").value);
    for (let t = Math.max(0, state.step - trail + 1); t <= state.step; t += 1) {
      pen.globalAlpha = get("trail").value === "all" ? 1 : 1 - (0.8 * (state.step - t)) / trail;
      for (const event of byStep[t]) {
        if (!kindsHere.includes(event.kind) || !shown(event.kind)) continue;
        const size = event.kind === "kept" ? cell * 0.86 : cell * 1.25;
        mark(pen, event.kind, event.on, (event.x + 0.5) * cell, (event.y + 0.5) * cell, size);
      }
    }
  };

  // x to the right, y down, time into the distance; turned by yaw and pitch, with a little perspective.
  const projector = (wide, high) => {
    const most = Math.max(width, height);
    const deep = 1.7;
    const [cy, sy, cp, sp] = [Math.cos(state.yaw), Math.sin(state.yaw), Math.cos(state.pitch), Math.sin(state.pitch)];
    const unit = Math.min(wide / 4.2, high / 3.7);
    return (x, y, t) => {
      const px = (2 * x - width) / most;
      const py = (2 * y - height) / most;
      const pz = steps > 1 ? deep * ((2 * t) / (steps - 1) - 1) : 0;
      const [qx, qz] = [px * cy + pz * sy, pz * cy - px * sy];
      const [ry, rz] = [py * cp + qz * sp * -1, qz * cp + py * sp];
      const scale = (unit * 5) / (5.6 + rz);
      return [wide / 2 + qx * scale, high * 0.43 + ry * scale, rz, scale];
    };
  };

  const path = (pen, points) => {
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
  };
  const frameAt = (project, t) =>
    [[0, 0], [width, 0], [width, height], [0, height], [0, 0]].map(([x, y]) => project(x, y, t));
  const milliseconds = (t) => ((t * data.dt_us) / 1000).toLocaleString("en", { maximumFractionDigits: 1 });

  const drawSpace = () => {
    const [pen, wide, high] = fitted(get("space"), get("space").clientWidth < 500 ? 0.85 : 0.5);
    const project = projector(wide, high);
    const last = steps - 1;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    path(pen, frameAt(project, 0));
    path(pen, frameAt(project, last));
    for (const [x, y] of [[0, 0], [width, 0], [width, height], [0, height]]) path(pen, [project(x, y, 0), project(x, y, last)]);
    const points = events
      .filter((event) => shown(event.kind))
      .map((event) => ({ event, at: project(event.x + 0.5, event.y + 0.5, event.t) }))
      .sort((a, b) => b.at[2] - a.at[2]);
    for (const { event, at } of points) {
      const size = (at[3] / Math.max(width, height)) * (event.kind === "kept" ? 1.3 : 2.2);
      pen.globalAlpha = event.kind === "kept" ? 0.3 : 0.95;
      mark(pen, event.kind, event.on, at[0], at[1], Math.max(event.kind === "kept" ? 1.6 : 5, size));
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1.5;
    path(pen, frameAt(project, state.step));
    label(pen, "x", project(width / 2, height * 1.12, 0), wide, high);
    label(pen, "y", project(width * 1.06, height / 2, 0), wide, high);
    label(pen, "0 ms", project(width, -0.07 * height, 0), wide, high);
    label(pen, `t = ${milliseconds(last)} ms`, project(width, -0.07 * height, last), wide, high);
  };

  const label = (pen, text, [x, y], wide, high) => {
    pen.font = "13px system-ui, sans-serif";
    pen.fillStyle = colours.soft;
    const long = pen.measureText(text).width;
    pen.fillText(text, Math.min(Math.max(x - long / 2, 4), wide - long - 4), Math.min(Math.max(y, 14), high - 6));
  };

  const drawFlat = () => {
    const [pen, wide, high] = fitted(get("space"), get("space").clientWidth < 500 ? 0.85 : 0.5);
    const [left, low, top] = [34, 30, 12];
    const across = (wide - left - 10) / steps;
    const up = (high - low - top) / width;
    for (const { kind, on, x, t } of events) {
      if (!shown(kind)) continue;
      pen.globalAlpha = kind === "kept" ? 0.3 : 0.95;
      const size = Math.min(across, up) * 0.86;
      mark(pen, kind, on, left + (t + 0.5) * across, top + (x + 0.5) * up, kind === "kept" ? Math.max(1.6, size) : Math.max(5, 1.2 * size));
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.strokeRect(left, top, across * steps, up * width);
    pen.strokeStyle = colours.ink;
    pen.strokeRect(left + state.step * across, top, across, up * width);
    label(pen, "0 ms", [left + 14, high - 8], wide, high);
    label(pen, `t = ${milliseconds(steps)} ms`, [wide - 44, high - 8], wide, high);
    label(pen, "x", [left - 16, high / 2], wide, high);
  };

  const draw = () => {
    drawSensor(get("clean"), ["kept", "removed"]);
    drawSensor(get("attacked"), ["kept", "added"]);
    if (state.flat) drawFlat();
    else drawSpace();
  };

  const here = () => {
    const count = (kind) => byStep[state.step].filter((event) => event.kind === kind).length;
    return `step ${state.step + 1} of ${steps}, from ${milliseconds(state.step)} ms: ${count("kept")} kept, ` +
      `${count("added")} added, ${count("removed")} removed`;
  };
  const show = (step) => {
    state.step = Math.min(Math.max(step, 0), steps - 1);
    get("scrub").value = String(state.step);
    get("scrub").setAttribute("aria-valuetext", here());
    get("now").textContent = here();
    const rows = get("counts").tBodies[0].rows;
    for (const row of rows) row.classList.toggle("now", row.rowIndex - 1 === state.step);
    draw();
  };
  const setHash = () => {
    const wanted = `#step=${state.step + 1}${state.flat ? "&view=flat" : ""}`;
    if (location.hash !== wanted) history.replaceState(null, "", wanted);
  };
  const readHash = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const step = Number.parseInt(wanted.get("step") ?? "1", 10);
    setView(wanted.get("view") === "flat" || events.length > crowded);
    show(Number.isNaN(step) ? 0 : step - 1);
  };
  const setView = (flat) => {
    state.flat = flat;
    get("view").value = flat ? "flat" : "space";
    get("turning").hidden = flat;
  };

  const tick = (now) => {
    if (!state.playing) return;
    state.due += ((now - state.last) / 1000) * Number(get("speed").value);
    state.last = now;
    const whole = Math.floor(state.due);
    if (whole) {
      state.due -= whole;
      show((state.step + whole) % steps);
    }
    requestAnimationFrame(tick);
  };
  const play = (playing) => {
    state.playing = playing;
    get("play").textContent = playing ? "Pause" : "Play";
    // Read aloud when it stands still, not thirty times a second.
    get("now").setAttribute("aria-live", playing ? "off" : "polite");
    if (!playing) return setHash();
    state.last = performance.now();
    state.due = 0;
    requestAnimationFrame(tick);
  };
  const stepTo = (step) => {
    play(false);
    show(step);
    setHash();
  };
  const turn = (yaw, pitch) => {
    state.yaw += yaw;
    state.pitch = Math.min(Math.max(state.pitch + pitch, -1.5), 1.5);
    draw();
  };

  get("play").addEventListener("click", () => play(!state.playing));
  get("back").addEventListener("click", () => stepTo(state.step - 1));
  get("forward").addEventListener("click", () => stepTo(state.step + 1));
  get("scrub").addEventListener("input", (event) => stepTo(Number(event.target.value)));
  get("trail").addEventListener("change", draw);
  get("reset").addEventListener("click", () => turn(-0.65 - state.yaw, 0.35 - state.pitch));
  get("view").addEventListener("change", (event) => {
    setView(event.target.value === "flat");
    setHash();
    draw();
  });
  for (const box of root.querySelectorAll("[data-kind]")) box.addEventListener("change", draw);

  const space = get("space");
  space.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12] };
    if (state.flat || !(event.key in turns)) return;
    event.preventDefault();
    turn(...turns[event.key]);
  });
  space.addEventListener("pointerdown", (event) => space.setPointerCapture(event.pointerId));
  space.addEventListener("pointermove", (event) => {
    if (!state.flat && space.hasPointerCapture(event.pointerId)) turn(event.movementX * 0.01, event.movementY * 0.01);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { " ": () => play(!state.playing), ArrowLeft: () => stepTo(state.step - 1), ArrowRight: () => stepTo(state.step + 1), Home: () => stepTo(0), End: () => stepTo(steps - 1) };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("resize", draw);
  window.addEventListener("hashchange", readHash);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    draw();
  });

  root.hidden = false;
  readColours();
  readHash();
})();
