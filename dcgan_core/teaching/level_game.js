/* Plays levels in the page (level_game.py), by the rules of laboratory/level_rules.py, one tick after the other.
   Every output brings this script along, so each game on a page is started by whichever copy sees it first. */
"use strict";

(() => {
  const TICK = 110; // milliseconds
  const DIRECTIONS = { ArrowLeft: -1, ArrowRight: 1 }, JUMPS = ["ArrowUp", " "];
  for (const root of document.querySelectorAll(".level-game:not(.level-ready)")) start(root);

  function start(root) {
    const all = (selector) => [...root.querySelectorAll(selector)];
    const [source] = all("script"), { levels, rise: RISE, solid, deadly, crystal, side } = JSON.parse(source.textContent);
    const [stage] = all(".level-stage"), [status] = all(".level-status");
    const choices = all(".level-choice button"), keys = all(".level-touch button"), [show, again] = all(".level-more button");
    const reduced = matchMedia("(prefers-reduced-motion: reduce)"), sheet = new Image(), canvas = document.createElement("canvas");
    const brush = canvas.getContext("2d"), held = new Set();
    let level, tiles, place, before, found, ticks, over, moves = null, timer = null, tickedAt = 0, latched = null, leap = false;

    const isSolid = (rows, column, row) => row >= 0 && row < rows.length && solid.includes(rows[row][column]);

    /* One tick: where the player is afterwards, [column, row, rows left of a jump], or null for one who is out. */
    function moved(rows, [column, row, rise], direction, jump) {
      if (jump && rise === 0 && isSolid(rows, column, row + 1)) rise = RISE;
      const next = column + direction;
      if (next >= 0 && next < rows[0].length && !isSolid(rows, next, row)) column = next;
      if (rise && row > 0 && !isSolid(rows, column, row - 1)) { row -= 1; rise -= 1; }
      else if (rise) rise = 0;
      else if (!isSolid(rows, column, row + 1)) row += 1;
      return row >= rows.length || deadly.includes(rows[row][column]) ? null : [column, row, rise];
    }
    root.moved = moved; // for tests

    function draw(share) {
      tiles.forEach((row, y) => row.forEach((kind, x) => brush.drawImage(sheet, kind * side, 0, side, side, x * side, y * side, side, side)));
      const [x, y] = [0, 1].map((axis) => before[axis] + share * (place[axis] - before[axis]));
      brush.save(); // the player's picture has a ground of sky: only the round of it is shown
      brush.beginPath();
      brush.ellipse((x + 0.5) * side, (y + 0.51) * side, 0.36 * side, 0.47 * side, 0, 0, 2 * Math.PI);
      brush.clip();
      brush.drawImage(sheet, sheet.width - side, 0, side, side, x * side, y * side, side, side);
      brush.restore();
    }

    function glide() {
      if (timer === null || reduced.matches) return draw(1);
      draw(Math.min(1, (performance.now() - tickedAt) / TICK));
      requestAnimationFrame(glide);
    }

    function say(text) { status.textContent = text; }

    function begin(number) {
      stop();
      level = levels[number];
      tiles = level.tiles.map((row) => [...row].map(Number));
      place = before = level.start;
      [found, ticks, over, moves, latched, leap] = [0, 0, false, null, null, false];
      choices.forEach((choice, i) => choice.setAttribute("aria-pressed", i === number));
      show.disabled = level.way === null;
      root.dataset.state = "ready";
      draw(1);
    }

    function stop() { clearInterval(timer); timer = null; }

    function run() {
      if (timer !== null || over) return;
      root.dataset.state = "playing";
      tick();
      if (over) return; // the very first move has ended it
      timer = setInterval(tick, TICK);
      if (!reduced.matches) requestAnimationFrame(glide);
    }

    function end(state, text) { over = true; moves = null; root.dataset.state = state; say(text); stop(); draw(1); }

    function tick() {
      let direction = latched ?? ["ArrowRight", "ArrowLeft"].reduce((sum, key) => sum + (held.has(key) ? DIRECTIONS[key] : 0), 0);
      let jump = leap || JUMPS.some((key) => held.has(key));
      if (moves) [direction, jump] = moves.length ? moves.shift() : [0, 0];
      [latched, leap] = [null, false];
      const following = moved(tiles, place, direction, jump);
      [before, tickedAt] = [place, performance.now()];
      ticks += 1;
      if (following === null) return end("out", "Out. Press “Start again”, or choose a level.");
      place = following;
      const [column, row, rise] = place, stands = isSolid(tiles, column, row + 1);
      if (tiles[row][column] === crystal) { tiles[row][column] = 0; found += 1; }
      root.dataset.column = column;
      if (column === tiles[0].length - 1 && rise === 0 && stands) return end("passed", `Passed in ${ticks} ticks, with ${found} ${found === 1 ? "crystal" : "crystals"}.`);
      if (!moves && !held.size && stands && !rise && before.every((value, i) => value === place[i])) { stop(); draw(1); } // at rest
      else if (reduced.matches) draw(1);
    }

    function press(key) {
      if (over) return;
      if (moves) { moves = null; say("Now you."); } // the reader takes over
      held.add(key);
      if (key in DIRECTIONS) latched = DIRECTIONS[key];
      else leap = true;
      run();
    }

    stage.addEventListener("keydown", (event) => {
      if (event.key in DIRECTIONS || JUMPS.includes(event.key)) {
        event.preventDefault(); // or the page would scroll
        if (!event.repeat) press(event.key);
      } else if (event.key === "Enter") { begin(levels.indexOf(level)); say("From the start."); }
    });
    stage.addEventListener("keyup", (event) => held.delete(event.key));
    stage.addEventListener("blur", () => held.clear());
    for (const button of keys) {
      const { key } = button.dataset;
      button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); press(key); });
      for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, () => held.delete(key));
      button.addEventListener("click", (event) => { if (event.detail === 0) { press(key); held.delete(key); } }); // by keyboard
      button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
    }
    choices.forEach((choice, i) => choice.addEventListener("click", () => {
      begin(i);
      say(`${level.name}: ${level.way === null ? "the agent finds no way through." : `the agent needs ${level.way.length} ticks.`}`);
    }));
    again.addEventListener("click", () => { begin(levels.indexOf(level)); say("From the start."); });
    show.addEventListener("click", () => { begin(levels.indexOf(level)); moves = level.way.map((move) => [...move]); say("The agent plays."); run(); });

    sheet.addEventListener("load", () => {
      canvas.width = levels[0].tiles[0].length * side;
      canvas.height = levels[0].tiles.length * side;
      canvas.setAttribute("aria-hidden", "true");
      stage.append(canvas);
      stage.tabIndex = 0;
      stage.setAttribute("role", "application");
      stage.setAttribute("aria-label", "The game: arrow keys or space to move and jump, Enter to start again");
      for (const element of all("[hidden]")) element.hidden = false;
      begin(0);
      root.classList.add("level-ready");
    });
    sheet.src = source.dataset.sheet;
  }
})();
