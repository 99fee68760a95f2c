/* The page around the training: buttons, letters, pictures and curves. The work is done in a worker. */
"use strict";

(() => {
  const root = document.getElementById("training");
  if (!root) return;
  const $ = (name) => document.getElementById(`tr-${name}`);
  const { side, each, names, pixels: packed } = TRAINING_LETTERS;
  const COLUMNS = 5, SHOWN = COLUMNS ** 2, BATCH = 32, FIRST = "ACEHSX", KEPT = 600;
  const CALM = matchMedia("(prefers-reduced-motion: reduce)"); // fewer pictures, further apart
  const PAUSE_AT = 5000; // rounds, after which the page stops by itself and asks

  let worker, kernel = null, id = 0, waiting = null, playing = false, rounds = 0, spent = 0, until = PAUSE_AT;
  let history = [], every = 1, sums = null, dirty = false, letters = new Set(FIRST), latest = null;

  // ---------------------------------------------------------------------------------------------------------- letters

  /* All images of the chosen letters, numbers from -1 (paper) to 1 (ink); in the file, four bits are a pixel. */
  function chosenPixels() {
    const bytes = atob(packed), perLetter = (each * side * side) / 2;
    const chosen = [...names].flatMap((name, i) => (letters.has(name) ? [i] : []));
    const found = new Float32Array(chosen.length * perLetter * 2);
    chosen.forEach((letter, place) => {
      for (let i = 0; i < perLetter; i++) {
        const byte = bytes.charCodeAt(letter * perLetter + i), to = 2 * (place * perLetter + i);
        found[to] = (byte >> 4) / 7.5 - 1;
        found[to + 1] = (byte & 15) / 7.5 - 1;
      }
    });
    return found;
  }

  function showLetters() {
    for (const button of $("letters").children) {
      button.setAttribute("aria-pressed", String(letters.has(button.textContent)));
      button.disabled = letters.size === 1 && letters.has(button.textContent); // the last one stays
    }
  }

  function makeLetters() {
    for (const name of names) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => {
        if (!letters.delete(name)) letters.add(name);
        showLetters();
        restart();
      });
      $("letters").append(button);
    }
    showLetters();
  }

  // ---------------------------------------------------------------------------------------------------------- drawing

  /* Pictures of 16 by 16, one grey byte a pixel, in rows with a gap of one pixel. */
  function drawGrid(canvas, pictures) {
    const pitch = side + 1;
    canvas.width = canvas.height = COLUMNS * pitch + 1;
    const pen = canvas.getContext("2d"), whole = pen.createImageData(canvas.width, canvas.height);
    for (let i = 3; i < whole.data.length; i += 4) whole.data[i] = 255;
    for (let i = 0; i < SHOWN * side * side; i++) {
      const picture = Math.floor(i / side ** 2), row = Math.floor(i / side) % side, column = i % side;
      const x = (picture % COLUMNS) * pitch + 1 + column, y = Math.floor(picture / COLUMNS) * pitch + 1 + row;
      whole.data.fill(pictures[i], 4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3);
    }
    pen.putImageData(whole, 0, 0);
  }

  function drawReal(all) {
    const size = side * side, step = all.length / size / SHOWN, some = new Uint8ClampedArray(SHOWN * size);
    for (let i = 0; i < SHOWN; i++) { // spread over all of them, every letter among them
      const from = Math.floor(i * step) * size;
      for (let j = 0; j < size; j++) some[i * size + j] = (all[from + j] + 1) * 127.5;
    }
    drawGrid($("real"), some);
  }

  function drawCurves() {
    const canvas = $("curves"), ratio = Math.min(2, devicePixelRatio || 1), style = getComputedStyle(root);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const top = Math.max(3, ...history.map((one) => Math.max(one.discriminator, one.generator)).filter(Number.isFinite));
    const last = Math.max(1, rounds), x = (round) => 4 + ((width - 8) * round) / last, y = (loss) => height - 4 - ((height - 8) * loss) / top;
    pen.font = "12px sans-serif";
    pen.fillStyle = pen.strokeStyle = style.getPropertyValue("--ink");
    pen.fillText(top.toFixed(1), 6, 15);
    pen.fillText("0", 6, height - 6);
    pen.textAlign = "right";
    pen.fillText(`round ${rounds.toLocaleString("en")}`, width - 6, height - 6);
    pen.lineWidth = 1.75;
    for (const [name, colour] of [["discriminator", "--judge"], ["generator", "--fake"]]) {
      pen.strokeStyle = style.getPropertyValue(colour);
      pen.beginPath();
      for (const one of history) pen.lineTo(x(one.round), y(one[name]));
      pen.stroke();
    }
  }

  let drawnAt = -Infinity;
  function draw(now) {
    requestAnimationFrame(draw);
    if (!dirty || (playing && CALM.matches && now - drawnAt < 2000)) return;
    drawnAt = now;
    dirty = false;
    if (latest) drawGrid($("samples"), latest);
    drawCurves();
    const end = history[history.length - 1];
    $("loss-discriminator").textContent = end ? end.discriminator.toFixed(2) : "–";
    $("loss-generator").textContent = end ? end.generator.toFixed(2) : "–";
    $("rounds").textContent = rounds.toLocaleString("en");
    $("seen").textContent = (rounds * BATCH).toLocaleString("en");
    $("pace").textContent = spent ? ((1000 * rounds) / spent).toFixed(0) : "–";
  }

  // --------------------------------------------------------------------------------------------------------- the work

  const announce = (text) => { $("status").textContent = text; };

  /* One question, one answer. Who asks anew no longer waits for the old answer: that becomes null. */
  function ask(message, transfer = []) {
    waiting?.resolve(null);
    return new Promise((resolve, reject) => {
      waiting = { id: ++id, resolve, reject };
      worker.postMessage({ id, ...message }, transfer);
    });
  }

  function answered({ data }) {
    if (data.id !== waiting?.id) return;
    const { resolve, reject } = waiting;
    waiting = null;
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  }

  function note({ losses, played, spent: time, rounds: now, pictures }) {
    rounds = now;
    spent += time ?? 0;
    latest = pictures;
    dirty = true;
    if (!losses) return;
    sums ??= { played: 0, discriminator: 0, generator: 0 };
    sums.played += played;
    for (const name of ["discriminator", "generator"]) sums[name] += played * losses[name];
    if (sums.played < every) return;
    history.push({ round: rounds, discriminator: sums.discriminator / sums.played, generator: sums.generator / sums.played });
    sums = null;
    if (history.length > KEPT) { // half as many points, each over twice as many rounds
      history = history.filter((_, i) => i % 2);
      every = 2 * Math.max(every, Math.ceil(rounds / KEPT / 2));
    }
  }

  const setup = () => ({ rate: Number($("rate").value), seed: Math.min(99999, Math.max(0, Math.round(Number($("seed").value) || 0))) });
  let ready = Promise.resolve();

  function restart() {
    const all = chosenPixels(), { rate, seed } = setup();
    setPlaying(false);
    $("seed").value = seed;
    drawReal(all);
    [rounds, spent, history, every, sums, until] = [0, 0, [], 1, null, PAUSE_AT];
    ready = ask({ kind: "start", kernel, pixels: all, rate, seed }, [all.buffer]).then((answer) => {
      if (!answer) return;
      note(answer);
      announce("At the start: the generator draws noise. Press Start.");
    }, stopped);
    return ready;
  }

  function stopped(error) {
    setPlaying(false);
    announce(`The training has stopped: ${error.message}`);
  }

  /* At most so many rounds, at most so long; then the page is shown what came of it. */
  async function advance(most, milliseconds) {
    for (let mine = null; mine !== ready;) { // a reset may come while we wait for one
      mine = ready;
      await mine;
    }
    const answer = await ask({ kind: "advance", rate: setup().rate, rounds: most, milliseconds });
    if (!answer) return;
    note(answer);
    if (!Number.isFinite(answer.losses.discriminator + answer.losses.generator)) {
      throw new Error("a loss is no longer a number. Choose a lower learning rate and press Reset.");
    }
  }

  async function play() {
    if (working) return;
    working = true;
    try {
      while (playing && !document.hidden) {
        await advance(until - rounds, CALM.matches ? 200 : 60);
        if (rounds >= until && playing) {
          until += PAUSE_AT;
          setPlaying(false);
          announce(`${rounds.toLocaleString("en")} rounds, paused. Press Start to go on.`);
        }
      }
    } catch (error) {
      stopped(error);
    }
    working = false;
    if (playing && !document.hidden) play(); // started again while the last answer was on its way
  }
  let working = false;

  function setPlaying(value) {
    playing = value;
    $("play").textContent = playing ? "Pause" : "Start"; // its name is its state
    $("step").disabled = playing;
    dirty = true;
  }

  // --------------------------------------------------------------------------------------------------------- the start

  /* The compiled product of matrices, or null where the browser knows no WebAssembly SIMD. */
  function compiled() {
    try {
      return new WebAssembly.Module(Uint8Array.from(atob(MULTIPLY.program), (one) => one.charCodeAt(0)));
    } catch {
      return null;
    }
  }

  /* From a text, not from a file: so the page works from a disk, too. */
  function makeWorker() {
    const program = `${makeEngine}\n${serveTraining}\nserveTraining(self, makeEngine);`;
    const made = new Worker(URL.createObjectURL(new Blob([program], { type: "text/javascript" })));
    made.onmessage = answered;
    made.onerror = (event) => waiting?.reject(new Error(event.message || "the browser did not let it begin."));
    return made;
  }

  function begin() {
    makeLetters();
    kernel = compiled();
    $("slow").hidden = kernel !== null;
    worker = makeWorker();
    $("play").addEventListener("click", () => {
      setPlaying(!playing);
      announce(playing ? "Training." : `Paused after ${rounds.toLocaleString("en")} rounds.`);
      if (playing) play();
    });
    $("step").addEventListener("click", () => {
      if (working) return;
      working = true;
      advance(1, Infinity).then(() => announce(`Round ${rounds.toLocaleString("en")}.`), stopped).finally(() => { working = false; });
    });
    $("reset").addEventListener("click", restart);
    $("seed").addEventListener("change", restart);
    document.addEventListener("visibilitychange", () => { if (playing) play(); });
    addEventListener("resize", () => { dirty = true; });
    new MutationObserver(() => { dirty = true; }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    requestAnimationFrame(draw);
    return restart();
  }

  try {
    begin();
  } catch (error) { // an old browser, or one that allows no worker
    announce(`The training cannot begin: ${error.message}`);
  }
  globalThis.training = { // for tests, and for the curious
    state: () => ({ rounds, playing, losses: history[history.length - 1], letters: [...letters].sort().join(""), compiled: kernel !== null, curve: history.length }),
    advance: (count) => advance(count, Infinity),
    ready: () => ready,
    pictures: () => [...(latest ?? [])],
  };
})();
