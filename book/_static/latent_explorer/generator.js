/* A DCGAN's generator, in a page, without a library: the recorded weights, and one function for each kind of layer.

   Maps are kept places first, channels last: number (y * side + x) * channels + c. The first layer alone has its numbers
   in PyTorch's order, because the second is what makes maps of them. tests/site/test_latent_explorer.py compares every
   number of every layer with PyTorch. */
"use strict";

const Generator = (() => {
  const here = document.currentScript.src;

  /* The recorded weights, once somebody asks for them: a promise of a network. */
  let loading = null;
  function load() {
    loading = loading || new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("weights.js", here);
      script.onload = () => { try { resolve(network(globalThis.RECORDED_GENERATOR)); } catch (error) { reject(error); } };
      script.onerror = () => reject(new Error("The file with the weights could not be read."));
      document.head.append(script);
    });
    return loading;
  }

  /* The number that 16 bits mean in half precision (IEEE 754): 1 bit of sign, 5 of exponent, 10 of fraction. */
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14);
  }

  /* The layers with weights in the order in which they are used, and with room for what they compute. */
  function network(record) {
    if (record.weights.length !== record.numWeights) throw new Error("The file with the weights was damaged on its way.");
    const layers = [];
    let at = 0, before = null;
    for (const { weights: size = 0, ...layer } of record.layers) {
      const own = Float32Array.from({ length: size }, (_, i) => half(record.weights.charCodeAt(at + i)));
      at += size;
      if (!KINDS[layer.kind]) throw new Error(`The page cannot compute a layer of the kind ${layer.kind}.`);
      if (layer.kind === "linear") layer.weights = own;
      if (layer.kind === "transposed") layer.weights = channelsLast(own, before.shape[0], layer.shape[0]);
      if (layer.kind === "nearest") layer.weights = channelsLast(asTransposed(own, before.shape[0], layer.shape[0]), before.shape[0], layer.shape[0]);
      layer.values = new Float32Array(layer.shape.reduce((a, b) => a * b));
      layers.push((before = layer));
    }
    const { latentSize, imageSize, channels, directions, watched } = record;
    return { latentSize, imageSize, channels, directions, watched, layers };
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

  return { load, network, paint, run };
})();
