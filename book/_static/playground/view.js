/* The playground's pictures: the plane with its three layers, the charts, and the colours of both. It reads no control. */
"use strict";

const View = (() => {
  const SIDE = 24; // surface lattice

  /* `root` holds the canvases; `$` finds an element by its short name. */
  function make(root, $) {
    const plane = $("plane"), boxes = new Map(); // canvas -> its size; to ask at every picture would lay out the page anew
    const dot = document.createElement("canvas"); // one generated point, drawn once and stamped many times
    const tile = $("surface-layer").getContext("2d");
    $("surface-layer").width = $("surface-layer").height = SIDE;
    const shades = tile.createImageData(SIDE, SIDE);
    let colours;

    const density = () => Math.min(2, devicePixelRatio || 1);

    function readColours() {
      const style = getComputedStyle(root);
      colours = Object.fromEntries(["real", "fake", "judge", "doubt", "paper", "ink"].map((name) =>
        [name, style.getPropertyValue(`--${name}`).trim()]));
      for (const name of ["judge", "doubt"]) colours[`${name}RGB`] = [1, 3, 5].map((i) => parseInt(colours[name].slice(i, i + 2), 16));
    }

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

    function dots() {
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

    /* Green where the discriminator says more than one half, purple where less; a critic's scores fill the scale. The
       root makes small differences visible; it is the same at every moment, so colours can be compared over time.
       Returns the numbers at both ends of the scale. */
    function surface(run) {
      const scores = Game.surface(run, SIDE), isCritic = run.settings.game.startsWith("wasserstein");
      let low = Infinity, high = -Infinity;
      for (const score of scores) { low = Math.min(low, score); high = Math.max(high, score); }
      for (let i = 0; i < scores.length; i++) {
        const value = 2 * (isCritic ? (scores[i] - low) / (high - low || 1) : Engine.logistic(scores[i])) - 1;
        shades.data.set(value > 0 ? colours.judgeRGB : colours.doubtRGB, 4 * i);
        shades.data[4 * i + 3] = Math.round(150 * Math.sqrt(Math.abs(value)));
      }
      tile.putImageData(shades, 0, 0);
      return isCritic ? [low, high] : [0, 1];
    }

    /* Functions from the plane's coordinates to the canvas's. */
    const across = (size) => (v) => ((v / Game.PLANE + 1) / 2) * size;
    const upward = (size) => (v) => ((1 - v / Game.PLANE) / 2) * size;

    function real(run) {
      const [pen, size] = fit($("real-layer")), at = across(size), up = upward(size), { data, drawn } = run.settings;
      const values = data === "drawn" ? drawn : run.watchedReal.values.subarray(0, 600);
      pen.strokeStyle = colours.real;
      pen.globalAlpha = 0.8;
      pen.lineWidth = 1.2;
      pen.beginPath();
      for (let i = 0; i < values.length; i += 2) {
        const x = at(values[i]), y = up(values[i + 1]);
        pen.moveTo(x - 3, y); pen.lineTo(x + 3, y); pen.moveTo(x, y - 3); pen.lineTo(x, y + 3);
      }
      pen.stroke();
      pen.globalAlpha = 1;
    }

    /* An arrow's length is its share of the longest one's; but where even that is below 1, as long as it is, so that one
       sees when nothing is felt. A critic's scores have no scale of their own, so there the longest always counts. */
    function arrowsOf(pen, size, made, arrows, isCritic) {
      const at = across(size), up = upward(size);
      let longest = isCritic ? 1e-9 : 1;
      for (let i = 0; i < arrows.length; i += 2) longest = Math.max(longest, Math.hypot(arrows[i], arrows[i + 1]));
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 1;
      pen.beginPath();
      for (let i = 0; i < arrows.length; i += 2) {
        const force = Math.hypot(arrows[i], arrows[i + 1]) || 1e-9, length = 0.13 * size * (force / longest);
        const x = at(made[i]), y = up(made[i + 1]), dx = arrows[i] / force, dy = -arrows[i + 1] / force;
        const tipX = x + length * dx, tipY = y + length * dy, h = Math.min(4, length / 2);
        pen.moveTo(x, y); pen.lineTo(tipX, tipY);
        pen.moveTo(tipX - h * (dx - 0.6 * dy), tipY - h * (dy + 0.6 * dx)); pen.lineTo(tipX, tipY);
        pen.lineTo(tipX - h * (dx + 0.6 * dy), tipY - h * (dy - 0.6 * dx));
      }
      pen.stroke();
    }

    function moving(made, arrows, isCritic, cursor) {
      const [pen, size] = fit(plane), at = across(size), up = upward(size), ratio = density();
      if (arrows) arrowsOf(pen, size, made, arrows, isCritic);
      pen.setTransform(1, 0, 0, 1, 0, 0); // whole pixels of the screen: nothing has to be resampled
      for (let i = 0; i < made.length; i += 2) {
        pen.drawImage(dot, Math.round(ratio * (at(made[i]) - 5)), Math.round(ratio * (up(made[i + 1]) - 5)));
      }
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (!cursor) return;
      const x = at(cursor[0]), y = up(cursor[1]);
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(x - 7, y - 7, 14, 14);
      pen.beginPath(); pen.moveTo(x - 12, y); pen.lineTo(x + 12, y); pen.moveTo(x, y - 12); pen.lineTo(x, y + 12); pen.stroke();
    }

    /* Lines over the rounds; each is a name in `history` and a colour. */
    function chart(name, history, lines, low, high) {
      const [pen, width, height] = fit($(`${name}-chart`));
      const total = Math.max(100, history[history.length - 1].round), x = (round) => 4 + (round / total) * (width - 8);
      const y = (value) => height - 5 - ((Math.min(high, Math.max(low, value)) - low) / (high - low || 1)) * (height - 10);
      pen.lineWidth = 2;
      for (const [key, colour] of lines) {
        pen.strokeStyle = colours[colour];
        pen.beginPath();
        history.forEach((m) => { if (Number.isFinite(m[key])) pen.lineTo(x(m.round), y(m[key])); });
        pen.stroke();
      }
    }

    return { boxes, chart, dots, moving, readColours, real, surface };
  }

  return { make };
})();
