/* What runs beside the page, so that the page never waits: a worker made of the text of this function and of
   makeEngine. It answers each message with one of its own. */
"use strict";

/* `scope`: the worker itself. Messages: `start` makes a new pair; `advance` plays rounds, until there are `rounds` of
   them or so many `milliseconds` are over. */
function serveTraining(scope, makeEngine) {
  let engine = null, run = null;

  function start({ kernel, pixels, rate, seed }) {
    engine ??= makeEngine(kernel);
    const size = engine.SIDE ** 2;
    const images = Array.from({ length: pixels.length / size }, (_, i) => pixels.subarray(i * size, (i + 1) * size));
    run = engine.start({ images, rate, seed });
  }

  function advance({ rate, rounds, milliseconds }) {
    const begin = performance.now(), sums = { discriminator: 0, generator: 0 };
    let played = 0;
    run.rate = rate;
    do {
      engine.advance(run);
      sums.discriminator += run.losses.discriminator;
      sums.generator += run.losses.generator;
      played++;
    } while (played < rounds && performance.now() - begin < milliseconds);
    const losses = { discriminator: sums.discriminator / played, generator: sums.generator / played };
    return { played, losses, spent: performance.now() - begin };
  }

  scope.onmessage = ({ data }) => {
    try {
      const done = data.kind === "start" ? start(data) : advance(data);
      const pictures = engine.look(run);
      scope.postMessage({ id: data.id, ...done, rounds: run.rounds, pictures }, [pictures.buffer]);
    } catch (error) {
      scope.postMessage({ id: data.id, error: String(error.message) });
    }
  };
}

if (typeof module !== "undefined") module.exports = serveTraining;
