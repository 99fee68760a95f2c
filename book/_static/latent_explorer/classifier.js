/* The book's letter classifier, in a page, without a library: which letter an image is, and how certain that is.

   tests/site/test_latent_explorer.py compares what it says with PyTorch. Maps are kept places first, channels last. */
"use strict";

const Classifier = (() => {
  const here = document.currentScript.src;

  /* A promise of the classifier. Its weights are one string with a character for each, as the generator's are. */
  const load = () => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = new URL("classifier_weights.js", here);
    element.onload = () => resolve(make(globalThis.RECORDED_CLASSIFIER));
    element.onerror = () => reject(new Error("The file with the classifier could not be read."));
    document.head.append(element);
  });

  function make({ weights, layers, names, imageSize }) {
    const bits = Uint16Array.from(weights, (letter) => letter.charCodeAt(0)), numbers = Generator.halves(bits);
    let at = 0;
    const made = layers.map(({ kind, before, after, ...about }) => {
      const size = before * after * (kind === "convolution" ? 9 : 1), own = numbers.subarray(at, (at += size));
      return { ...about, before, after, isConvolution: kind === "convolution", weights: kind === "convolution" ? tapsFirst(own, before, after) : own };
    });
    if (at !== numbers.length) throw new Error("The file with the classifier was damaged on its way.");
    return { layers: made, names, imageSize };
  }

  /* Kernels (after, before, 3, 3), as PyTorch has them, to (3, 3, before, after). */
  function tapsFirst(kernels, before, after) {
    const result = new Float32Array(kernels.length);
    for (let o = 0, k = 0; o < after; o++)
      for (let i = 0; i < before; i++)
        for (let tap = 0; tap < 9; tap++) result[(tap * before + i) * after + o] = kernels[k++];
    return result;
  }

  /* A convolution of 3 by 3 with its normalisation, ReLU, and the largest of each 2 by 2 places. */
  function convolve({ before, after, weights, factor, summand }, input, side) {
    const half = side / 2, result = new Float32Array(half * half * after), sums = new Float32Array(after);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        sums.fill(0);
        for (let tap = 0; tap < 9; tap++) {
          const row = y + Math.floor(tap / 3) - 1, column = x + (tap % 3) - 1;
          if (row < 0 || row >= side || column < 0 || column >= side) continue;
          for (let i = 0, from = (row * side + column) * before; i < before; i++) {
            const value = input[from + i], source = (tap * before + i) * after;
            if (value !== 0) for (let o = 0; o < after; o++) sums[o] += value * weights[source + o];
          }
        }
        const target = ((y >> 1) * half + (x >> 1)) * after;
        for (let o = 0; o < after; o++) { // the result begins at 0: no less than ReLU leaves
          result[target + o] = Math.max(result[target + o], factor[o] * sums[o] + summand[o]);
        }
      }
    }
    return result;
  }

  /* Numbers to numbers; PyTorch counts the last maps channels first. */
  function connect({ before, after, weights, summand, places }, input) {
    return Float32Array.from({ length: after }, (_, o) => {
      let sum = summand[o];
      for (let i = 0; i < before; i++) sum += weights[o * before + i] * input[places ? (i % places) * (before / places) + Math.floor(i / places) : i];
      return sum;
    });
  }

  /* The probability of each letter, for a grey image of imageSize * imageSize numbers from -1 to 1. Contrast is first
     stretched to the full range, so that a dim letter is the same letter. */
  function probabilities({ layers, imageSize }, image) {
    if (image.length !== imageSize ** 2) throw new Error("The classifier reads grey images of its own size only.");
    let low = Infinity, high = -Infinity;
    for (const value of image) { low = Math.min(low, value); high = Math.max(high, value); }
    let signal = Float32Array.from(image, (value) => (2 * (value - low)) / Math.max(0.5, high - low) - 1), side = imageSize;
    layers.forEach((layer, number) => {
      if (layer.isConvolution) { signal = convolve(layer, signal, side); side /= 2; return; }
      signal = connect(layer, signal);
      if (number < layers.length - 1) signal = signal.map((value) => Math.max(0, value));
    });
    const most = Math.max(...signal), powers = Array.from(signal, (value) => Math.exp(value - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  }

  /* The likeliest letter, and its probability. */
  function read(classifier, image) {
    const found = probabilities(classifier, image), certainty = Math.max(...found);
    return { name: classifier.names[found.indexOf(certainty)], certainty };
  }

  return { load, probabilities, read };
})();
