/* Matrices, and derivatives of any order, for the small networks of the playground.

   A Matrix remembers what it was computed from. `gradient` walks back along that memory, and what it computes on the
   way is made of the same operations, so that a gradient has a gradient, too. The Wasserstein penalty and the unrolled
   generator need exactly that. tests/test_playground_engine.py compares all of it with PyTorch.

   Numbers are float64: JavaScript computes in it anyway. Everything is (rows, columns), row after row. */
"use strict";

const Engine = (() => {
  /* Memory of one computation. Asking for thousands of arrays a second would keep the garbage collector busy, so all
     results live here, and `forget` makes every one of them free again at once. Parameters live outside. */
  const memory = new Map(); // size -> {arrays, used}

  function array(size) {
    let shelf = memory.get(size);
    if (!shelf) memory.set(size, (shelf = { arrays: [], used: 0 }));
    if (shelf.used === shelf.arrays.length) shelf.arrays.push(new Float64Array(size));
    return shelf.arrays[shelf.used++];
  }

  function forget() {
    for (const shelf of memory.values()) shelf.used = 0;
  }

  class Matrix {
    /* `pulls[i]` turns the gradient of this matrix into its share of the gradient of `parents[i]`. */
    constructor(rows, columns, values, parents = [], pulls = []) {
      this.rows = rows;
      this.columns = columns;
      this.values = values;
      this.variable = parents.some((parent) => parent.variable);
      this.parents = this.variable ? parents : [];
      this.pulls = pulls;
    }
  }

  const constant = (rows, columns, values) => new Matrix(rows, columns, values);

  function variable(rows, columns, values) {
    const leaf = new Matrix(rows, columns, values);
    leaf.variable = true;
    return leaf;
  }

  // ---------------------------------------------------------------------------------------------- element by element

  function map(a, f, slope) {
    const values = array(a.values.length);
    for (let i = 0; i < values.length; i++) values[i] = f(a.values[i]);
    const result = new Matrix(a.rows, a.columns, values, [a], [(g) => slope(g, result)]);
    return result;
  }

  function add(a, b) {
    const values = array(a.values.length), x = a.values, y = b.values;
    for (let i = 0; i < values.length; i++) values[i] = x[i] + y[i];
    return new Matrix(a.rows, a.columns, values, [a, b], [(g) => g, (g) => g]);
  }

  function subtract(a, b) {
    const values = array(a.values.length), x = a.values, y = b.values;
    for (let i = 0; i < values.length; i++) values[i] = x[i] - y[i];
    return new Matrix(a.rows, a.columns, values, [a, b], [(g) => g, (g) => scale(g, -1)]);
  }

  function multiply(a, b) {
    const values = array(a.values.length), x = a.values, y = b.values;
    for (let i = 0; i < values.length; i++) values[i] = x[i] * y[i];
    return new Matrix(a.rows, a.columns, values, [a, b], [(g) => multiply(g, b), (g) => multiply(g, a)]);
  }

  function divide(a, b) {
    const values = array(a.values.length), x = a.values, y = b.values;
    for (let i = 0; i < values.length; i++) values[i] = x[i] / y[i];
    const pulls = [(g) => divide(g, b), (g) => scale(divide(multiply(g, result), b), -1)];
    const result = new Matrix(a.rows, a.columns, values, [a, b], pulls);
    return result;
  }

  function scale(a, factor) {
    const values = array(a.values.length), x = a.values;
    for (let i = 0; i < values.length; i++) values[i] = factor * x[i];
    return new Matrix(a.rows, a.columns, values, [a], [(g) => scale(g, factor)]);
  }

  const shift = (a, offset) => map(a, (x) => x + offset, (g) => g);
  const oneMinusSquare = (a) => map(a, (x) => 1 - x * x, (g) => scale(multiply(g, a), -2));
  const tanh = (a) => map(a, (x) => 1 - 2 / (Math.exp(2 * x) + 1), (g, y) => multiply(g, oneMinusSquare(y)));
  const sigmoid = (a) => map(a, logistic, (g, y) => multiply(g, subtract(y, multiply(y, y))));
  const softplus = (a) =>
    map(a, (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), (g) => multiply(g, sigmoid(a)));
  const logistic = (x) => 1 / (1 + Math.exp(-x));

  /* 1 where the entry is at least `limit`, else 0: a constant, because its slope is 0 wherever it has one. */
  function atLeast(a, limit) {
    const values = array(a.values.length);
    for (let i = 0; i < values.length; i++) values[i] = a.values[i] >= limit ? 1 : 0;
    return constant(a.rows, a.columns, values);
  }

  const relu = (a) => map(a, (x) => (x > 0 ? x : 0), (g) => multiply(g, atLeast(a, Number.MIN_VALUE)));

  /* The square root of entries that are first raised to `floor`, because its slope at 0 is infinite. */
  const root = (a, floor) =>
    map(a, (x) => Math.sqrt(Math.max(x, floor)), (g, y) => divide(multiply(scale(g, 0.5), atLeast(a, floor)), y));

  // ------------------------------------------------------------------------------------------------ sums and products

  function sumRows(a) {
    const values = array(a.columns).fill(0);
    for (let i = 0, k = 0; i < a.rows; i++) for (let j = 0; j < a.columns; j++) values[j] += a.values[k++];
    return new Matrix(1, a.columns, values, [a], [(g) => repeatRow(g, a.rows)]);
  }

  function repeatRow(a, rows) {
    const values = array(rows * a.columns);
    for (let i = 0; i < rows; i++) values.set(a.values, i * a.columns);
    return new Matrix(rows, a.columns, values, [a], [sumRows]);
  }

  function sumColumns(a) {
    const values = array(a.rows);
    for (let i = 0, k = 0; i < a.rows; i++) {
      let sum = 0;
      for (let j = 0; j < a.columns; j++) sum += a.values[k++];
      values[i] = sum;
    }
    return new Matrix(a.rows, 1, values, [a], [(g) => repeatColumn(g, a.columns)]);
  }

  function repeatColumn(a, columns) {
    const values = array(a.rows * columns);
    for (let i = 0; i < a.rows; i++) values.fill(a.values[i], i * columns, (i + 1) * columns);
    return new Matrix(a.rows, columns, values, [a], [sumColumns]);
  }

  const sum = (a) => sumRows(sumColumns(a)); // (1, 1)
  const mean = (a) => scale(sum(a), 1 / a.values.length);

  /* a + row, the same row to every row of a. */
  function addRow(a, row) {
    const values = array(a.values.length);
    for (let i = 0, k = 0; i < a.rows; i++) for (let j = 0; j < a.columns; j++, k++) values[k] = a.values[k] + row.values[j];
    return new Matrix(a.rows, a.columns, values, [a, row], [(g) => g, sumRows]);
  }

  function transposed(values, rows, columns) {
    const result = array(values.length);
    for (let i = 0, k = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = values[k++];
    return result;
  }

  /* The matrix product, of a or its transpose with b or its transpose. Inside, rows of the left meet rows of the
     right, two by four at a time, so that eight sums stay in registers. */
  function product(a, b, flipA = false, flipB = false) {
    const rows = flipA ? a.columns : a.rows, inner = flipA ? a.rows : a.columns, columns = flipB ? b.rows : b.columns;
    const x = flipA ? transposed(a.values, a.rows, a.columns) : a.values;
    const y = flipB ? b.values : transposed(b.values, b.rows, b.columns);
    const values = array(rows * columns);
    for (let i = 0; i < rows; i += 2) {
      const p = i * inner, q = i + 1 < rows ? p + inner : p; // an odd last row is computed twice
      for (let j = 0; j < columns; j += 4) {
        const left = columns - j;
        const r = j * inner, s = left > 1 ? r + inner : r, t = left > 2 ? s + inner : s, u = left > 3 ? t + inner : t;
        let pr = 0, ps = 0, pt = 0, pu = 0, qr = 0, qs = 0, qt = 0, qu = 0;
        for (let k = 0; k < inner; k++) {
          const xp = x[p + k], xq = x[q + k], yr = y[r + k], ys = y[s + k], yt = y[t + k], yu = y[u + k];
          pr += xp * yr; ps += xp * ys; pt += xp * yt; pu += xp * yu;
          qr += xq * yr; qs += xq * ys; qt += xq * yt; qu += xq * yu;
        }
        const first = i * columns + j, second = (q === p ? i : i + 1) * columns + j;
        values[first] = pr; values[second] = qr;
        if (left > 1) { values[first + 1] = ps; values[second + 1] = qs; }
        if (left > 2) { values[first + 2] = pt; values[second + 2] = qt; }
        if (left > 3) { values[first + 3] = pu; values[second + 3] = qu; }
      }
    }
    const pulls = [
      (g) => (flipA ? product(b, g, flipB, true) : product(g, b, false, !flipB)),
      (g) => (flipB ? product(g, a, true, flipA) : product(a, g, !flipA, false)),
    ];
    return new Matrix(rows, columns, values, [a, b], pulls);
  }

  // ----------------------------------------------------------------------------------------------------- derivatives

  /* The gradients of a (1, 1) result with respect to `inputs`; matrices that can be differentiated again. Only what
     lies between the inputs and the result is computed. */
  function gradient(result, inputs) {
    const order = [], leads = new Map(inputs.map((input) => [input, true])); // does a matrix depend on an input?
    (function visit(matrix) {
      if (leads.has(matrix)) return leads.get(matrix);
      leads.set(matrix, false);
      let found = false;
      for (const parent of matrix.parents) if (visit(parent)) found = true;
      if (found) order.push(matrix);
      leads.set(matrix, found);
      return found;
    })(result);
    const gradients = new Map([[result, constant(1, 1, array(1).fill(1))]]);
    for (const matrix of order.reverse()) {
      const g = gradients.get(matrix);
      matrix.parents.forEach((parent, i) => {
        if (!leads.get(parent)) return;
        const share = matrix.pulls[i](g), before = gradients.get(parent);
        gradients.set(parent, before ? add(before, share) : share);
      });
    }
    return inputs.map((input) => gradients.get(input) || scale(input, 0));
  }

  // -------------------------------------------------------------------------------------------------------- networks

  const ACTIVATIONS = { tanh, relu };

  /* Weights (outputs, inputs) and biases (1, outputs) of a perceptron, in turn; drawn as torch.nn.Linear does it. */
  function perceptron(sizes, random) {
    const parameters = [];
    for (let i = 1; i < sizes.length; i++) {
      const bound = 1 / Math.sqrt(sizes[i - 1]);
      const uniform = (size) => Float64Array.from({ length: size }, () => bound * (2 * random() - 1));
      parameters.push(variable(sizes[i], sizes[i - 1], uniform(sizes[i] * sizes[i - 1])));
      parameters.push(variable(1, sizes[i], uniform(sizes[i])));
    }
    return parameters;
  }

  /* The outputs (B, outputs) of the network with these parameters, for inputs (B, inputs). */
  function apply(parameters, inputs, activation) {
    let hidden = inputs;
    for (let i = 0; i < parameters.length; i += 2) {
      hidden = product(hidden, parameters[i], false, true);
      if (parameters[i + 1]) hidden = addRow(hidden, parameters[i + 1]); // the line of the Dirac game has none
      if (i + 2 < parameters.length) hidden = ACTIVATIONS[activation](hidden);
    }
    return hidden;
  }

  /* The same network, but nothing before its parameters is remembered, and they count as numbers. */
  const frozen = (parameters) => parameters.map((p) => constant(p.rows, p.columns, p.values));

  // ------------------------------------------------------------------------------------------------------------ Adam

  const ADAM = { beta1: 0.5, beta2: 0.999, eps: 1e-8 };

  const adam = (parameters) => ({
    count: 0,
    means: parameters.map((p) => new Float64Array(p.values.length)),
    squares: parameters.map((p) => new Float64Array(p.values.length)),
  });

  /* One step of Adam (Kingma, Ba 2015, algorithm 1), in place. */
  function descend(parameters, gradients, state, rate) {
    const { beta1, beta2, eps } = ADAM;
    state.count += 1;
    const rest1 = 1 - beta1 ** state.count, rest2 = 1 - beta2 ** state.count;
    parameters.forEach((parameter, i) => {
      const values = parameter.values, g = gradients[i].values, mean = state.means[i], square = state.squares[i];
      for (let k = 0; k < values.length; k++) {
        mean[k] = beta1 * mean[k] + (1 - beta1) * g[k];
        square[k] = beta2 * square[k] + (1 - beta2) * g[k] * g[k];
        values[k] -= (rate * (mean[k] / rest1)) / (Math.sqrt(square[k] / rest2) + eps);
      }
    });
  }

  /* The parameters after `steps` such steps, as functions of everything that `loss` depends on: nothing is changed,
     and a gradient finds its way back through all steps (Metz et al. 2017, section 2). */
  function lookAhead(parameters, loss, state, rate, steps) {
    const { beta1, beta2, eps } = ADAM;
    let ahead = parameters;
    let means = parameters.map((p, i) => constant(p.rows, p.columns, state.means[i]));
    let squares = parameters.map((p, i) => constant(p.rows, p.columns, state.squares[i]));
    for (let step = state.count + 1; step <= state.count + steps; step++) {
      const gradients = gradient(loss(ahead), ahead);
      means = means.map((mean, i) => add(scale(mean, beta1), scale(gradients[i], 1 - beta1)));
      squares = squares.map((square, i) =>
        add(scale(square, beta2), scale(multiply(gradients[i], gradients[i]), 1 - beta2)));
      ahead = ahead.map((p, i) => {
        const spread = shift(root(scale(squares[i], 1 / (1 - beta2 ** step)), 1e-30), eps);
        return subtract(p, scale(divide(means[i], spread), rate / (1 - beta1 ** step)));
      });
    }
    return ahead;
  }

  return {
    ACTIVATIONS, ADAM, Matrix, adam, add, addRow, apply, constant, descend, divide, forget, frozen, gradient, logistic,
    lookAhead, mean, multiply, perceptron, product, relu, root, scale, shift, sigmoid, softplus, subtract, sum,
    sumColumns, sumRows, tanh, variable,
  };
})();

if (typeof module !== "undefined") module.exports = Engine;
