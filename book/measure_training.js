/* What `python book/measure_training.py` times in a browser: the page's own engine, and TensorFlow.js with the same
   two networks. Each function returns the milliseconds of single rounds. */
"use strict";

const BATCH = 32, LATENT = 32, WIDTH = 16;
const noise = () => Float32Array.from({ length: 256 }, () => 2 * Math.random() - 1);

function timeOurs(program, count) {
  const kernel = program && new WebAssembly.Module(Uint8Array.from(atob(program), (one) => one.charCodeAt(0)));
  const engine = makeEngine(kernel), run = engine.start({ images: Array.from({ length: 64 }, noise), rate: 5e-4 });
  return Array.from({ length: count }, () => {
    const begin = performance.now();
    engine.advance(run);
    return performance.now() - begin;
  });
}

async function timeTensorFlow(backend, count) {
  if (backend === "wasm") tf.wasm.setWasmPaths("node_modules/@tensorflow/tfjs-backend-wasm/dist/");
  await tf.setBackend(backend);
  await tf.ready();
  if (tf.getBackend() !== backend) throw new Error(`no backend ${backend}`);
  const made = (shape, mean = 0) => tf.variable(tf.randomNormal(shape, mean, 0.02)), w = WIDTH;
  const g = [made([LATENT, 32 * w]), made([2 * w], 1), made([2 * w]), made([4, 4, w, 2 * w]), made([w], 1), made([w]), made([4, 4, 1, w])];
  const d = [made([4, 4, 1, w]), made([4, 4, w, 2 * w]), made([2 * w], 1), made([2 * w]), made([32 * w, 1])];
  const normalise = (x, scale, shift) => {
    const { mean, variance } = tf.moments(x, [0, 1, 2]);
    return x.sub(mean).div(variance.add(1e-5).sqrt()).mul(scale).add(shift);
  };
  const generate = (z) => {
    let x = normalise(z.matMul(g[0]).reshape([BATCH, 4, 4, 2 * w]), g[1], g[2]).relu();
    x = normalise(tf.conv2dTranspose(x, g[3], [BATCH, 8, 8, w], 2, "same"), g[4], g[5]).relu();
    return tf.conv2dTranspose(x, g[6], [BATCH, 16, 16, 1], 2, "same").tanh();
  };
  const leaky = (x) => tf.maximum(x, x.mul(0.2));
  const judge = (x) => {
    const maps = leaky(normalise(tf.conv2d(leaky(tf.conv2d(x, d[0], 2, "same")), d[1], 2, "same"), d[2], d[3]));
    return maps.reshape([BATCH, 32 * w]).matMul(d[4]);
  };
  const [ofD, ofG] = [0, 1].map(() => tf.train.adam(5e-4, 0.5, 0.999));
  const real = tf.rand([BATCH, 16, 16, 1], () => 2 * Math.random() - 1), times = [];
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    const z = tf.randomNormal([BATCH, LATENT]), fake = tf.tidy(() => generate(z));
    const lossD = ofD.minimize(() => judge(real).neg().softplus().mean().add(judge(fake).softplus().mean()), true, d);
    const lossG = ofG.minimize(() => judge(generate(z)).neg().softplus().mean(), true, g);
    await Promise.all([lossD.data(), lossG.data()]); // otherwise a graphics card may still be at work
    tf.dispose([z, fake, lossD, lossG]);
    times.push(performance.now() - begin);
  }
  return times;
}

/* Trains on letters, and returns what the generator makes of the same latents after each of these numbers of rounds. */
function grow(program, letters, rate, seed, moments, latents) {
  const engine = makeEngine(new WebAssembly.Module(Uint8Array.from(atob(program), (one) => one.charCodeAt(0))));
  const { side, each, names, pixels } = TRAINING_LETTERS, bytes = atob(pixels), images = [];
  for (const name of letters) {
    for (let i = 0; i < each; i++) {
      const from = ((names.indexOf(name) * each + i) * side * side) / 2;
      images.push(Float32Array.from({ length: side * side }, (_, j) => {
        const byte = bytes.charCodeAt(from + (j >> 1));
        return (j % 2 ? byte & 15 : byte >> 4) / 7.5 - 1;
      }));
    }
  }
  const run = engine.start({ images, rate, seed }), size = BATCH * LATENT;
  return moments.map((moment) => {
    while (run.rounds < moment) engine.advance(run);
    const drawn = [];
    for (let i = 0; i < latents.length; i += size) {
      run.latents.set(latents.slice(i, i + size));
      drawn.push(...engine.forward(run.generator, run.latents, false));
    }
    return drawn;
  });
}
