/* The page around the game: controls, pictures, the clock, the keyboard. */
"use strict";

(() => {
  const root = document.getElementById("playground");
  if (!root) return;
  const $ = (name) => document.getElementById(`pg-${name}`);
  const plane = $("plane"), still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const SHOWN = 160, SIDE = 24, EVERY = 10; // fake points shown, surface lattice, steps between two measurements
  const GAME_NAMES = Object.fromEntries([...$("game").options].map((option) => [option.value, option.text]));

  const SLOW = { activation: "relu", discriminatorRate: 2e-4 };
  const PRESETS = {
    healthy: {},
    collapse: SLOW,
    unrolled: { ...SLOW, game: "unrolled", unrolledSteps: 10 },
    penalty: { ...SLOW, game: "wasserstein-penalty", discriminatorRate: 1e-3, discriminatorSteps: 3 },
  };
  const DEFAULTS = { ...Game.DEFAULTS, activation: "relu", discriminatorRate: 3e-3 };

  let settings, run, history, every, playing = false, seen = true, cursor = null, colours, dirty = true, arrows = null,
    standing = false; // whether the layer of what stands still is up to date

  // -------------------------------------------------------------------------------------------------------- settings

  /* Each control: how its text becomes the setting, and back; sliders of rates and speed count in powers. */
  const CONTROLS = {
    data: [String, String],
    game: [String, String],
    generatorRate: [(text) => 10 ** Number(text), Math.log10],
    discriminatorRate: [(text) => 10 ** Number(text), Math.log10],
    discriminatorSteps: [Number, String],
    unrolledSteps: [Number, String],
    clipLimit: [(text) => 10 ** Number(text), Math.log10],
    penaltyWeight: [(text) => 10 ** Number(text), Math.log10],
    activation: [String, String],
    seed: [(text) => Math.min(99999, Math.max(0, Math.round(Number(text) || 0))), String],
  };
  const show = (value) => (typeof value === "number" ? String(Number(value.toPrecision(2))) : value);

  /* The settings in the address; what else stands there is named on the page, in one line. */
  function fromAddress() {
    const { settings: found, ignored } = Link.read(location.hash);
    $("ignored").textContent = Link.complaint(ignored);
    $("ignored").hidden = !ignored.length;
    return found;
  }

  /* A link that names no game changes the one that the page opens on. */
  const opening = (found) => ({ ...DEFAULTS, ...(found.game ? {} : PRESETS.collapse), ...found });

  function showSettings() {
    for (const [name, [, write]] of Object.entries(CONTROLS)) {
      $(name).value = write(settings[name]);
      const output = root.querySelector(`output[for="pg-${name}"]`);
      if (output) output.textContent = show(settings[name]);
    }
    $("unrolledSteps").parentElement.hidden = settings.game !== "unrolled";
    $("clipLimit").parentElement.hidden = settings.game !== "wasserstein-clipping";
    $("penaltyWeight").parentElement.hidden = !Game.GAMES[settings.game].weighted;
    const known = settings.data in Game.MIXTURES;
    $("modes-figure").hidden = $("good-figure").hidden = !known;
    $("divergence-name").textContent = known ? "KL to even" : "Distance of histograms";
    $("note").textContent = known ? "" : settings.data === "drawn"
      ? "Nobody knows the modes of drawn data, so the chart compares two histograms instead. Draw with the mouse or a finger; with the keyboard: arrow keys move the cross, Enter sets points."
      : "A spiral has no separate modes, so the chart compares two histograms instead.";
    for (const button of root.querySelectorAll("[data-preset]")) {
      const wanted = { ...DEFAULTS, ...PRESETS[button.dataset.preset], seed: settings.seed };
      const same = Object.keys(CONTROLS).every((name) => wanted[name] === settings[name]);
      button.setAttribute("aria-pressed", String(same));
    }
    $("clear").hidden = settings.data !== "drawn";
  }

  function restart(say = true) {
    run = Game.start(settings);
    history = [];
    every = EVERY;
    record();
    showSettings();
    arrows = null;
    standing = false;
    dirty = true;
    if (say) announce(playing ? "Training from the start." : "At the start. Press Play.");
  }

  // ------------------------------------------------------------------------------------------------------- the clock

  function record() {
    history.push({ ...Game.measure(run), ...run.losses });
    if (history.length > 300) { // thin out, so that a long run needs no more memory
      history = history.filter((_, i) => i % 2 === 0);
      every *= 2;
    }
  }

  function advance() {
    Game.advance(run);
    if (run.step % every === 0) record();
    dirty = true;
  }

  const last = () => history[history.length - 1];
  let saidAt = 0;
  const announce = (text) => { $("status").textContent = text; saidAt = performance.now(); };

  function summary() {
    const m = last();
    const quality = m.covered === undefined ? `distance of histograms ${m.distance.toFixed(2)}`
      : `${m.covered} of ${m.counts.length} modes, ${Math.round(100 * m.good)}% good, KL ${m.kl.toFixed(2)}`;
    return `Step ${run.step}: ${quality}.`;
  }

  function setPlaying(value) {
    playing = value;
    $("play").textContent = playing ? "Pause" : "Play"; // its name is its state
    announce(playing ? "Training." : `Paused. ${summary()}`);
    if (playing) wake();
  }

  /* `spare` is the time for training in a frame, in milliseconds: a little more after every frame that comes in time,
     half after one that is late, so that slow machines train less between two pictures, not the pictures less often.
     One step a frame there always is. `pictureTime` tells a slow machine: the dear parts of its picture take turns. */
  const MOST = 11, LATE = 25; // milliseconds
  let spare = MOST, pictureTime = 5, lastFrame = 0;
  let frames = 0, pictures = 0, turns = 3, scheduled = false, ticking = false;

  const tick = () => requestAnimationFrame(frame);

  /* Starts the clock, unless it runs already, or nobody can see it. */
  function wake() {
    if (ticking || !playing || !seen || document.hidden) return;
    ticking = true;
    lastFrame = 0;
    tick();
  }

  function frame(now) {
    ticking = playing && seen && !document.hidden;
    if (!ticking) return;
    if (still && frames++ % 6) { // fewer pictures where motion is unwelcome
      tick();
      return;
    }
    if (lastFrame) spare = now - lastFrame > LATE && !still ? spare / 2 : Math.min(MOST, spare + 0.2);
    lastFrame = now;
    const begin = performance.now(), wanted = Number($("speed").value);
    advance();
    for (let i = 1; i < wanted && performance.now() - begin < spare; i++) advance();
    const trained = performance.now();
    draw();
    pictureTime += 0.2 * (performance.now() - trained - pictureTime);
    if (last() && !last().finite) {
      setPlaying(false);
      announce("The numbers are no longer finite: the game has diverged. Lower a learning rate and restart.");
      return;
    }
    if (begin - saidAt > 8000) announce(summary());
    tick();
  }

  /* Draws once, soon, where the clock stands still. */
  function refresh() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; if (dirty) { arrows = null; draw(); } });
  }

  // -------------------------------------------------------------------------------------------------------- pictures

  function readColours() {
    const style = getComputedStyle(root);
    colours = Object.fromEntries(["real", "fake", "judge", "paper", "ink"].map((name) =>
      [name, style.getPropertyValue(`--${name}`).trim()]));
    colours.rgb = [1, 3, 5].map((i) => parseInt(colours.judge.slice(i, i + 2), 16));
    for (let i = 0; i < SIDE * SIDE; i++) shades.data.set(colours.rgb, 4 * i);
    renew();
  }

  /* Everything has to be drawn again, in another size or in other colours. */
  function renew() {
    paintDot();
    charted = null;
    standing = false;
    dirty = true;
  }

  const boxes = new Map(); // canvas -> its size on the page; to ask at every picture would lay out the page anew
  const density = () => Math.min(2, devicePixelRatio || 1);

  function fit(canvas) {
    if (!boxes.has(canvas)) boxes.set(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    const ratio = density(), box = boxes.get(canvas);
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    return [pen, box.width, box.height];
  }

  let charted = null;
  const dot = document.createElement("canvas"); // one generated point, drawn once and stamped many times

  function paintDot() {
    dot.width = dot.height = 10 * density();
    const pen = dot.getContext("2d");
    pen.scale(density(), density());
    for (const [colour, radius] of [["paper", 4.2], ["fake", 3.2]]) {
      pen.fillStyle = colours[colour];
      pen.beginPath();
      pen.arc(5, 5, radius, 0, 7);
      pen.fill();
    }
  }

  /* The plane has three layers: the surface, a few pixels that the browser stretches; the real points, drawn once; and
     what moves. */
  const tile = $("surface-layer").getContext("2d");
  $("surface-layer").width = $("surface-layer").height = SIDE;
  const shades = tile.createImageData(SIDE, SIDE);

  /* Greener where the discriminator would rather call a point real; a critic's scores fill the scale. */
  function paintSurface() {
    const scores = Game.surface(run, SIDE), isCritic = settings.game.startsWith("wasserstein");
    let low = Infinity, high = -Infinity;
    for (const score of scores) { low = Math.min(low, score); high = Math.max(high, score); }
    for (let i = 0; i < scores.length; i++) {
      const value = isCritic ? (scores[i] - low) / (high - low || 1) : Engine.logistic(scores[i]);
      shades.data[4 * i + 3] = Math.round(150 * value);
    }
    tile.putImageData(shades, 0, 0);
  }

  /* Functions from the plane's coordinates to the canvas's. */
  const across = (size) => (v) => ((v / Game.PLANE + 1) / 2) * size;
  const upward = (size) => (v) => ((1 - v / Game.PLANE) / 2) * size;

  function drawReal() {
    const [pen, size] = fit($("real-layer")), at = across(size), up = upward(size);
    const real = settings.data === "drawn" ? settings.drawn : run.watchedReal.values.subarray(0, 600);
    pen.strokeStyle = colours.real;
    pen.globalAlpha = 0.8;
    pen.lineWidth = 1.2;
    pen.beginPath();
    for (let i = 0; i < real.length; i += 2) {
      const x = at(real[i]), y = up(real[i + 1]);
      pen.moveTo(x - 3, y); pen.lineTo(x + 3, y); pen.moveTo(x, y - 3); pen.lineTo(x, y + 3);
    }
    pen.stroke();
    pen.globalAlpha = 1;
    standing = true;
  }

  function draw() {
    dirty = false;
    pictures += 1;
    turns = pictureTime > 8 ? 4 : 3;
    if (!standing) drawReal();
    $("surface-layer").hidden = !$("surface").checked;
    if ($("surface").checked && (!playing || pictures % turns === 0)) paintSurface();
    const [pen, size] = fit(plane), at = across(size), up = upward(size);
    // What a point feels changes slowly; looking ahead is dear, so its arrows are made anew at every twelfth picture.
    const every = settings.game === "unrolled" ? 12 : turns, wanted = $("arrows").checked;
    const dear = playing && arrows && pictures % every !== 1;
    const view = Game.look(run, SHOWN, wanted && !dear);
    if (wanted && !dear) arrows = view.arrows;
    if (wanted && arrows) {
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 1;
      pen.beginPath();
      for (let i = 0; i < arrows.length; i += 2) {
        const force = Math.hypot(arrows[i], arrows[i + 1]) || 1e-9, length = 0.09 * size * Math.tanh(force / 3);
        const x = at(view.made[i]), y = up(view.made[i + 1]), dx = arrows[i] / force, dy = -arrows[i + 1] / force;
        const tipX = x + length * dx, tipY = y + length * dy, h = Math.min(4, length / 2);
        pen.moveTo(x, y); pen.lineTo(tipX, tipY);
        pen.moveTo(tipX - h * (dx - 0.6 * dy), tipY - h * (dy + 0.6 * dx)); pen.lineTo(tipX, tipY);
        pen.lineTo(tipX - h * (dx + 0.6 * dy), tipY - h * (dy - 0.6 * dx));
      }
      pen.stroke();
    }
    const ratio = density();
    pen.setTransform(1, 0, 0, 1, 0, 0); // whole pixels of the screen: nothing has to be resampled
    for (let i = 0; i < view.made.length; i += 2) {
      pen.drawImage(dot, Math.round(ratio * (at(view.made[i]) - 5)), Math.round(ratio * (up(view.made[i + 1]) - 5)));
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (cursor) {
      const x = at(cursor[0]), y = up(cursor[1]);
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(x - 7, y - 7, 14, 14);
      pen.beginPath(); pen.moveTo(x - 12, y); pen.lineTo(x + 12, y); pen.moveTo(x, y - 12); pen.lineTo(x, y + 12); pen.stroke();
    }
    if (playing && last() === charted) return; // new numbers would lay out the page anew at every picture
    charted = last();
    drawCharts();
    $("step-count").textContent = run.step.toLocaleString("en-GB");
  }

  function chart(name, lines, low, high, text) {
    $(`${name}-value`).textContent = text;
    const [pen, width, height] = fit($(`${name}-chart`));
    const total = Math.max(100, last().step), x = (step) => 4 + (step / total) * (width - 8);
    const y = (value) => height - 5 - ((Math.min(high, Math.max(low, value)) - low) / (high - low || 1)) * (height - 10);
    pen.lineWidth = 2;
    for (const [key, colour, dashes] of lines) {
      pen.strokeStyle = colours[colour];
      pen.setLineDash(dashes || []);
      pen.beginPath();
      history.forEach((m) => { if (Number.isFinite(m[key])) pen.lineTo(x(m.step), y(m[key])); });
      pen.stroke();
    }
  }

  function drawCharts() {
    const m = last(), known = m.covered !== undefined;
    if (known) {
      chart("modes", [["covered", "fake"]], 0, m.counts.length, `${m.covered} of ${m.counts.length}`);
      chart("good", [["good", "fake"]], 0, 1, `${Math.round(100 * m.good)}%`);
      chart("divergence", [["kl", "fake"]], 0, Math.log(m.counts.length), m.kl.toFixed(2));
    } else chart("divergence", [["distance", "fake"]], 0, Math.log(2), m.distance.toFixed(2));
  }

  // -------------------------------------------------------------------------------------------------------- controls

  function change(name, text) {
    settings = { ...settings, [name]: CONTROLS[name][0](text) };
    const starts = ["data", "seed", "activation"].includes(name);
    if (starts) restart();
    else {
      run.settings = settings; // the game goes on with the new setting
      showSettings();
      dirty = true;
    }
    refresh();
  }

  for (const name of Object.keys(CONTROLS)) {
    $(name).addEventListener($(name).type === "range" ? "input" : "change", (event) => change(name, event.target.value));
  }
  $("speed").addEventListener("input", () => { root.querySelector('output[for="pg-speed"]').textContent = $("speed").value; });
  $("play").addEventListener("click", () => setPlaying(!playing));
  $("restart").addEventListener("click", () => { restart(); refresh(); });
  $("new-seed").addEventListener("click", () => change("seed", (settings.seed % 99999) + 1));
  for (const [name, act, text] of [
    ["step-discriminator", () => Game.updateDiscriminator(run), "The discriminator took one step"],
    ["step-generator", () => { Game.updateGenerator(run); if (run.step % every === 0) record(); }, "The generator took one step"],
  ]) {
    $(name).addEventListener("click", () => {
      if (playing) setPlaying(false);
      act();
      dirty = true;
      refresh();
      announce(`${text}; generator steps so far: ${run.step}.`);
    });
  }
  for (const name of ["arrows", "surface"]) $(name).addEventListener("change", () => { dirty = true; refresh(); });
  for (const button of root.querySelectorAll("[data-preset]")) {
    button.addEventListener("click", () => {
      settings = { ...DEFAULTS, ...PRESETS[button.dataset.preset], drawn: settings.drawn, seed: settings.seed };
      restart(false);
      if (!still && !playing) setPlaying(true);
      announce(`${button.querySelector("b").textContent}: ${GAME_NAMES[settings.game]}. ${playing ? "Training." : "Press Play."}`);
      refresh();
    });
  }
  $("share").addEventListener("click", async () => {
    window.history.replaceState(null, "", Link.write(settings));
    $("ignored").hidden = true; // and no longer in the address
    $("link").value = location.href;
    $("link-field").hidden = false;
    $("link").select();
    try {
      await navigator.clipboard.writeText(location.href);
      announce("The link is copied: it holds all settings, the seed and the drawn points.");
    } catch {
      announce("The link stands in the address bar and in the field below: copy it from there.");
    }
  });
  addEventListener("hashchange", () => {
    const found = fromAddress();
    if (!Object.keys(found).length) return;
    settings = opening(found);
    restart();
    refresh();
  });

  // --------------------------------------------------------------------------------------------------------- drawing

  function addPoint(x, y) {
    if (settings.data !== "drawn") {
      settings = { ...settings, data: "drawn", drawn: [] };
      announce("Now the data are the points that you draw.");
    }
    const drawn = settings.drawn.length >= 400 ? settings.drawn.slice(2) : settings.drawn.slice();
    const inside = (v) => { // as the link keeps it
      const byte = Math.round(((Math.max(-1, Math.min(1, v / Game.PLANE)) + 1) / 2) * 255);
      return ((2 * byte) / 255 - 1) * Game.PLANE;
    };
    drawn.push(inside(x), inside(y));
    settings = { ...settings, drawn };
    restart(false);
    refresh();
  }

  const place = (event) => {
    const box = plane.getBoundingClientRect();
    return [(2 * (event.clientX - box.left) / box.width - 1) * Game.PLANE, (1 - 2 * (event.clientY - box.top) / box.height) * Game.PLANE];
  };
  let drawing = false, previous = null;
  plane.addEventListener("pointerdown", (event) => {
    drawing = true;
    cursor = null;
    plane.setPointerCapture(event.pointerId);
    addPoint(...(previous = place(event)));
  });
  plane.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    const here = place(event);
    if (Math.hypot(here[0] - previous[0], here[1] - previous[1]) > 0.06) addPoint(...(previous = here));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    plane.addEventListener(name, () => {
      if (drawing) announce(`${settings.drawn.length / 2} points drawn.`);
      drawing = false;
    });
  }
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  plane.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (move) {
      const stride = event.shiftKey ? 0.3 : 0.1, limit = (v) => Math.max(-Game.PLANE, Math.min(Game.PLANE, v));
      const [x, y] = cursor || [0, 0];
      cursor = [limit(x + stride * move[0]), limit(y + stride * move[1])];
      announce(`Cross at ${cursor[0].toFixed(1)}, ${cursor[1].toFixed(1)}.`);
    } else if (event.key === "Enter" || event.key === " ") {
      cursor = cursor || [0, 0];
      addPoint(...cursor);
      announce(`Point ${settings.drawn.length / 2} set.`);
    } else if (event.key === "Backspace" && settings.data === "drawn" && settings.drawn.length) {
      settings = { ...settings, drawn: settings.drawn.slice(0, -2) };
      restart(false);
      announce("The last point is gone.");
    } else return;
    event.preventDefault();
    dirty = true;
    refresh();
  });
  $("clear").addEventListener("click", () => { settings = { ...settings, drawn: [] }; restart(false); refresh(); announce("All drawn points are gone."); });

  // --------------------------------------------------------------------------------------------------------- waking

  new IntersectionObserver(([entry]) => { const was = seen; seen = entry.isIntersecting; if (seen && !was) wake(); }).observe(plane);
  document.addEventListener("visibilitychange", wake);
  const sizes = new ResizeObserver((changes) => {
    for (const { target, contentRect } of changes) boxes.set(target, contentRect);
    renew();
    refresh();
  });
  for (const canvas of root.querySelectorAll("canvas")) sizes.observe(canvas);
  new MutationObserver(() => { readColours(); refresh(); })
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

  settings = opening(fromAddress());
  readColours();
  restart(false);
  root.classList.add("pg-ready");
  $("fallback").hidden = true;
  if (still) announce("At the start. Press Play.");
  else setPlaying(true);
  refresh();

  // For the tests: the state as data, and steps without waiting for the clock.
  window.playground = {
    state: () => ({ ...last(), settings, step: run.step, playing, seen }),
    advance: (steps) => { for (let i = 0; i < steps; i++) advance(); draw(); return Game.measure(run); },
  };
})();
