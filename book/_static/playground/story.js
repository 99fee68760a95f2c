/* The story that the playground tells: six steps, each a state of the game. It knows no page; its words stand in the
   page itself, and tests/site/test_playground_story.py measures each of them in the state that its step sets. */
"use strict";

const Story = (() => {
  const G = typeof module !== "undefined" ? require("./game.js") : Game;

  const DEFAULTS = { ...G.DEFAULTS, activation: "relu", discriminatorRate: 3e-3 };
  const SLOW = { discriminatorRate: 2e-4 };

  /* `until`: rounds after which a step is told, and the game pauses; `pace`: milliseconds that each update is shown. */
  const STEPS = {
    discriminator: { settings: { learning: "discriminator" }, until: 60, pace: 60 },
    generator: { settings: { learning: "generator", headStart: 60 }, until: 60, pace: 60 },
    collapse: { settings: SLOW },
    faster: { settings: { discriminatorRate: 2e-3 } },
    critic: { settings: { ...SLOW, game: "wasserstein-penalty", discriminatorRate: 1e-3, discriminatorSteps: 3 } },
    ahead: { settings: { ...SLOW, game: "unrolled", unrolledSteps: 10 } },
  };

  /* All settings of a step, the seed included. */
  const settingsOf = (name) => ({ ...DEFAULTS, ...STEPS[name].settings });

  /* The step that an address names, as chapters do: "#step=collapse" and nothing more. Null for any other. */
  const named = (fragment) => Object.keys(STEPS).find((name) => fragment === `#step=${name}`) || null;

  return { DEFAULTS, STEPS, settingsOf, named };
})();

if (typeof module !== "undefined") module.exports = Story;
