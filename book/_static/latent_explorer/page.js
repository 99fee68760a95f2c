/* The latent explorer: a latent, the ways to move it, and the pictures of what the generator makes of it. */
"use strict";

(() => {
  const root = document.getElementById("latent-explorer");
  if (!root) return;
  const $ = (name) => document.getElementById(`le-${name}`);
  const LIMIT = 3, CELLS = 9, STEPS = 9, MOST_KEPT = 12; // how far sliders go; map cells a side; letters on a way
  const WAYS = { linear: Latents.linear, spherical: Latents.spherical };
  const chance = Latents.random(Date.now());

  let network, classifier = null, reading = null, goal = null, directions, base, kept;
  const steps = {}; // how far the latent is moved along each direction, by the direction's name

  // ------------------------------------------------------------------------------------------------------ the latent

  const latent = (moves = steps) =>
    directions.reduce((z, { name, vector }) => (moves[name] ? Latents.add(z, vector, moves[name]) : z), base);

  function drawChance() {
    directions = directions.filter(({ ends }) => ends[0]); // the styles; chance has no names for its ends
    for (const name of ["chance A", "chance B"]) {
      const vector = Latents.directionApart(network.latentSize, directions.map((d) => d.vector), chance);
      directions.push({ name, ends: ["", ""], vector });
    }
  }

  function start(at, text) {
    base = at;
    if (goal) endGoal();
    restart(text);
  }

  function restart(text) {
    for (const { name } of directions) steps[name] = 0;
    showSteps();
    changed({ map: true });
    announce(text);
  }

  const clamp = (value) => Math.max(-LIMIT, Math.min(LIMIT, value));

  function move(changes) {
    for (const [name, value] of Object.entries(changes)) steps[name] = Math.round(100 * clamp(value)) / 100;
    showSteps();
    const axes = [$("across").value, $("up").value];
    changed({ map: Object.keys(changes).some((name) => !axes.includes(name)) });
  }

  const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);
  const announce = (text) => { $("status").textContent = text; };
  const position = () => [...new Set([$("across").value, $("up").value])].map((name) => `${name} ${signed(steps[name])}`).join(", ");

  function showSteps() {
    for (const { name } of directions) {
      const slider = $(`step-${id(name)}`);
      slider.value = steps[name];
      slider.setAttribute("aria-valuetext", signed(steps[name]));
      root.querySelector(`output[for="${slider.id}"]`).textContent = signed(steps[name]);
    }
    const share = (name) => (steps[name] / LIMIT) * ((CELLS - 1) / 2 / CELLS) + 0.5; // 0 to 1 across the map
    $("ring").style.left = `${100 * share($("across").value)}%`;
    $("ring").style.top = `${100 * (1 - share($("up").value))}%`;
  }

  // -------------------------------------------------------------------------------------------------------- pictures

  function canvas(element, width, height) {
    if (element.width !== width || element.height !== height) [element.width, element.height] = [width, height];
    return element.getContext("2d");
  }

  const draw = (z, pen, x = 0, y = 0) => Generator.paint(network, Generator.run(network, z), pen, x, y);

  /* What has to be drawn anew; everything waits for the next frame, and is then drawn once. */
  const due = { letter: false, map: false, ways: false, way: false };
  let scheduled = false, seesLayers = false;

  function changed(parts = {}) {
    Object.assign(due, { letter: true }, parts);
    refresh();
  }

  function refresh() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      const size = network.imageSize;
      if (due.map) startMap();
      if (due.ways) drawWays();
      if (due.ways || due.way) drawWay();
      if (due.letter) {
        draw(latent(), canvas($("letter"), size, size));
        read();
        soonDrawLayers();
      }
      due.letter = due.map = due.ways = due.way = false;
    });
  }

  /* What the classifier says of the letter that the generator has just drawn. */
  function read() {
    if (!classifier) return;
    reading = Classifier.read(classifier, network.layers[network.layers.length - 1].values);
    const sure = reading.certainty >= network.recognisedAt;
    const texts = { name: sure ? reading.name : `${reading.name}?`, certainty: `${Math.round(100 * reading.certainty)}% certain` };
    for (const [name, text] of Object.entries(texts)) if ($(name).textContent !== text) $(name).textContent = text;
  }

  /* The map is drawn letter by letter, from the middle outwards, some milliseconds in each frame. */
  let unpainted = [], painting = false;
  const FROM_MIDDLE = Array.from({ length: CELLS * CELLS }, (_, i) => [i % CELLS, Math.floor(i / CELLS)])
    .sort(([a, b], [c, d]) => Math.hypot(a - 4, b - 4) - Math.hypot(c - 4, d - 4));

  function startMap() {
    unpainted = FROM_MIDDLE.slice();
    if (!painting) paintMap();
  }

  function paintMap() {
    const size = network.imageSize, pen = canvas($("mosaic"), CELLS * size, CELLS * size), begin = performance.now();
    const [across, up] = [$("across").value, $("up").value], step = (2 * LIMIT) / (CELLS - 1);
    while (unpainted.length && performance.now() - begin < 10) {
      const [column, row] = unpainted.shift();
      const there = { ...steps, [across]: column * step - LIMIT, [up]: LIMIT - row * step };
      if (across === up) there[up] = column * step - LIMIT;
      draw(latent(there), pen, column * size, row * size);
    }
    painting = unpainted.length > 0;
    if (painting) requestAnimationFrame(paintMap);
  }

  // ---------------------------------------------------------------------------------------------------- kept letters

  function keep(z, text) {
    kept.push(z);
    if (kept.length > MOST_KEPT) kept.shift();
    showKept(kept.length - 2, kept.length - 1);
    if (text) announce(text);
  }

  function showKept(from, to) {
    $("shelf").replaceChildren(...kept.map((z, i) => {
      const button = document.createElement("button"), picture = document.createElement("canvas");
      button.type = "button";
      button.setAttribute("aria-label", `Explore around kept letter ${i + 1}`);
      draw(z, canvas(picture, network.imageSize, network.imageSize));
      button.append(picture, String(i + 1));
      button.addEventListener("click", () => start(z, `Around kept letter ${i + 1}.`));
      return button;
    }));
    for (const [name, chosen] of [["from", from], ["to", to]]) {
      $(name).replaceChildren(...kept.map((_, i) => new Option(`Letter ${i + 1}`, i)));
      $(name).value = chosen;
    }
    due.ways = true;
    changed();
  }

  const way = (kind, t) => WAYS[kind](kept[$("from").value], kept[$("to").value], t);

  function drawWays() {
    const size = network.imageSize;
    for (const kind of Object.keys(WAYS)) {
      const pen = canvas($(`${kind}-strip`), STEPS * size, size);
      for (let i = 0; i < STEPS; i++) draw(way(kind, i / (STEPS - 1)), pen, i * size, 0);
    }
  }

  function drawWay() {
    const size = network.imageSize, t = Number($("way").value);
    root.querySelector('output[for="le-way"]').textContent = `${Math.round(100 * t)}%`;
    $("way").setAttribute("aria-valuetext", `${Math.round(100 * t)} per cent`);
    for (const kind of Object.keys(WAYS)) {
      const z = way(kind, t);
      draw(z, canvas($(`${kind}-letter`), size, size));
      $(`${kind}-length`).textContent = `length of the latent at the slider: ${Latents.length(z).toFixed(1)}`;
    }
  }

  // ---------------------------------------------------------------------------------------------------------- layers

  /* One figure a layer. Maps lie beside each other, as many a row as make a picture some three times as wide as high;
     numbers without places lie in rows, too. */
  function makeLayers() {
    $("layers").replaceChildren(...network.layers.map(({ name, shape }, number) => {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      const title = document.createElement("b"), picture = document.createElement("canvas");
      title.textContent = `${number} ${name} (${shape.join(", ")}${shape.length > 1 ? "" : ","})`;
      caption.append(title, document.createElement("span"));
      picture.className = "living-frame";
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", `What layer ${number}, ${name}, passes on for the latent on screen.`);
      if (shape.length > 1 && shape[0] <= 3) picture.style.maxWidth = "10rem";
      figure.append(caption, picture);
      return figure;
    }));
  }

  /* Twelve pictures cost more than one letter, so a moving latent has them drawn some ten times a second. */
  let layersTimer = null;
  function soonDrawLayers() {
    if (!seesLayers || layersTimer !== null) return;
    layersTimer = setTimeout(() => { layersTimer = null; drawLayers(); }, 90);
  }

  function drawLayers() {
    Generator.run(network, latent());
    network.layers.forEach(({ shape, values }, number) => {
      const [caption, picture] = $("layers").children[number].children;
      const [channels, height, width] = shape.length > 1 ? shape : [shape[0], 1, 1];
      const columns = 8 * Math.round(Math.sqrt(3 * channels) / 8) || channels, rows = Math.ceil(channels / columns);
      const gap = width > 1 ? 1 : 0, across = columns * (width + gap) - gap, down = rows * (height + gap) - gap;
      const pen = canvas(picture, across, down), pixels = pen.createImageData(across, down);
      let low = Infinity, high = -Infinity, positive = 0;
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
        if (value > 0) positive += 1;
      }
      const scale = 255 / (high - low || 1);
      for (let c = 0; c < channels; c++) {
        const left = (c % columns) * (width + gap), top = Math.floor(c / columns) * (height + gap);
        for (let y = 0, k = c; y < height; y++) {
          for (let x = 0, at = 4 * ((top + y) * across + left); x < width; x++, at += 4, k += channels) {
            pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = scale * (values[k] - low);
            pixels.data[at + 3] = 255;
          }
        }
      }
      pen.putImageData(pixels, 0, 0);
      const short = (value) => value.toFixed(1).replace("-", "−");
      caption.lastChild.textContent = `${short(low)} to ${short(high)}, ${Math.round((100 * positive) / values.length)}% above 0`;
    });
  }

  // -------------------------------------------------------------------------------------------------------- controls

  const id = (name) => name.replace(" ", "-");
  const title = (name) => name[0].toUpperCase() + name.slice(1);

  function makeSliders() {
    $("sliders").replaceChildren(...directions.map(({ name, ends }) => {
      const field = document.createElement("div"), label = document.createElement("label"), slider = document.createElement("input");
      field.className = "living-field";
      Object.assign(slider, { type: "range", id: `le-step-${id(name)}`, min: -LIMIT, max: LIMIT, step: 0.1, value: 0 });
      label.htmlFor = slider.id;
      const output = document.createElement("output");
      output.htmlFor = slider.id;
      label.append(title(name), output);
      field.append(label, slider);
      if (ends[0]) {
        const line = document.createElement("div");
        line.className = "le-ends";
        for (const end of ends) line.append(Object.assign(document.createElement("span"), { textContent: end }));
        field.append(line);
      }
      slider.addEventListener("input", () => move({ [name]: Number(slider.value) }));
      return field;
    }));
    for (const [axis, chosen] of [["across", 0], ["up", 1]]) {
      $(axis).replaceChildren(...directions.map(({ name }) => new Option(title(name), name)));
      $(axis).selectedIndex = chosen;
    }
  }

  const CELL = (2 * LIMIT) / (CELLS - 1);

  function wireMap() {
    const map = $("map");
    const go = (event) => {
      const box = map.getBoundingClientRect();
      const whole = (value) => (goal ? Math.round(value) : value); // a goal is played from letter to letter
      const at = (share) => whole((share - 0.5) * CELLS) * CELL;
      move({ [$("up").value]: -at((event.clientY - box.top) / box.height), [$("across").value]: at((event.clientX - box.left) / box.width) });
    };
    let dragging = false, from = null; // where a finger went down that may still become a swipe, which scrolls the page
    map.addEventListener("pointerdown", (event) => {
      dragging = true;
      from = event.pointerType === "touch" ? event : null;
      if (from) return;
      map.setPointerCapture(event.pointerId);
      go(event);
    });
    map.addEventListener("pointermove", (event) => {
      if (!dragging) return;
      if (from) {
        const dx = Math.abs(event.clientX - from.clientX), dy = Math.abs(event.clientY - from.clientY);
        if (dx < 8 || dx < dy) return;
        from = null;
      }
      go(event);
    });
    map.addEventListener("pointerup", (event) => {
      if (!dragging) return;
      dragging = false;
      go(event);
      announce(`${position()}.`);
    });
    map.addEventListener("pointercancel", () => { dragging = false; });
    const MOVES = { ArrowLeft: ["across", -1], ArrowRight: ["across", 1], ArrowUp: ["up", 1], ArrowDown: ["up", -1] };
    map.addEventListener("keydown", (event) => {
      const wanted = MOVES[event.key];
      if (event.key === "Home") move({ [$("across").value]: 0, [$("up").value]: 0 });
      else if (wanted) {
        const name = $(wanted[0]).value;
        move({ [name]: steps[name] + wanted[1] * (goal ? CELL : event.shiftKey ? 1 : 0.25) });
      } else if (event.key === "Enter" && goal) return goOn();
      else return;
      event.preventDefault();
      announce(`${position()}.`);
    });
  }

  // ----------------------------------------------------------------------------------------------------------- goals

  /* The two directions of the next move take the place of all others. */
  function nextMap() {
    directions = goal.next().map((vector, i) => ({ name: i ? "up" : "across", ends: ["", ""], vector }));
    base = goal.latent;
    makeSliders();
  }

  function beginGoal(chosen) {
    goal = Goals.begin(chosen, network.latentSize);
    nextMap();
    showGoal();
    restart("Put the ring on a letter, and press Move here.");
  }

  function endGoal() {
    goal = null;
    $("goal").value = "";
    directions = network.directions.slice();
    drawChance();
    makeSliders();
    showGoal();
  }

  function showGoal(text) {
    $("task").textContent = !goal ? "" : text || `${goal.start} to ${goal.target}: ${Goals.count(goal.moves)} so far, fewest ${goal.fewest}`;
    $("move").hidden = $("again").hidden = !goal;
    $("move").disabled = !goal || goal.done === true;
    root.classList.toggle("le-playing", Boolean(goal));
  }

  function goOn() {
    if (goal.done || !classifier) return;
    if (!directions.some(({ name }) => steps[name])) return announce("Put the ring on another letter first.");
    Generator.run(network, goal.latent = latent());
    read();
    goal.moves += 1;
    goal.done = Goals.isReached(goal, reading, network.recognisedAt);
    nextMap();
    const words = `${reading.name}, ${Math.round(100 * reading.certainty)}% certain`;
    restart(`The letter is now ${words}.`);
    showGoal(goal.done ? `There: ${words}, in ${Goals.count(goal.moves)}; the fewest are ${goal.fewest}.` : "");
  }

  function wireGoals() {
    for (const [place, { start, target, fewest }] of network.goals.entries()) {
      $("goal").append(new Option(`${start} to ${target} (${Goals.count(fewest)})`, place));
    }
    const chosen = () => network.goals[$("goal").value];
    $("goal").addEventListener("change", () => (chosen() ? beginGoal(chosen()) : start(base, "Look around.")));
    $("move").addEventListener("click", goOn);
    $("again").addEventListener("click", () => beginGoal(chosen()));
  }

  function wireButtons() {
    $("surprise").addEventListener("click", () => {
      drawChance();
      start(Latents.draw(network.latentSize, chance), "A new latent, drawn from the normal distribution.");
    });
    $("middle").addEventListener("click", () => restart("Back in the middle of the map."));
    $("keep").addEventListener("click", () => keep(latent(), `Kept as letter ${Math.min(MOST_KEPT, kept.length + 1)}; the way below now leads to it.`));
    for (const axis of ["across", "up"]) {
      $(axis).addEventListener("change", () => {
        showSteps();
        changed({ map: true });
        announce($("across").value === $("up").value ? "Both ways of the map are the same direction." : `The map shows ${$("across").value} and ${$("up").value}.`);
      });
    }
    for (const name of ["from", "to"]) $(name).addEventListener("change", () => { due.ways = true; changed(); });
    $("way").addEventListener("input", () => { due.way = true; changed(); });
    for (const kind of Object.keys(WAYS)) {
      $(`${kind}-go`).addEventListener("click", () => {
        start(way(kind, Number($("way").value)), `Around the ${kind} mixture of letters ${1 + Number($("from").value)} and ${1 + Number($("to").value)}.`);
        $("map").scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      });
    }
    new IntersectionObserver(([entry]) => { seesLayers = entry.isIntersecting; soonDrawLayers(); }).observe($("layers"));
  }

  /* The exact weights are asked for at the first touch; then every picture is drawn anew. */
  function sharpenOnce() {
    for (const name of TOUCHES) root.removeEventListener(name, sharpenOnce);
    Generator.sharpen(network).then(() => {
      showKept($("from").value, $("to").value);
      changed({ map: true });
    }, (error) => announce(`${error.message} The rounded ones stay.`));
  }
  const TOUCHES = ["pointerdown", "keydown"];

  // ---------------------------------------------------------------------------------------------------------- waking

  Generator.load().then((loaded) => {
    network = loaded;
    directions = network.directions.slice();
    drawChance();
    makeSliders();
    makeLayers();
    wireMap();
    wireButtons();
    wireGoals();
    $("apparatus").hidden = false;
    $("fallback").hidden = true;
    kept = network.watched.slice();
    start(kept[0], "Drag the ring, or press arrow keys on the map.");
    showKept(0, 1);
    for (const name of TOUCHES) root.addEventListener(name, sharpenOnce);
    root.classList.add("le-ready");
    Classifier.load().then((found) => { classifier = found; changed(); }, (error) => announce(error.message));
  }, (error) => { $("fallback").textContent = error.message; });

  // For the tests: the state as data, and the generator's answer to any latent.
  window.latentExplorer = {
    state: () => ({ exact: network.exact, latent: latent(), base, steps: { ...steps }, kept, reading, goal: goal && { ...goal }, waiting: !classifier || scheduled || painting || layersTimer !== null, directions }),
    outputs: (z) => { Generator.run(network, z); return network.layers.map(({ shape, values }) => ({ shape, values: [...values] })); },
    probabilities: (z) => Classifier.probabilities(classifier, Generator.run(network, z)),
  };
})();
