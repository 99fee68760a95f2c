/* The game of the playground: data, losses, updates of either player, and what is measured. It knows no page. */
"use strict";

const Game = (() => {
  const E = typeof module !== "undefined" ? require("./engine.js") : Engine;

  /* Everything that decides the outcome. The page's controls, the presets and the shared links all write this. */
  const DEFAULTS = {
    data: "ring", // ring, grid, spiral, point, drawn
    game: "non-saturating", // a name of GAMES
    generatorRate: 1e-3,
    discriminatorRate: 1e-3,
    discriminatorSteps: 1, // per generator step
    unrolledSteps: 5, // for the game unrolled
    clipLimit: 0.1, // for the game wasserstein-clipping
    penaltyWeight: 1, // for the games with a penalty
    activation: "tanh",
    learning: "both", // or the discriminator alone, or the generator alone
    headStart: 0, // steps of the discriminator before the game begins
    seed: 1,
    drawn: [], // x, y, x, y, ... within the plane
  };

  const LATENTS = 8, WIDTH = 32, BATCH = 64, PLANE = 1.5, BINS = 12; // the plane is [-PLANE, PLANE] squared
  const LEAST_SHARE = 0.01; // of the points, or a mode does not count: some fall near every mode by chance

  // ------------------------------------------------------------------------------------------------- random numbers

  /* Uniform numbers in [0, 1) from a seed: Tommy Ettinger's mulberry32, in the public domain. */
  function randomNumbers(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /* A number from N(0, 1), after Box and Muller. */
  const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

  const latents = (random, count, data) => // a point needs no noise
    E.constant(count, LATENTS, Float64Array.from({ length: count * LATENTS }, () => (data === "point" ? 0 : normal(random))));

  // ----------------------------------------------------------------------------------------------------------- data

  const circle = (count, radius) => Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * i) / count;
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
  const square = (side, spacing) => Array.from({ length: side * side }, (_, i) =>
    [(Math.floor(i / side) - (side - 1) / 2) * spacing, ((i % side) - (side - 1) / 2) * spacing]);

  /* Round Gaussians, all equally frequent: centres and standard deviation. */
  const MIXTURES = {
    ring: { centres: circle(8, 1), sigma: 0.05 },
    grid: { centres: square(5, 0.5), sigma: 0.05 },
  };

  /* A function that draws one real point. */
  function source(settings, random) {
    const around = (x, y, sigma) => [x + sigma * normal(random), y + sigma * normal(random)];
    const mixture = MIXTURES[settings.data];
    if (mixture) return () => around(...mixture.centres[Math.floor(random() * mixture.centres.length)], mixture.sigma);
    if (settings.data === "point") return () => [0, 0];
    if (settings.data === "spiral") {
      return () => {
        const turn = Math.sqrt(random()), angle = 4 * Math.PI * turn; // evenly along the curve, nearly
        return around(1.2 * turn * Math.cos(angle), 1.2 * turn * Math.sin(angle), 0.03);
      };
    }
    const { drawn } = settings, count = drawn.length / 2;
    return () => {
      if (!count) return around(0, 0, 0.03);
      const i = 2 * Math.floor(random() * count);
      return around(drawn[i], drawn[i + 1], 0.03);
    };
  }

  function points(draw, count) {
    const values = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) values.set(draw(), 2 * i);
    return E.constant(count, 2, values);
  }

  // --------------------------------------------------------------------------------------------------------- losses

  // A logit is the discriminator's output before the sigmoid; -log D = softplus(-logit), -log(1 - D) = softplus(logit).
  const judge = (real, fake) => E.add(E.mean(E.softplus(E.scale(real, -1))), E.mean(E.softplus(fake)));
  const saturating = (fake) => E.scale(E.mean(E.softplus(fake)), -1);
  const nonSaturating = (fake) => E.mean(E.softplus(E.scale(fake, -1)));
  const critic = (real, fake) => E.subtract(E.mean(fake), E.mean(real));
  const pleaseCritic = (fake) => E.scale(E.mean(fake), -1);
  const comparing = (real, fake) => E.mean(E.softplus(E.subtract(fake, real))); // row by row
  const outdoing = (fake, real) => E.mean(E.softplus(E.subtract(real, fake)));

  const GAMES = {
    "non-saturating": { discriminator: judge, generator: nonSaturating },
    minimax: { discriminator: judge, generator: saturating },
    "wasserstein-clipping": { discriminator: critic, generator: pleaseCritic },
    "wasserstein-penalty": { discriminator: critic, generator: pleaseCritic, weighted: true },
    unrolled: { discriminator: judge, generator: nonSaturating },
    r1: { discriminator: judge, generator: nonSaturating, weighted: true },
    relativistic: { discriminator: comparing, generator: outdoing, paired: true },
  };

  /* Mean of (slope - 1)^2 at the points between: mix (B, 1) is 0 at the fake point and 1 at the real one. The slope is
     a gradient itself, so the penalty's own gradient is of second order (Gulrajani et al. 2017, equation 3). */
  function penalty(parameters, real, fake, mix, activation) {
    const values = fake.values.map((value, i) => value + mix[i >> 1] * (real.values[i] - value));
    const between = E.variable(fake.rows, 2, values);
    const [slope] = E.gradient(E.sum(E.apply(parameters, between, activation)), [between]);
    const length = E.root(E.sumColumns(E.multiply(slope, slope)), 1e-12);
    const excess = E.shift(length, -1);
    return E.mean(E.multiply(excess, excess));
  }

  /* R1: half the mean squared slope at the real points (Mescheder et al. 2018). */
  function flatness(parameters, real, activation) {
    const at = E.variable(real.rows, 2, real.values);
    const [slope] = E.gradient(E.sum(E.apply(parameters, at, activation)), [at]);
    return E.scale(E.mean(E.sumColumns(E.multiply(slope, slope))), 0.5);
  }

  /* What the discriminator minimises on these batches, as a function of its parameters. */
  function discriminatorLoss(settings, parameters, real, fake, mix) {
    const score = (batch) => E.apply(parameters, batch, settings.activation);
    const loss = GAMES[settings.game].discriminator(score(real), score(fake));
    if (!GAMES[settings.game].weighted) return loss;
    const dues = settings.game === "r1" ? flatness(parameters, real, settings.activation)
      : penalty(parameters, real, fake, mix, settings.activation);
    return E.add(loss, E.scale(dues, settings.penaltyWeight));
  }

  /* What the generator minimises, as a function of its points `fake`: with `unrolled`, the discriminator of k steps
     later judges, and those steps, too, depend on the points. */
  function generatorLoss(settings, parameters, state, real, fake) {
    const fixed = E.frozen(parameters);
    let judges = fixed;
    if (settings.game === "unrolled") {
      const start = parameters.map((p) => E.variable(p.rows, p.columns, p.values));
      const loss = (ahead) => discriminatorLoss(settings, ahead, real, fake);
      judges = E.lookAhead(start, loss, state, settings.discriminatorRate, settings.unrolledSteps);
    }
    const { generator, paired } = GAMES[settings.game], score = (batch) => E.apply(judges, batch, settings.activation);
    return paired ? generator(score(fake), score(partners(real, fake.rows))) : generator(score(fake));
  }

  /* A real point for each of so many fake ones; there are more fakes than real ones where arrows are drawn. */
  const partners = ({ values }, count) =>
    E.constant(count, 2, Float64Array.from({ length: 2 * count }, (_, i) => values[i % values.length]));

  // ------------------------------------------------------------------------------------------------------- training

  function start(settings) {
    const random = randomNumbers(settings.seed);
    const isDirac = settings.data === "point"; // the generator is one point, the discriminator a line through 0
    const generator = isDirac ? [E.variable(2, LATENTS, new Float64Array(2 * LATENTS)), E.variable(1, 2, Float64Array.of(0.9, 0))]
      : E.perceptron([LATENTS, WIDTH, WIDTH, 2], random);
    const discriminator = isDirac ? [E.variable(1, 2, Float64Array.of(0, 0.9))] : E.perceptron([2, WIDTH, WIDTH, 1], random);
    const watching = randomNumbers(settings.seed ^ 0x5eed); // what is looked at does not disturb the game
    const draw = source(settings, watching);
    const run = {
      settings, random, generator, discriminator,
      generatorState: E.adam(generator),
      discriminatorState: E.adam(discriminator),
      draw: source(settings, random),
      step: 0, // generator updates
      judged: 0, // discriminator updates
      round: 0, // how often everybody who learns has had a turn
      turn: 0, // updates in the round that is being played
      real: points(source(settings, random), BATCH),
      watchedLatents: latents(watching, 512, settings.data),
      watchedReal: points(draw, 512),
      reference: histogram(points(draw, 4096).values),
    };
    for (let i = 0; i < settings.headStart; i++) updateDiscriminator(run);
    return run;
  }

  const generate = (run, inputs) => E.apply(E.frozen(run.generator), inputs, run.settings.activation);

  function updateDiscriminator(run) {
    const { settings, random, discriminator } = run;
    run.real = points(run.draw, BATCH);
    const fake = generate(run, latents(random, BATCH, settings.data));
    const mix = settings.game === "wasserstein-penalty" ? Float64Array.from({ length: BATCH }, random) : null;
    const loss = discriminatorLoss(settings, discriminator, run.real, fake, mix);
    E.descend(discriminator, E.gradient(loss, discriminator), run.discriminatorState, settings.discriminatorRate);
    if (settings.game === "wasserstein-clipping") {
      const limit = settings.clipLimit;
      for (const { values } of discriminator) for (let i = 0; i < values.length; i++) {
        values[i] = Math.min(limit, Math.max(-limit, values[i]));
      }
    }
    run.judged += 1;
    E.forget();
  }

  function updateGenerator(run) {
    const { settings, random, generator } = run;
    const fake = E.apply(generator, latents(random, BATCH, settings.data), settings.activation);
    const loss = generatorLoss(settings, run.discriminator, run.discriminatorState, run.real, fake);
    E.descend(generator, E.gradient(loss, generator), run.generatorState, settings.generatorRate);
    run.step += 1;
    E.forget();
  }

  /* The next update of a round, and whose it was: first the discriminator's, then the generator's. */
  function update(run) {
    const { learning, discriminatorSteps } = run.settings;
    const judging = learning === "discriminator" ? 1 : learning === "generator" ? 0 : discriminatorSteps;
    const isJudges = run.turn < judging;
    if (isJudges) updateDiscriminator(run);
    else updateGenerator(run);
    run.turn += 1;
    if (run.turn >= judging + (learning !== "discriminator")) [run.turn, run.round] = [0, run.round + 1];
    return isJudges ? "discriminator" : "generator";
  }

  /* What is left of this round. */
  function advance(run) {
    do update(run); while (run.turn);
  }

  // -------------------------------------------------------------------------------------------------------- looking

  /* The first `count` watched points, and the step against the gradient that each one feels: (2 * count) numbers. */
  function look(run, count, withArrows) {
    const inputs = E.constant(count, LATENTS, run.watchedLatents.values.subarray(0, count * LATENTS));
    const made = generate(run, inputs).values.slice();
    E.forget();
    if (!withArrows) return { made, arrows: null };
    const fake = E.variable(count, 2, made);
    const loss = generatorLoss(run.settings, run.discriminator, run.discriminatorState, run.real, fake);
    const arrows = E.gradient(loss, [fake])[0].values.map((value) => -count * value); // of each point's own loss
    E.forget();
    return { made, arrows };
  }

  /* The discriminator's scores on a lattice of side * side points, row by row from the top left. */
  function surface(run, side) {
    const values = new Float64Array(2 * side * side);
    for (let i = 0, k = 0; i < side; i++) for (let j = 0; j < side; j++) {
      values[k++] = PLANE * ((2 * j + 1) / side - 1);
      values[k++] = PLANE * (1 - (2 * i + 1) / side);
    }
    const scores = E.apply(E.frozen(run.discriminator), E.constant(side * side, 2, values), run.settings.activation);
    const result = scores.values.slice();
    E.forget();
    return result;
  }

  /* What both lose and what the discriminator says, on watched points: the mean of D(x), or of a critic's score. */
  function judgement(run) {
    const { settings, discriminator } = run, count = settings.game === "unrolled" ? BATCH : 160; // looking ahead is dear
    const real = E.constant(count, 2, run.watchedReal.values.subarray(0, 2 * count));
    const inputs = E.constant(count, LATENTS, run.watchedLatents.values.subarray(0, count * LATENTS));
    const fake = generate(run, inputs), isCritic = settings.game.startsWith("wasserstein");
    const says = (batch) => {
      const scores = E.apply(E.frozen(discriminator), batch, settings.activation).values;
      return scores.reduce((sum, score) => sum + (isCritic ? score : E.logistic(score)), 0) / count;
    };
    const result = {
      lossOfDiscriminator: discriminatorLoss(settings, discriminator, real, fake, new Float64Array(count).fill(0.5)).values[0],
      lossOfGenerator: generatorLoss(settings, discriminator, run.discriminatorState, real, fake).values[0],
      saysOfReal: says(real),
      saysOfFake: says(fake),
    };
    E.forget();
    return result;
  }

  /* Modes covered, share of good points (within 3 sigma of a centre) and KL(modes of good points || uniform) in nats,
     as dcgan_core.laboratory.mixtures.mode_statistics defines them, but that a mode needs LEAST_SHARE of the points;
     KL is log M where no point is good. */
  function modeStatistics(mixture, values) {
    const counts = new Array(mixture.centres.length).fill(0);
    for (let i = 0; i < values.length; i += 2) {
      let best = -1, nearest = Infinity;
      mixture.centres.forEach(([x, y], mode) => {
        const distance = (values[i] - x) ** 2 + (values[i + 1] - y) ** 2;
        if (distance < nearest) [nearest, best] = [distance, mode];
      });
      if (Math.sqrt(nearest) <= 3 * mixture.sigma) counts[best] += 1;
    }
    const good = counts.reduce((a, b) => a + b, 0);
    const entropy = counts.reduce((sum, n) => (n ? sum - (n / good) * Math.log(n / good) : sum), 0);
    return {
      counts,
      covered: counts.filter((n) => n >= LEAST_SHARE * (values.length / 2)).length,
      good: good / (values.length / 2),
      kl: Math.max(0, Math.log(counts.length) - entropy),
    };
  }

  /* Shares of points (x, y, x, y, ...) in BINS * BINS fields of the plane; the last entry is what lies outside. */
  function histogram(values) {
    const shares = new Float64Array(BINS * BINS + 1);
    for (let i = 0; i < values.length; i += 2) {
      const column = Math.floor(((values[i] / PLANE + 1) / 2) * BINS);
      const row = Math.floor(((values[i + 1] / PLANE + 1) / 2) * BINS);
      const inside = column >= 0 && column < BINS && row >= 0 && row < BINS; // false for NaN
      shares[inside ? row * BINS + column : BINS * BINS] += 2 / values.length;
    }
    return shares;
  }

  /* The Jensen-Shannon divergence of two histograms in nats: 0 when equal, log 2 when they share no field. */
  function jensenShannon(p, q) {
    let sum = 0;
    for (let i = 0; i < p.length; i++) {
      const middle = (p[i] + q[i]) / 2;
      if (p[i]) sum += 0.5 * p[i] * Math.log(p[i] / middle);
      if (q[i]) sum += 0.5 * q[i] * Math.log(q[i] / middle);
    }
    return Math.max(0, sum);
  }

  /* How good the watched points are. Modes exist only where the data are a mixture. */
  function measure(run) {
    const made = generate(run, run.watchedLatents).values.slice();
    E.forget();
    const mixture = MIXTURES[run.settings.data];
    const distance = jensenShannon(histogram(made), run.reference);
    const away = run.settings.data === "point" ? { away: Math.hypot(made[0], made[1]) } : {};
    const outside = histogram(made)[BINS * BINS]; // the share of the points that the plane does not show
    const common = { step: run.step, round: run.round, distance, outside, ...away, finite: made.every(Number.isFinite) };
    return mixture ? { ...common, ...modeStatistics(mixture, made) } : common;
  }

  return {
    BATCH, BINS, DEFAULTS, GAMES, LATENTS, MIXTURES, PLANE, WIDTH, advance, discriminatorLoss, generatorLoss, histogram,
    jensenShannon, judgement, look, measure, modeStatistics, normal, randomNumbers, start, surface, update,
    updateDiscriminator, updateGenerator,
  };
})();

if (typeof module !== "undefined") module.exports = Game;
