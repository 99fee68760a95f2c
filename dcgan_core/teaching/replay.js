/* Moves a replay (replay.py): the frame, the mark in every chart, the numbers and the slider always show one moment.
   Every output brings this script along, so each replay on a page is started by whichever copy sees it first. */
"use strict";

(() => {
  for (const root of document.querySelectorAll(".replay:not(.replay-ready)")) start(root);

  function start(root) {
    const all = (selector) => [...root.querySelectorAll(selector)];
    const { columns, moments, cursor, curves, pause } = JSON.parse(root.querySelector("script").textContent);
    const [frame] = all("img"), [button] = all("button"), [slider] = all("input"), [output] = all("output");
    const [status] = all(".replay-status"), numbers = all("b"), dots = all("circle"), last = moments.length - 1;
    let place = last, timer = null, saying = null;

    function show(moment) {
      frame.style.setProperty("--column", moment % columns);
      frame.style.setProperty("--row", Math.floor(moment / columns));
      output.textContent = moments[moment];
      for (const line of all(".replay-cursor")) line.setAttribute("transform", `translate(${cursor[moment]} 0)`);
      curves.forEach((curve, i) => {
        const [value, x, y] = curve.marks[moment];
        numbers[i].textContent = value;
        dots[i].setAttribute("visibility", x === undefined ? "hidden" : "visible");
        if (x !== undefined) dots[i].setAttribute("transform", `translate(${x} ${y})`);
      });
    }

    /* Goes to a moment. What a screen reader says of it waits until nothing moves any more. */
    function go(moment) {
      place = Math.max(0, Math.min(last, moment));
      slider.value = place;
      slider.setAttribute("aria-valuetext", moments[place]);
      show(place);
      clearTimeout(saying);
      if (timer === null) saying = setTimeout(() => {
        status.textContent = curves.map((curve) => `${curve.name} ${curve.marks[place][0]}`).join(", ");
      }, 500);
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      button.textContent = "Play"; // its name is its state
    }

    function play() {
      button.textContent = "Pause";
      timer = setInterval(() => {
        if (place + 1 === last) stop();
        go(place + 1);
      }, pause);
      if (place === last) go(0);
    }

    button.addEventListener("click", () => {
      if (timer === null) play();
      else { stop(); go(place); }
    });
    for (const event of ["pointerdown", "input"]) {
      slider.addEventListener(event, () => { stop(); go(Number(slider.value)); });
    }
    for (const chart of all("svg")) {
      const follow = (event) => {
        const box = chart.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
        const distances = cursor.map((own) => Math.abs(own - x));
        stop();
        go(distances.indexOf(Math.min(...distances)));
      };
      chart.addEventListener("pointerdown", follow);
      chart.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
    }
    const paper = matchMedia("print"); // on paper stands what stands there without a script
    paper.addEventListener("change", () => show(paper.matches ? last : place));

    go(last);
    clearTimeout(saying); // nobody has asked yet
    if (last > 0) for (const element of [button, slider]) element.hidden = false;
    root.classList.add("replay-ready");
  }
})();
