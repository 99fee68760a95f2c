/* Latents: lists of numbers, drawn from a normal distribution, moved along directions, and mixed. */
"use strict";

const Latents = (() => {
  /* Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
  function random(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /* A latent of `size` numbers from N(0, 1) (Box, Muller 1958). */
  const draw = (size, uniform) => Array.from({ length: size }, () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const length = (a) => Math.sqrt(dot(a, a));
  const add = (a, b, factor) => a.map((value, i) => value + factor * b[i]);
  const unit = (a) => a.map((value) => value / length(a));

  /* A direction that is at right angles to all of `others`, and otherwise left to chance. */
  function directionApart(size, others, uniform) {
    const basis = []; // the others, made perpendicular to each other first
    for (const other of [...others, draw(size, uniform)]) {
      basis.push(unit(basis.reduce((rest, b) => add(rest, b, -dot(rest, b)), other)));
    }
    return basis[basis.length - 1];
  }

  /* The straight way from a to b; t runs from 0 to 1. */
  const linear = (a, b, t) => a.map((value, i) => (1 - t) * value + t * b[i]);

  /* The way along the sphere (Shoemake 1985): the angle, and with it the length, changes evenly. */
  function spherical(a, b, t) {
    const cosine = dot(a, b) / (length(a) * length(b)), angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
    if (Math.sin(angle) < 1e-6) return linear(a, b, t); // same or opposite: there is no one way round
    const first = Math.sin((1 - t) * angle) / Math.sin(angle), second = Math.sin(t * angle) / Math.sin(angle);
    return a.map((value, i) => first * value + second * b[i]);
  }

  return { add, directionApart, dot, draw, length, linear, random, spherical };
})();
