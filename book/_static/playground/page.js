/* The page around the game: the story, the controls, the clock, drawing. */
"use strict";

(() => {
  const root = document.getElementById("playground");
  if (!root) return;
  const $ = (name) => document.getElementById(`pg-${name}`);
  const plane = $("plane"), still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const SHOWN = 160, EVERY = 10; // fake points shown, rounds between two measurements
  const SLOW = 400; // milliseconds that each update is shown in slow motion
  const view = View.make(root, $);

  let settings, run, history, every, playing = false, seen = true, cursor = null, dirty = true, arrows = null,
    standing = false, // whether the layer of what stands still is up to date
    told = null, until = Infinity, pace = 0, slow = false; // the story's step, its last round, milliseconds an update

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
    learning: [String, String],
    headStart: [Number, String],
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

  /* A chapter's link names a step of the story, any other holds a game of the reader's own; without one the page opens on
     the story. */
  function open() {
    const step = Story.named(location.hash);
    if (step) {
      $("ignored").hidden = true;
      tell(step);
      return true;
    }
    const found = fromAddress();
    if (!Object.keys(found).length) return false;
    told = null;
    until = Infinity;
    pace = 0;
    settings = { ...Story.DEFAULTS, ...found };
    restart(false);
    return true;
  }

  function showSettings() {
    for (const [name, [, write]] of Object.entries(CONTROLS)) {
      $(name).value = write(settings[name]);
      const output = root.querySelector(`output[for="pg-${name}"]`);
      if (!output) continue;
      output.textContent = show(settings[name]);
      $(name).setAttribute("aria-valuetext", output.textContent);
    }
    $("unrolledSteps").parentElement.hidden = settings.game !== "unrolled";
    $("clipLimit").parentElement.hidden = settings.game !== "wasserstein-clipping";
    $("penaltyWeight").parentElement.hidden = !Game.GAMES[settings.game].weighted;
    const known = settings.data in Game.MIXTURES;
    $("modes-figure").hidden = $("good-figure").hidden = !known;
    $("divergence-name").textContent = known ? "KL to even" : settings.data === "point" ? "Apart" : "Distance of histograms";
    $("note").textContent = known ? "" : settings.data === "drawn"
      ? "Nobody knows the modes of drawn data, so the chart compares two histograms instead. While “Draw data” is pressed, the mouse, a finger, or arrow keys and Enter draw on the plane."
      : settings.data === "point" ? "All real points are one, and so are all generated ones: the chart shows how far they are apart."
        : "A spiral has no separate modes, so the chart compares two histograms instead.";
    const now = Story.STEPS[told] && Object.entries(Story.settingsOf(told)).every(([name, value]) =>
      ["seed", "drawn"].includes(name) || settings[name] === value) ? told : "free";
    for (const button of root.querySelectorAll("[data-step]")) {
      button.setAttribute("aria-pressed", String(button.dataset.step === now));
    }
    for (const text of root.querySelectorAll("[data-of]")) {
      text.classList.toggle("pg-now", text.dataset.of === now);
    }
    $("draw").setAttribute("aria-pressed", String(drawing));
    $("undo").hidden = $("clear").hidden = settings.data !== "drawn";
    plane.parentElement.classList.toggle("pg-drawing", drawing);
    $("hint").hidden = !drawing || settings.drawn.length > 0;
    if (drawing) plane.setAttribute("tabindex", "0");
    else plane.removeAttribute("tabindex");
    plane.setAttribute("role", drawing ? "application" : "img");
    const isCritic = settings.game.startsWith("wasserstein");
    $("scale").textContent = isCritic ? "scores, any number" : "says how real, 0 to 1";
    $("key-name").textContent = isCritic ? "D’s score" : "D says real";
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
    if (history.length && last().round === run.round && !run.turn) history.pop();
    history.push({ ...Game.measure(run), ...Game.judgement(run) });
    if (history.length > 300) { // thin out, so that a long run needs no more memory
      history = history.filter((_, i) => i % 2 === 0);
      every *= 2;
    }
  }

  function advance() {
    Game.advance(run);
    if (run.round % every === 0) record();
    dirty = true;
  }

  /* One update, for all to see: the box of the network that learns is lit. */
  function update() {
    $("flow").dataset.learning = Game.update(run);
    record();
    arrows = null;
    dirty = true;
  }

  const last = () => history[history.length - 1];
  let saidAt = 0;
  const announce = (text) => { $("status").textContent = text; saidAt = performance.now(); };

  function summary() {
    const m = last();
    const quality = m.away !== undefined ? `the points are ${m.away.toFixed(2)} apart` : m.covered === undefined ? `distance of histograms ${m.distance.toFixed(2)}`
      : `${m.covered} of ${m.counts.length} modes, ${Math.round(100 * m.good)}% good, KL ${m.kl.toFixed(2)}`;
    return `Round ${run.round}: ${quality}.`;
  }

  function setPlaying(value) {
    playing = value;
    $("play").textContent = playing ? "Pause" : "Play"; // its name is its state
    if (!playing) record();
    delete $("flow").dataset.learning;
    dirty = true;
    refresh();
    announce(playing ? "Training." : `Paused. ${summary()}`);
    if (playing) wake();
  }

  /* `spare` is the time for training in a frame, in milliseconds: a little more after every frame that comes in time,
     half after one that is late, so that slow machines train less between two pictures, not the pictures less often.
     One step a frame there always is. `pictureTime` tells a slow machine: the dear parts of its picture take turns. */
  const MOST = 11, LATE = 25; // milliseconds
  let spare = MOST, pictureTime = 5, lastFrame = 0, updatedAt = 0;
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
    const begin = performance.now(), wanted = Number($("speed").value), wait = slow ? SLOW : pace;
    if (wait) {
      if (now - updatedAt < wait) return tick();
      updatedAt = now;
      update();
    } else {
      advance();
      for (let i = 1; i < wanted && performance.now() - begin < spare; i++) advance();
    }
    const trained = performance.now();
    draw();
    pictureTime += 0.2 * (performance.now() - trained - pictureTime);
    if (last() && !last().finite) {
      setPlaying(false);
      announce("The numbers are no longer finite: the game has diverged. Lower a learning rate and restart.");
      return;
    }
    if (run.round >= until) {
      until = Infinity;
      setPlaying(false);
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
    view.readColours();
    renew();
  }

  /* Everything has to be drawn again, in another size or in other colours. */
  function renew() {
    view.dots();
    charted = null;
    standing = false;
    dirty = true;
  }

  let charted = null, ends = "";

  function draw() {
    dirty = false;
    pictures += 1;
    turns = pictureTime > 8 ? 4 : 3;
    const paced = !playing || pace || slow;
    if (!standing) view.real(run);
    standing = true;
    $("surface-layer").hidden = !$("surface").checked;
    if ($("surface").checked && (paced || pictures % turns === 0)) showEnds(view.surface(run));
    // What a point feels changes slowly; looking ahead is dear, so its arrows are made anew at every twelfth picture.
    const every = settings.game === "unrolled" ? 12 : turns, wanted = $("arrows").checked;
    const dear = !paced && arrows && pictures % every !== 1;
    const seen = Game.look(run, SHOWN, wanted && !dear);
    if (wanted && !dear) arrows = seen.arrows;
    view.moving(seen.made, wanted && arrows, settings.game.startsWith("wasserstein"), drawing && cursor);
    if (playing && last() === charted) return; // new numbers would lay out the page anew at every picture
    charted = last();
    showNumbers();
  }

  /* What the colours at the ends of the scale mean. */
  function showEnds([low, high]) {
    const short = (value) => value.toFixed(Math.abs(value) < 10 && (low || high !== 1) ? 1 : 0).replace("-", "−");
    if (ends === (ends = `${short(low)} ${short(high)}`)) return;
    [$("low").textContent, $("high").textContent] = ends.split(" ");
  }

  function showNumbers() {
    const m = last(), known = m.covered !== undefined, percent = (share) => `${Math.round(100 * share)}%`;
    const number = (value) => (Math.abs(value) < 100 ? value.toFixed(2) : value.toExponential(0)).replace("-", "−");
    const texts = {
      "count-value": known ? `${m.covered} of ${m.counts.length}` : (m.away ?? m.distance).toFixed(2),
      "count-name": known ? "modes covered" : m.away === undefined ? "distance of histograms" : "apart",
      more: `${known ? `${percent(m.good)} good, ` : ""}round ${m.round.toLocaleString("en-GB")}`,
      outside: `${percent(m.outside)} of the points are off the plane`,
      "loss-generator": number(m.lossOfGenerator),
      "loss-discriminator": number(m.lossOfDiscriminator),
      "says-real": number(m.saysOfReal),
      "says-fake": number(m.saysOfFake),
    };
    for (const [name, text] of Object.entries(texts)) if ($(name).textContent !== text) $(name).textContent = text;
    $("outside").hidden = m.outside < 0.05;
    const losses = history.flatMap((one) => [one.lossOfGenerator, one.lossOfDiscriminator]).filter(Number.isFinite);
    view.chart("losses", history, [["lossOfDiscriminator", "judge"], ["lossOfGenerator", "fake"]], Math.min(0, ...losses), Math.max(1.5, ...losses));
    const one = (name, key, high, text) => {
      $(`${name}-value`).textContent = text;
      view.chart(name, history, [[key, "fake"]], 0, high);
    };
    if (known) {
      one("modes", "covered", m.counts.length, `${m.covered} of ${m.counts.length}`);
      one("good", "good", 1, percent(m.good));
      one("divergence", "kl", Math.log(m.counts.length), m.kl.toFixed(2));
    } else if (m.away !== undefined) one("divergence", "away", 1.5, m.away.toFixed(2));
    else one("divergence", "distance", Math.log(2), m.distance.toFixed(2));
  }

  // -------------------------------------------------------------------------------------------------------- controls

  function change(name, text) {
    settings = { ...settings, [name]: CONTROLS[name][0](text) };
    const starts = ["data", "seed", "activation", "headStart"].includes(name);
    if (name === "data") drawing = settings.data === "drawn";
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
  $("slow").addEventListener("click", () => {
    slow = !slow;
    $("slow").setAttribute("aria-pressed", String(slow));
    delete $("flow").dataset.learning;
    announce(slow ? "Slow motion: one update at a time." : "At full speed.");
  });
  $("restart").addEventListener("click", () => { until = Story.STEPS[told]?.until || Infinity; restart(); refresh(); });
  $("new-seed").addEventListener("click", () => change("seed", (settings.seed % 99999) + 1));
  for (const [name, act, text] of [
    ["step-discriminator", () => Game.updateDiscriminator(run), "The discriminator took one step"],
    ["step-generator", () => { Game.updateGenerator(run); run.round += 1; }, "The generator took one step"],
  ]) {
    $(name).addEventListener("click", () => {
      if (playing) setPlaying(false);
      act();
      record();
      $("flow").dataset.learning = name.slice(5);
      dirty = true;
      refresh();
      announce(`${text}; steps so far: discriminator ${run.judged}, generator ${run.step}.`);
    });
  }
  for (const name of ["arrows", "surface"]) $(name).addEventListener("change", () => { dirty = true; refresh(); });
  function tell(name) {
    told = name;
    until = Story.STEPS[name].until || Infinity;
    pace = Story.STEPS[name].pace || 0;
    drawing = false;
    settings = { ...Story.settingsOf(name), drawn: settings ? settings.drawn : [] };
    restart(false);
    if (!still && !playing) setPlaying(true);
    announce(playing ? "Training." : "At the start. Press Play.");
    refresh();
  }

  for (const button of root.querySelectorAll("[data-step]")) button.addEventListener("click", () => tell(button.dataset.step));
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
    if (!open()) return;
    refresh();
  });

  // --------------------------------------------------------------------------------------------------------- drawing

  let drawing = false, stroke = null, previous = null, strokes = [];

  function setDrawing(value) {
    drawing = value;
    if (drawing && settings.data !== "drawn") {
      settings = { ...settings, data: "drawn" };
      restart(false);
    } else showSettings();
    announce(drawing ? "Draw on the plane: the data are the points that you draw." : "Drawing is off.");
    dirty = true;
    refresh();
  }
  $("draw").addEventListener("click", () => setDrawing(!drawing));

  function addPoint(x, y) {
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
  plane.addEventListener("pointerdown", (event) => {
    if (!drawing) return; // a swipe that starts here scrolls the page
    stroke = settings.drawn.length;
    cursor = null;
    plane.setPointerCapture(event.pointerId);
    addPoint(...(previous = place(event)));
  });
  plane.addEventListener("pointermove", (event) => {
    if (stroke === null) return;
    const here = place(event);
    if (Math.hypot(here[0] - previous[0], here[1] - previous[1]) > 0.06) addPoint(...(previous = here));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    plane.addEventListener(name, () => {
      if (stroke === null) return;
      strokes.push(stroke);
      stroke = null;
      announce(`${settings.drawn.length / 2} points drawn.`);
    });
  }
  /* Takes back the last stroke, or, where none is known, the last point. */
  $("undo").addEventListener("click", () => {
    const length = strokes.pop() ?? settings.drawn.length - 2;
    settings = { ...settings, drawn: settings.drawn.slice(0, Math.max(0, length)) };
    restart(false);
    refresh();
    announce(`${settings.drawn.length / 2} points are left.`);
  });
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  plane.addEventListener("keydown", (event) => {
    if (!drawing) return;
    const move = MOVES[event.key];
    if (move) {
      const stride = event.shiftKey ? 0.3 : 0.1, limit = (v) => Math.max(-Game.PLANE, Math.min(Game.PLANE, v));
      const [x, y] = cursor || [0, 0];
      cursor = [limit(x + stride * move[0]), limit(y + stride * move[1])];
      announce(`Cross at ${cursor[0].toFixed(1)}, ${cursor[1].toFixed(1)}.`);
    } else if (event.key === "Enter" || event.key === " ") {
      cursor = cursor || [0, 0];
      strokes.push(settings.drawn.length);
      addPoint(...cursor);
      announce(`Point ${settings.drawn.length / 2} set.`);
    } else if (event.key === "Backspace" && settings.drawn.length) {
      settings = { ...settings, drawn: settings.drawn.slice(0, -2) };
      strokes.pop();
      restart(false);
      announce("The last point is gone.");
    } else if (event.key === "Escape") return setDrawing(false);
    else return;
    event.preventDefault();
    dirty = true;
    refresh();
  });
  $("clear").addEventListener("click", () => { settings = { ...settings, drawn: [] }; strokes = []; restart(false); refresh(); announce("All drawn points are gone."); });

  // --------------------------------------------------------------------------------------------------------- waking

  new IntersectionObserver(([entry]) => { const was = seen; seen = entry.isIntersecting; if (seen && !was) wake(); }).observe(plane);
  document.addEventListener("visibilitychange", wake);
  const sizes = new ResizeObserver((changes) => {
    for (const { target, contentRect } of changes) view.boxes.set(target, contentRect);
    renew();
    refresh();
  });
  for (const canvas of root.querySelectorAll("canvas")) sizes.observe(canvas);
  new MutationObserver(() => { readColours(); refresh(); })
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

  view.readColours();
  renew();
  if (!open()) tell("discriminator");
  else if (!still) setPlaying(true);
  root.classList.add("pg-ready");
  $("fallback").hidden = true;
  refresh();

  // For the tests: the state as data, and steps without waiting for the clock.
  window.playground = {
    state: () => ({ ...last(), settings, step: run.step, judged: run.judged, round: run.round, playing, seen, told, drawing, slow }),
    advance: (steps) => { for (let i = 0; i < steps; i++) advance(); record(); draw(); return Game.measure(run); },
  };
})();
