/* A DCGAN's generator, in a page, without a library: the recorded weights, first rounded, then exact, and one function for each kind of layer.

   Maps are kept places first, channels last: number (y * side + x) * channels + c. The first layer alone has its numbers
   in PyTorch's order, because the second is what makes maps of them. tests/site/test_latent_explorer.py compares every
   number of every layer with PyTorch. */
"use strict";

const Generator = (() => {
  const here = document.currentScript.src;

  function script(name) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = new URL(name, here);
      element.onload = resolve;
      element.onerror = () => reject(new Error("The file with the weights could not be read."));
      document.head.append(element);
    });
  }

  /* A promise of the recorded generator with rounded weights, half as large a file. */
  const load = () => script("sketch.js").then(() => network(globalThis.RECORDED_GENERATOR));

  /* A promise that the same network has the weights exactly as they were recorded. */
  const sharpen = (network) => script("weights.js").then(() => useExact(network, globalThis.RECORDED_WEIGHTS));

  /* The layers in the order in which they are used, with rounded weights and with room for what they compute. Two
     weights share a character; each is a level, and a level of 0 in the middle, times the scale of its channel. */
  function network({ pairs, numWeights, numLevels, layers, ...about }) {
    if (pairs.length !== Math.ceil(numWeights / 2)) throw new Error(DAMAGED);
    const level = (k) => {
      const pair = pairs.charCodeAt(k >> 1);
      return (k & 1 ? pair % numLevels : Math.floor(pair / numLevels)) - (numLevels - 1) / 2;
    };
    const result = { ...about, numWeights, exact: false, layers: layers.map((layer) => ({ ...layer, size: layer.weights || 0 })) };
    for (const layer of result.layers) {
      if (!KINDS[layer.kind]) throw new Error(`The page cannot compute a layer of the kind ${layer.kind}.`);
      layer.values = new Float32Array(layer.shape.reduce((a, b) => a * b));
    }
    setWeights(result, (k, i, { kind, size, scales }) =>
      level(k) * scales[kind === "transposed" ? (i >> 4) % scales.length : Math.floor((i * scales.length) / size)]);
    return result;
  }

  function useExact(network, weights) {
    if (weights.length !== network.numWeights) throw new Error(DAMAGED);
    setWeights(network, (k) => half(weights.charCodeAt(k)));
    network.exact = true;
    return network;
  }

  const DAMAGED = "The file with the weights was damaged on its way.";

  /* The number that 16 bits mean in half precision (IEEE 754): 1 bit of sign, 5 of exponent, 10 of fraction. */
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14);
  }

  /* The numbers of as many half-precision ones. */
  const halves = (bits) => Float32Array.from(bits, half);

  /* Gives every layer its weights: `number(k, i, layer)` is the k-th of all, and the i-th of its layer. */
  function setWeights({ layers }, number) {
    let at = 0;
    layers.forEach((layer, place) => {
      if (!layer.size) return;
      const own = Float32Array.from({ length: layer.size }, (_, i) => number(at + i, i, layer));
      at += layer.size;
      if (layer.kind === "linear") layer.weights = own;
      else {
        const before = layers[place - 1].shape[0], after = layer.shape[0];
        layer.weights = channelsLast(layer.kind === "nearest" ? asTransposed(own, before, after) : own, before, after);
      }
    });
  }

  /* Kernels (before, after, 4, 4), as PyTorch has them, to (before, 4, 4, after). */
  function channelsLast(kernels, before, after) {
    const result = new Float32Array(kernels.length);
    for (let i = 0, k = 0; i < before; i++)
      for (let o = 0; o < after; o++)
        for (let tap = 0; tap < 16; tap++) result[(i * 16 + tap) * after + o] = kernels[k++];
    return result;
  }

  /* Nearest-neighbour upsampling and a convolution (after, before, 3, 3) behind it are together one transposed
     convolution (before, after, 4, 4). A value is first copied to two places r = 0, 1 of a row; tap k then adds the copy
     to the place r - k + 1, and the transposed convolution counts places from -1. */
  function asTransposed(kernels, before, after) {
    const result = new Float32Array(before * after * 16);
    for (let o = 0, at = 0; o < after; o++)
      for (let i = 0; i < before; i++)
        for (let y = 0; y < 3; y++)
          for (let x = 0; x < 3; x++, at++)
            for (let r = 0; r < 2; r++)
              for (let s = 0; s < 2; s++) result[((i * after + o) * 4 + r - y + 2) * 4 + s - x + 2] += kernels[at];
    return result;
  }

  // ---------------------------------------------------------------------------------------------------------- layers

  /* Each function fills layer.values from `input`, the values of the layer before. */

  function linear(layer, input) {
    const { weights, values } = layer;
    for (let o = 0, k = 0; o < values.length; o++) {
      let sum = 0;
      for (let i = 0; i < input.length; i++) sum += input[i] * weights[k++];
      values[o] = sum;
    }
  }

  function reshape({ shape: [channels, height, width], values }, input) {
    const places = height * width;
    for (let c = 0; c < channels; c++) for (let p = 0; p < places; p++) values[p * channels + c] = input[c * places + p];
  }

  function normalise({ shape: [channels], factor, summand, values }, input) {
    for (let k = 0; k < values.length; k += channels)
      for (let c = 0; c < channels; c++) values[k + c] = factor[c] * input[k + c] + summand[c];
  }

  function relu({ values }, input) {
    for (let k = 0; k < values.length; k++) values[k] = Math.max(0, input[k]);
  }

  function tanh({ values }, input) {
    for (let k = 0; k < values.length; k++) values[k] = Math.tanh(input[k]);
  }

  /* Kernel 4, stride 2, padding 1: input row y adds to output rows 2y - 1 to 2y + 2, and columns likewise. ReLU has made
     most inputs zero, and these are skipped. */
  function transposed({ shape: [after, height, width], weights, values }, input) {
    values.fill(0);
    const before = (input.length * 4) / (height * width);
    for (let y = 0, at = 0; y < height / 2; y++) {
      for (let x = 0; x < width / 2; x++) {
        for (let i = 0; i < before; i++, at++) {
          const value = input[at];
          if (value === 0) continue;
          for (let a = 0; a < 4; a++) {
            const row = 2 * y - 1 + a;
            if (row < 0 || row >= height) continue;
            for (let b = 0; b < 4; b++) {
              const column = 2 * x - 1 + b;
              if (column < 0 || column >= width) continue;
              const target = (row * width + column) * after, source = ((i * 4 + a) * 4 + b) * after;
              for (let o = 0; o < after; o++) values[target + o] += value * weights[source + o];
            }
          }
        }
      }
    }
  }

  const KINDS = { linear, reshape, normalise, relu, tanh, transposed, nearest: transposed };

  /* The image of a latent, size * size * channels numbers from -1 to 1. It, and the values of every other layer, stay in
     network.layers until the next call. */
  function run(network, latent) {
    let signal = latent;
    for (const layer of network.layers) {
      KINDS[layer.kind](layer, signal);
      signal = layer.values;
    }
    return signal;
  }

  // ---------------------------------------------------------------------------------------------------------- images

  /* Draws an image of `run` at (x, y) of a canvas, one pixel for one pixel. */
  function paint(network, image, pen, x = 0, y = 0) {
    const size = network.imageSize, pixels = pen.createImageData(size, size);
    for (let p = 0; p < size * size; p++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = 127.5 * (1 + image[p * network.channels + (c % network.channels)]);
      pixels.data[4 * p + 3] = 255;
    }
    pen.putImageData(pixels, x, y);
  }

  return { halves, load, network, paint, run, sharpen, useExact };
})();
