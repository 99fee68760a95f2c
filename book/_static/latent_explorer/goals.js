/* Goals: from one letter to another in few moves. Where a goal starts and the directions of its moves follow from its
   seed, here as in dcgan_core/teaching/goals.py, where a search has found the fewest moves. */
"use strict";

const Goals = (() => {
  /* A goal that is being played; `next` draws the two directions of the next move. */
  function begin(goal, size) {
    const uniform = Latents.random(goal.seed), start = Latents.draw(size, uniform);
    const next = () => {
      const first = Latents.directionApart(size, [], uniform);
      return [first, Latents.directionApart(size, [first], uniform)];
    };
    return { ...goal, latent: start, moves: 0, next };
  }

  const isReached = (goal, { name, certainty }, recognisedAt) => name === goal.target && certainty >= recognisedAt;

  const count = (moves) => `${moves} ${moves === 1 ? "move" : "moves"}`;

  return { begin, count, isReached };
})();
