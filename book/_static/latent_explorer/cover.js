/* The landing page's living picture: a letter that wanders through latent space and follows the reader. */
"use strict";

(() => {
  const root = document.getElementById("cover");
  if (!root) return;
  const letter = document.getElementById("cover-letter"), button = document.getElementById("cover-play");
  const SECONDS = 4, FRAMES = 15, REACH = 4; // from one latent to the next; pictures a second; how far the reader pulls
  const chance = Latents.random(Date.now());

  let network, from, to, gone = 0, playing, seen = true, ticking = false, then = 0;
  let across, up, pull = [0, 0]; // two directions of chance, and where the reader has moved the letter on them

  function draw() {
    const way = Latents.spherical(from, to, (1 - Math.cos(Math.PI * gone)) / 2); // slow at both ends
    const z = Latents.add(Latents.add(way, across, REACH * pull[0]), up, REACH * pull[1]);
    Generator.paint(network, Generator.run(network, z), letter.getContext("2d"));
  }

  function wake() {
    if (ticking || !playing || !seen || document.hidden) return;
    ticking = true;
    then = performance.now();
    requestAnimationFrame(frame);
  }

  function frame(now) {
    ticking = playing && seen && !document.hidden;
    if (!ticking) return;
    requestAnimationFrame(frame);
    if (now - then < 1000 / FRAMES) return;
    gone += Math.min(0.2, (now - then) / 1000) / SECONDS;
    then = now;
    if (gone >= 1) [from, to, gone] = [to, Latents.draw(network.latentSize, chance), 0];
    draw();
  }

  function setPlaying(value) {
    playing = value;
    button.textContent = playing ? "Pause" : "Play";
    wake();
  }

  function follow(x, y) {
    pull = [x, y].map((v) => Math.max(-1, Math.min(1, v)));
    draw();
  }

  function wire() {
    button.addEventListener("click", () => setPlaying(!playing));
    letter.addEventListener("pointermove", (event) => {
      const box = letter.getBoundingClientRect();
      follow((2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height);
    });
    letter.addEventListener("pointerleave", () => follow(0, 0));
    const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    letter.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (!move) return;
      event.preventDefault();
      follow(pull[0] + 0.2 * move[0], pull[1] + 0.2 * move[1]);
    });
    new IntersectionObserver(([entry]) => { seen = entry.isIntersecting; wake(); }).observe(letter);
    document.addEventListener("visibilitychange", wake);
  }

  /* The page comes first: the weights are asked for when everything else is there. */
  function start() {
    Generator.load().then((loaded) => {
      network = loaded;
      letter.width = letter.height = network.imageSize;
      [from, to] = network.watched;
      across = Latents.directionApart(network.latentSize, [], chance);
      up = Latents.directionApart(network.latentSize, [across], chance);
      wire();
      draw();
      setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
      root.classList.add("cover-ready");
    }, () => root.remove()); // the still picture below says the same
  }
  if (document.readyState === "complete") start();
  else addEventListener("load", start);

  // For the tests.
  window.cover = { state: () => ({ playing, seen, gone, pull: [...pull] }) };
})();
