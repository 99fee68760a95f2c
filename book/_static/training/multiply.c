/* The one loop of the training page that has to be fast: a product of matrices, four numbers at a time.

   c (m x n), row after row, becomes a times b, or grows by it where `add` is not 0. b is (k x n), row after row.
   a is (m x k): its rows lie `row` numbers apart and its columns `column`, so that a transposed matrix needs no copy.
   n is a multiple of 4. Built by `python book/make_multiply.py` into multiply.js. */
#include <wasm_simd128.h>

/* ROWS rows of the result and 4 * WIDE columns of it stay in registers while k runs. */
#define BLOCK(ROWS, WIDE)                                                                        \
  static inline void block_##ROWS##_##WIDE(const float *a, int row, int column, const float *b,  \
                                           float *c, int k, int n, int add) {                    \
    v128_t sum[ROWS][WIDE];                                                                      \
    for (int i = 0; i < ROWS; i++)                                                               \
      for (int j = 0; j < WIDE; j++)                                                             \
        sum[i][j] = add ? wasm_v128_load(c + i * n + 4 * j) : wasm_f32x4_splat(0);               \
    for (int p = 0; p < k; p++, a += column, b += n) {                                           \
      v128_t of_b[WIDE];                                                                         \
      for (int j = 0; j < WIDE; j++) of_b[j] = wasm_v128_load(b + 4 * j);                        \
      for (int i = 0; i < ROWS; i++) {                                                           \
        v128_t of_a = wasm_v128_load32_splat(a + i * row);                                       \
        for (int j = 0; j < WIDE; j++)                                                           \
          sum[i][j] = wasm_f32x4_add(sum[i][j], wasm_f32x4_mul(of_a, of_b[j]));                  \
      }                                                                                          \
    }                                                                                            \
    for (int i = 0; i < ROWS; i++)                                                               \
      for (int j = 0; j < WIDE; j++) wasm_v128_store(c + i * n + 4 * j, sum[i][j]);              \
  }

BLOCK(4, 2)
BLOCK(4, 1)
BLOCK(1, 2)
BLOCK(1, 1)

__attribute__((export_name("multiply"))) void multiply(const float *a, int row, int column, const float *b,
                                                       float *c, int m, int k, int n, int add) {
  for (int j = 0; j < n;) {
    int wide = n - j >= 8;
    for (int i = 0; i < m;) {
      int tall = m - i >= 4;
      const float *from = a + i * row, *by = b + j;
      float *to = c + i * n + j;
      if (tall && wide) block_4_2(from, row, column, by, to, k, n, add);
      else if (tall) block_4_1(from, row, column, by, to, k, n, add);
      else if (wide) block_1_2(from, row, column, by, to, k, n, add);
      else block_1_1(from, row, column, by, to, k, n, add);
      i += tall ? 4 : 1;
    }
    j += wide ? 8 : 4;
  }
}
