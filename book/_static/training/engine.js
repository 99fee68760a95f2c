/* A DCGAN of 16 pixels and its training: the layers, their gradients, Adam.

   `makeEngine` is one function that needs nothing around it, because its text is also what the worker runs. Images and
   maps are channels last: (image, row, column, channel). A network is a list of layers; a layer has
   `forward(x, learning)` and `backward(slope, { own, before })`: `own` adds to the gradients of its parameters, `before`
   returns the slope of its input. There are no biases: every layer is followed by batch normalisation, or is the last
   one, or is D's first, which are without in the book's networks, too (dcgan_core/models.py). */
"use strict";

/* `kernel`: the compiled product of matrices (multiply.c), or null, and then JavaScript multiplies. */
function makeEngine(kernel) {
  const SIDE = 16, LATENT = 32, LEAK = 0.2, EPSILON = 1e-5, MOMENTUM = 0.1, BETAS = [0.5, 0.999], ADAM_EPSILON = 1e-8;
  const RESERVED = 65536; // bytes that the compiled program may use itself
  const memory = kernel ? new WebAssembly.Memory({ initial: 512 }) : { buffer: new ArrayBuffer(2 ** 25) };
  const fast = kernel && new WebAssembly.Instance(kernel, { env: { memory } }).exports.multiply;
  let used = RESERVED;

  /* So many numbers in the one memory that JavaScript and the compiled program share. */
  function allocate(count) {
    const block = new Float32Array(memory.buffer, used, count);
    used += 16 * Math.ceil(count / 4);
    return block.fill(0);
  }
  const allocateParameter = (count) => ({ values: allocate(count), gradient: allocate(count), mean: allocate(count), square: allocate(count) });

  // -------------------------------------------------------------------------------------------------------- products

  /* c (m x n) = or += a (m x k) times b (k x n); `row` and `column` say how far apart the rows and columns of a lie. */
  function product(a, row, column, b, c, m, k, n, add) {
    if (![a, b, c].every((one) => one.buffer === memory.buffer)) throw new Error("These numbers do not lie in the engine's memory.");
    if (fast && n % 4 === 0) return void fast(a.byteOffset, row, column, b.byteOffset, c.byteOffset, m, k, n, add);
    if (!add) c.fill(0);
    for (let i = 0; i < m; i++) {
      for (let p = 0; p < k; p++) {
        const factor = a[i * row + p * column];
        for (let j = 0, from = p * n, to = i * n; j < n; j++) c[to + j] += factor * b[from + j];
      }
    }
  }

  /* Rows (rows x inputs) times a weight (inputs x outputs). */
  function dense(rows, inputs, outputs) {
    const weight = allocateParameter(inputs * outputs), y = allocate(rows * outputs), down = allocate(rows * inputs);
    const turned = allocate(inputs * outputs);
    let x;
    return {
      parameters: [weight],
      forward(input) {
        x = input;
        product(x, inputs, 1, weight.values, y, rows, inputs, outputs, 0);
        return y;
      },
      backward(slope, { own, before }) {
        if (own) product(x, 1, inputs, slope, weight.gradient, inputs, rows, outputs, 1);
        if (!before) return null;
        for (let i = 0; i < inputs; i++) {
          for (let j = 0; j < outputs; j++) turned[j * inputs + i] = weight.values[i * outputs + j];
        }
        product(slope, outputs, 1, turned, down, rows, outputs, inputs, 0);
        return down;
      },
    };
  }

  /* Calls `visit(offset in the windows, offset in the maps)` for each of the 16 places of every 4x4 window, stride 2. */
  function windows(count, side, channels, visit) {
    const half = side / 2;
    for (let image = 0, window = 0; image < count; image++) {
      for (let y = 0; y < half; y++) {
        for (let x = 0; x < half; x++, window += 16 * channels) {
          for (let place = 0; place < 16; place++) {
            const row = 2 * y - 1 + (place >> 2), column = 2 * x - 1 + (place & 3);
            if (row < 0 || row >= side || column < 0 || column >= side) continue; // the padding: zeros
            visit(window + place * channels, ((image * side + row) * side + column) * channels);
          }
        }
      }
    }
  }

  /* The offsets of `windows`, once for all: pairs of numbers. */
  function pairs(count, side, channels) {
    const found = [];
    windows(count, side, channels, (window, map) => found.push(window, map));
    return Int32Array.from(found);
  }

  /* Maps to windows, (count, side, side, channels) to (count * side / 2 * side / 2, 16 * channels). */
  function spread(maps, table, channels, out) {
    for (let i = 0; i < table.length; i += 2) {
      for (let c = 0, to = table[i], from = table[i + 1]; c < channels; c++) out[to + c] = maps[from + c];
    }
    return out;
  }

  /* The transpose of that: each number of the maps is the sum of all its copies in the windows. */
  function gather(rows, table, channels, out) {
    out.fill(0);
    for (let i = 0; i < table.length; i += 2) {
      for (let c = 0, from = table[i], to = table[i + 1]; c < channels; c++) out[to + c] += rows[from + c];
    }
    return out;
  }

  /* Kernel 4, stride 2, padding 1: half as many rows and columns. `side` is that of the input. */
  function convolution(count, side, before, after) {
    const rows = (count * side * side) / 4, inner = dense(rows, 16 * before, after);
    const table = pairs(count, side, before), spreaded = allocate(rows * 16 * before), down = allocate(count * side * side * before);
    return {
      parameters: inner.parameters,
      forward: (x) => inner.forward(spread(x, table, before, spreaded)),
      backward(slope, asked) {
        const found = inner.backward(slope, asked);
        return found && gather(found, table, before, down);
      },
    };
  }

  /* The same backwards, twice as many rows and columns: a convolution's way down is this one's way up. */
  function transposed(count, side, before, after) {
    const rows = count * side * side, inner = dense(rows, before, 16 * after);
    const table = pairs(count, 2 * side, after), y = allocate(4 * rows * after), spreaded = allocate(rows * 16 * after);
    return {
      parameters: inner.parameters,
      forward: (x) => gather(inner.forward(x), table, after, y),
      backward: (slope, asked) => inner.backward(spread(slope, table, after, spreaded), asked),
    };
  }

  // -------------------------------------------------------------------------------------------------- between products

  /* Batch normalisation of (rows x channels); its moving statistics are for images that nobody learns from. */
  function normalisation(rows, channels) {
    const scale = allocateParameter(channels), shift = allocateParameter(channels);
    const y = allocate(rows * channels), normal = allocate(rows * channels), down = allocate(rows * channels);
    const inverse = new Float64Array(channels), one = new Float64Array(channels), two = new Float64Array(channels);
    const running = { mean: new Float64Array(channels), variance: new Float64Array(channels).fill(1) };
    return {
      parameters: [scale, shift],
      running,
      forward(x, learning) {
        if (learning) {
          one.fill(0);
          two.fill(0);
          for (let i = 0; i < x.length; i += channels) for (let c = 0; c < channels; c++) one[c] += x[i + c];
          for (let c = 0; c < channels; c++) one[c] /= rows;
          for (let i = 0; i < x.length; i += channels) for (let c = 0; c < channels; c++) two[c] += (x[i + c] - one[c]) ** 2;
          for (let c = 0; c < channels; c++) {
            running.mean[c] += MOMENTUM * (one[c] - running.mean[c]);
            running.variance[c] += MOMENTUM * (two[c] / (rows - 1) - running.variance[c]);
            two[c] /= rows;
          }
        } else {
          one.set(running.mean);
          two.set(running.variance);
        }
        for (let c = 0; c < channels; c++) inverse[c] = 1 / Math.sqrt(two[c] + EPSILON);
        for (let i = 0; i < x.length; i += channels) {
          for (let c = 0; c < channels; c++) {
            normal[i + c] = (x[i + c] - one[c]) * inverse[c];
            y[i + c] = normal[i + c] * scale.values[c] + shift.values[c];
          }
        }
        return y;
      },
      backward(slope, { own }) {
        one.fill(0);
        two.fill(0);
        for (let i = 0; i < slope.length; i += channels) {
          for (let c = 0; c < channels; c++) {
            one[c] += slope[i + c];
            two[c] += slope[i + c] * normal[i + c];
          }
        }
        for (let c = 0; own && c < channels; c++) {
          shift.gradient[c] += one[c];
          scale.gradient[c] += two[c];
        }
        for (let i = 0; i < slope.length; i += channels) {
          for (let c = 0; c < channels; c++) {
            down[i + c] = scale.values[c] * inverse[c] * (slope[i + c] - (one[c] + normal[i + c] * two[c]) / rows);
          }
        }
        return down;
      },
    };
  }

  /* max(x, leak * x). */
  function rectifier(size, leak) {
    const y = allocate(size), down = allocate(size);
    return {
      parameters: [],
      forward(x) {
        for (let i = 0; i < size; i++) y[i] = x[i] > 0 ? x[i] : leak * x[i];
        return y;
      },
      backward(slope) {
        for (let i = 0; i < size; i++) down[i] = y[i] > 0 ? slope[i] : leak * slope[i];
        return down;
      },
    };
  }

  function tanh(size) {
    const y = allocate(size), down = allocate(size);
    return {
      parameters: [],
      forward(x) {
        for (let i = 0; i < size; i++) y[i] = Math.tanh(x[i]);
        return y;
      },
      backward(slope) {
        for (let i = 0; i < size; i++) down[i] = slope[i] * (1 - y[i] * y[i]);
        return down;
      },
    };
  }

  // --------------------------------------------------------------------------------------------------------- networks

  /* `count` latents to images (count, 16, 16). */
  const generatorOf = (count, width) => [
    dense(count, LATENT, 16 * 2 * width),
    normalisation(16 * count, 2 * width), rectifier(16 * count * 2 * width, 0),
    transposed(count, 4, 2 * width, width),
    normalisation(64 * count, width), rectifier(64 * count * width, 0),
    transposed(count, 8, width, 1),
    tanh(count * SIDE * SIDE),
  ];

  /* `count` images to logits: positive means "real". */
  const discriminatorOf = (count, width) => [
    convolution(count, 16, 1, width),
    rectifier(64 * count * width, LEAK),
    convolution(count, 8, width, 2 * width),
    normalisation(16 * count, 2 * width), rectifier(16 * count * 2 * width, LEAK),
    dense(count, 16 * 2 * width, 1),
  ];

  const forward = (network, x, learning) => network.reduce((value, layer) => layer.forward(value, learning), x);

  /* `own`: gradients of the parameters are wanted; `before`: the slope of the network's input, too. */
  function backward(network, slope, { own, before }) {
    for (let i = network.length - 1; i >= 0; i--) slope = network[i].backward(slope, { own, before: before || i > 0 });
    return slope;
  }
  const parametersOf = (network) => network.flatMap((layer) => layer.parameters);

  /* One step of Adam; `count` is the number of this step, from 1. */
  function descend(network, rate, count) {
    const [first, second] = BETAS, ofMean = 1 - first ** count, ofSquare = 1 - second ** count;
    for (const { values, gradient, mean, square } of parametersOf(network)) {
      for (let i = 0; i < values.length; i++) {
        mean[i] += (1 - first) * (gradient[i] - mean[i]);
        square[i] = second * square[i] + (1 - second) * gradient[i] * gradient[i];
        values[i] -= (rate * (mean[i] / ofMean)) / (Math.sqrt(square[i] / ofSquare) + ADAM_EPSILON);
      }
    }
  }
  const forget = (network) => parametersOf(network).forEach(({ gradient }) => gradient.fill(0));

  // ------------------------------------------------------------------------------------------------------------ chance

  /* Uniform numbers from a seed (mulberry32, Tommy Ettinger, public domain). */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /* Fills with normal numbers (Box and Muller). */
  function drawNormal(into, uniform, mean = 0, deviation = 1) {
    for (let i = 0; i < into.length; i++) {
      into[i] = mean + deviation * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    }
    return into;
  }

  /* Weights from N(0, 0.02), scales from N(1, 0.02), shifts 0: Radford et al. 2016. */
  function initialise(network, uniform) {
    for (const { running, parameters } of network) {
      if (running) drawNormal(parameters[0].values, uniform, 1, 0.02);
      else for (const { values } of parameters) drawNormal(values, uniform, 0, 0.02);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- the game

  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  /* A new pair and what it learns from. `images`: one Float32Array of 256 numbers from -1 to 1 for each picture. */
  function start({ images, rate, seed = 0, batch = 32, width = 16, shown = 25 }) {
    used = RESERVED;
    const uniform = random(seed);
    const run = { images, rate, batch, shown, uniform, rounds: 0, losses: { discriminator: NaN, generator: NaN } };
    run.generator = generatorOf(batch, width);
    run.discriminator = discriminatorOf(batch, width);
    initialise(run.generator, uniform);
    initialise(run.discriminator, uniform);
    run.watched = drawNormal(allocate(batch * LATENT), uniform);
    run.latents = allocate(batch * LATENT);
    run.real = allocate(batch * SIDE * SIDE);
    run.slope = allocate(batch);
    return run;
  }

  /* The mean of softplus(sign * logit) over the batch; its slope is left in run.slope. */
  function judge(run, images, sign) {
    const logits = forward(run.discriminator, images, true);
    let loss = 0;
    for (let i = 0; i < run.batch; i++) {
      loss += softplus(sign * logits[i]) / run.batch;
      run.slope[i] = (sign * sigmoid(sign * logits[i])) / run.batch;
    }
    return loss;
  }

  /* The discriminator's gradients of the non-saturating game; returns its loss. */
  function discriminatorGradients(run, real, fake) {
    forget(run.discriminator);
    let loss = judge(run, real, -1);
    backward(run.discriminator, run.slope, { own: true, before: false });
    loss += judge(run, fake, 1);
    backward(run.discriminator, run.slope, { own: true, before: false });
    return loss;
  }

  /* The generator's, through the discriminator, for the images that it drew last; returns its loss. */
  function generatorGradients(run, fake) {
    forget(run.generator);
    const loss = judge(run, fake, -1);
    backward(run.generator, backward(run.discriminator, run.slope, { own: false, before: true }), { own: true, before: false });
    return loss;
  }

  /* One round on a given batch: D learns, then G. */
  function learn(run) {
    const fake = forward(run.generator, run.latents, true);
    run.rounds++;
    run.losses.discriminator = discriminatorGradients(run, run.real, fake);
    descend(run.discriminator, run.rate, run.rounds);
    run.losses.generator = generatorGradients(run, fake);
    descend(run.generator, run.rate, run.rounds);
  }

  function advance(run) {
    const size = SIDE * SIDE;
    for (let i = 0; i < run.batch; i++) run.real.set(run.images[Math.floor(run.uniform() * run.images.length)], i * size);
    drawNormal(run.latents, run.uniform);
    learn(run);
  }

  /* What the generator makes of the watched latents, as bytes: 0 black, 255 white. */
  function look(run) {
    const drawn = forward(run.generator, run.watched, false);
    return Uint8ClampedArray.from(drawn.subarray(0, run.shown * SIDE * SIDE), (value) => (value + 1) * 127.5);
  }

  return { start, advance, learn, look, forward, discriminatorGradients, generatorGradients, descend, SIDE, LATENT };
}

if (typeof module !== "undefined") module.exports = makeEngine;
