//! Matrix products with one order of summation: C = A B, where each element of C is a chain of fused multiply-adds over
//! k = 0, 1, 2, … Tiles, levels and threads cannot change a bit.
//!
//! A is read through two strides, so A and Aᵀ need no copy; B has contiguous rows. A tile of `ROWS` × `LANES` of C
//! lives in registers while k runs: 12 × 32 with AVX-512 (24 registers), 6 × 16 with AVX2 (12 registers).

use super::level::Level;

/// A matrix seen through its strides: element (i, j) is `data[i * row + j * column]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Distance from one row to the next.
    pub row: usize,
    /// Distance from one column to the next.
    pub column: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix with `n_columns` columns.
    pub fn rows(data: &'a [f32], n_columns: usize) -> Self {
        Self { data, row: n_columns, column: 1 }
    }

    /// The transpose of a row-major matrix with `n_columns` columns.
    pub fn transposed(data: &'a [f32], n_columns: usize) -> Self {
        Self { data, row: 1, column: n_columns }
    }
}

/// C (`m` × `n`, contiguous rows) += A (`m` × `k`) · B (`k` × `n`, contiguous rows); rows of C from `first_row` of A on.
/// The chain of each element goes on from what C holds, so a product may come in slices of k.
pub fn multiply_add(level: Level, c: &mut [f32], n: usize, a: View<'_>, first_row: usize, b: &[f32], k: usize) {
    multiply_add_from(level, c, n, 0, a, first_row, b, k);
}

/// The same for the columns of C from `from` on alone.
#[allow(clippy::too_many_arguments)]
pub fn multiply_add_from(
    level: Level,
    c: &mut [f32],
    n: usize,
    from: usize,
    a: View<'_>,
    first_row: usize,
    b: &[f32],
    k: usize,
) {
    if n == 0 {
        return;
    }
    let m = c.len() / n;
    assert!(c.len() == m * n && b.len() >= k * n && from <= n, "shapes of a matrix product");
    assert!(m == 0 || k == 0 || a.data.len() > (first_row + m - 1) * a.row + (k - 1) * a.column, "shape of A");
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: `Level::available` found these features before the level could be made.
        Level::Avx512 | Level::Amx => unsafe { avx512(c, n, a, first_row, b, k, from) },
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2(c, n, a, first_row, b, k, from) },
        // SAFETY: the feature was detected just now.
        Level::Scalar if is_x86_feature_detected!("fma") => unsafe { fma(c, n, a, first_row, b, k, from) },
        Level::Scalar => edge(c, n, a, first_row, b, k, from),
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        edge(c, n, a, first_row, b, k, from);
    }
}

/// The columns from `from` on, one element after the other in the same order: those that fill no register, or all where
/// there is none.
#[inline(always)]
fn edge(c: &mut [f32], n: usize, a: View<'_>, first_row: usize, b: &[f32], k: usize, from: usize) {
    if from == n {
        return;
    }
    for (row, out) in c.chunks_exact_mut(n).enumerate() {
        let out = &mut out[from..];
        let factor = |step: usize| a.data[(first_row + row) * a.row + step * a.column];
        let lanes = |step: usize| &b[step * n + from..(step + 1) * n];
        // Four steps at a time: a sum is read and written once for them.
        let mut step = 0;
        while step + 4 <= k {
            let factors = [factor(step), factor(step + 1), factor(step + 2), factor(step + 3)];
            let (b0, b1, b2, b3) = (lanes(step), lanes(step + 1), lanes(step + 2), lanes(step + 3));
            for (at, out) in out.iter_mut().enumerate() {
                let mut sum = factors[0].mul_add(b0[at], *out);
                sum = factors[1].mul_add(b1[at], sum);
                sum = factors[2].mul_add(b2[at], sum);
                *out = factors[3].mul_add(b3[at], sum);
            }
            step += 4;
        }
        for step in step..k {
            let factor = factor(step);
            for (sum, lane) in out.iter_mut().zip(lanes(step)) {
                *sum = factor.mul_add(*lane, *sum);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
fn fma(c: &mut [f32], n: usize, a: View<'_>, first_row: usize, b: &[f32], k: usize, from: usize) {
    edge(c, n, a, first_row, b, k, from);
}

/// The kernel of one level: `$rows` × two registers of C at a time, fewer rows and one register at the ends, then the
/// columns that fill no register by `edge`.
#[cfg(target_arch = "x86_64")]
macro_rules! level {
    ($name:ident, $features:literal, $rows:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident, $set:ident, $fma:ident) => {
        #[target_feature(enable = $features)]
        fn $name(c: &mut [f32], n: usize, a: View<'_>, first_row: usize, b: &[f32], k: usize, from: usize) {
            use std::arch::x86_64::*;

            /// `R` rows × `V` registers from (`row`, `column`) on.
            #[target_feature(enable = $features)]
            #[inline]
            fn tile<const R: usize, const V: usize>(
                c: &mut [f32],
                n: usize,
                a: View<'_>,
                first_row: usize,
                b: &[f32],
                k: usize,
                row: usize,
                column: usize,
            ) {
                let mut sums = [[$zero(); V]; R];
                // SAFETY: `multiply_add` checked that A holds row `first_row + m - 1` at step `k - 1`, that B holds
                // `k * n` and C `m * n` numbers; the caller keeps `row + R <= m` and `column + V * lanes <= n`.
                unsafe {
                    let c = c.as_mut_ptr().add(row * n + column);
                    for r in 0..R {
                        for v in 0..V {
                            sums[r][v] = $load(c.add(r * n + v * $lanes));
                        }
                    }
                    let mut from_a = a.data.as_ptr().wrapping_add((first_row + row) * a.row);
                    let mut from_b = b.as_ptr().wrapping_add(column);
                    for _ in 0..k {
                        let mut lanes = [$zero(); V];
                        for v in 0..V {
                            lanes[v] = $load(from_b.add(v * $lanes));
                        }
                        for r in 0..R {
                            let factor = $set(*from_a.add(r * a.row));
                            for v in 0..V {
                                sums[r][v] = $fma(factor, lanes[v], sums[r][v]);
                            }
                        }
                        from_a = from_a.wrapping_add(a.column);
                        from_b = from_b.wrapping_add(n);
                    }
                    for r in 0..R {
                        for v in 0..V {
                            $store(c.add(r * n + v * $lanes), sums[r][v]);
                        }
                    }
                }
            }

            /// All rows of the `V` registers from `column` on.
            #[target_feature(enable = $features)]
            #[inline]
            fn columns<const V: usize>(
                c: &mut [f32],
                n: usize,
                a: View<'_>,
                first_row: usize,
                b: &[f32],
                k: usize,
                column: usize,
            ) {
                let m = c.len() / n;
                let mut row = 0;
                while row + $rows <= m {
                    tile::<$rows, V>(c, n, a, first_row, b, k, row, column);
                    row += $rows;
                }
                while row + 4 <= m {
                    tile::<4, V>(c, n, a, first_row, b, k, row, column);
                    row += 4;
                }
                while row + 2 <= m {
                    tile::<2, V>(c, n, a, first_row, b, k, row, column);
                    row += 2;
                }
                if row < m {
                    tile::<1, V>(c, n, a, first_row, b, k, row, column);
                }
            }

            let mut column = from;
            while column + 2 * $lanes <= n {
                columns::<2>(c, n, a, first_row, b, k, column);
                column += 2 * $lanes;
            }
            if column + $lanes <= n {
                columns::<1>(c, n, a, first_row, b, k, column);
                column += $lanes;
            }
            edge(c, n, a, first_row, b, k, column);
        }
    };
}

#[cfg(target_arch = "x86_64")]
level!(avx2, "avx2,fma", 6, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
level!(
    avx512,
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma",
    12,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps
);

/// C = A · B: the same from a C of zeros.
pub fn multiply(level: Level, c: &mut [f32], n: usize, a: View<'_>, first_row: usize, b: &[f32], k: usize) {
    c.fill(0.0);
    multiply_add(level, c, n, a, first_row, b, k);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_equals_the_plain_sum_in_order() {
        let draws = Stream::new(3, 0);
        for (m, n, k) in [(1, 1, 1), (5, 3, 2), (13, 33, 17), (12, 32, 8), (25, 70, 64), (0, 4, 4), (3, 4, 0)] {
            let a: Vec<f32> = (0..m * k).map(|i| draws.normal(i as u64)).collect();
            let b: Vec<f32> = (0..k * n).map(|i| draws.sub(1).normal(i as u64)).collect();
            let mut truth = vec![0.0f32; m * n];
            let mut turned = vec![0.0f32; m * k];
            for i in 0..m {
                for j in 0..n {
                    truth[i * n + j] = (0..k).fold(0.0, |sum, s| a[i * k + s].mul_add(b[s * n + j], sum));
                }
                for s in 0..k {
                    turned[s * m + i] = a[i * k + s];
                }
            }
            for level in Level::available() {
                let mut c = vec![7.0; m * n];
                multiply(level, &mut c, n, View::rows(&a, k), 0, &b, k);
                assert_eq!(c, truth, "{} {m} {n} {k}", level.name());
                let mut c = vec![7.0; m * n];
                multiply(level, &mut c, n, View::transposed(&turned, m), 0, &b, k);
                assert_eq!(c, truth, "{} {m} {n} {k} transposed", level.name());
            }
        }
    }
}
