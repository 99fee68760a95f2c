(() => {
  const film = document.getElementById("film");
  if (!film) return;
  const frames = [...film.querySelectorAll(".frames img")];
  const slider = film.querySelector("input"), output = film.querySelector("output"), button = film.querySelector("button");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = 0;

  function show(number) {
    frames.forEach((frame, place) => { frame.hidden = place !== number; });
    slider.value = number;
    output.textContent = frames[number].dataset.at;
    slider.setAttribute("aria-valuetext", `${frames[number].dataset.at} images`);
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  }
  function play() {
    if (Number(slider.value) === frames.length - 1) show(0);
    button.textContent = "Stop";
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      if (next < frames.length) show(next);
      if (next >= frames.length - 1) stop();
    }, 350);
  }
  function respect() {
    stop();
    button.hidden = still.matches; // the slider remains, which moves by the reader's hand alone
  }

  film.querySelector(".controls").hidden = frames.length < 2;
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => (timer ? stop() : play()));
  still.addEventListener("change", respect);
  respect();
  show(frames.length - 1);
})();
