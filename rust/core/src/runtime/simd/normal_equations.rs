//! One pass over rows y_j of a table for the normal equations of weighted least squares: Yᵀ C (t − Y x), without YᵀCY.
//!
//! Four rows at a time: their inner products with x first, then their shares of the sum, while they are in the nearest
//! cache. Rows of the pass to come are prefetched meanwhile. Only lane-wise operations and sums over fixed lanes are used,
//! so every level has the same bits.

use super::level::Level;
use super::sparse::fetch;
use super::vector::LANES;

/// Rows of a group, which share the loads of x and of the sum.
const GROUP: usize = 4;

/// Rows of a table and their weights c, and rows that are wanted soon.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The rows.
    pub columns: &'a [u32],
    /// A weight for each.
    pub weights: &'a [f32],
    /// Rows to prefetch.
    pub next: &'a [u32],
}

/// out += Σ_e c_e r_e y_e with r_e = t − ⟨y_e, x⟩ over the rows of `pass` in `table` (`d` numbers each); returns Σ_e c_e r_e².
/// `x` and `out` have `d` numbers, padded with zeros to a multiple of [`LANES`].
pub fn residual(level: Level, pass: Pass<'_>, table: &[f32], d: usize, target: f32, x: &[f32], out: &mut [f32]) -> f64 {
    assert!(x.len() == d.next_multiple_of(LANES) && out.len() == x.len(), "shapes of the sum");
    assert!(pass.columns.len() == pass.weights.len(), "a weight for each row");
    dispatch!(
        level,
        residual_body(pass: Pass<'_>, table: &[f32], d: usize, target: f32, x: &[f32], out: &mut [f32]) -> f64
    )
}

/// With a length known in advance the loops have no bounds to check: half of the time at 64 numbers.
#[inline(always)]
fn residual_body(pass: Pass<'_>, table: &[f32], d: usize, target: f32, x: &[f32], out: &mut [f32]) -> f64 {
    match d {
        32 => rows::<2>(pass, table, d, target, x, out),
        64 => rows::<4>(pass, table, d, target, x, out),
        128 => rows::<8>(pass, table, d, target, x, out),
        _ => rows::<0>(pass, table, d, target, x, out),
    }
}

/// All rows; they have `BLOCKS` · [`LANES`] numbers, or any number where `BLOCKS` is 0.
#[inline(always)]
fn rows<const BLOCKS: usize>(pass: Pass<'_>, table: &[f32], d: usize, target: f32, x: &[f32], out: &mut [f32]) -> f64 {
    let mut squares = 0.0;
    let (groups, rest) = pass.columns.as_chunks::<GROUP>();
    let (weight_groups, rest_weights) = pass.weights.as_chunks::<GROUP>();
    let mut ahead = pass.next.chunks(pass.next.len().div_ceil(groups.len().max(1)).max(1));
    for (columns, weights) in groups.iter().zip(weight_groups) {
        for &column in ahead.next().unwrap_or_default() {
            fetch(table, column as usize * d, d);
        }
        squares += group::<GROUP, BLOCKS>(columns, weights, table, d, target, x, out);
    }
    for &column in ahead.flatten() {
        fetch(table, column as usize * d, d);
    }
    for (&column, &weight) in rest.iter().zip(rest_weights) {
        squares += group::<1, BLOCKS>(&[column], &[weight], table, d, target, x, out);
    }
    squares
}

/// A few rows. Loops over arrays of constant length in place of closures, which were not inlined here.
#[inline(always)]
fn group<const N: usize, const BLOCKS: usize>(
    columns: &[u32; N],
    weights: &[f32; N],
    table: &[f32],
    d: usize,
    target: f32,
    x: &[f32],
    out: &mut [f32],
) -> f64 {
    let blocks = if BLOCKS == 0 { d / LANES } else { BLOCKS };
    let mut rows: [&[[f32; LANES]]; N] = [&[]; N];
    let mut tails = [[0.0f32; LANES]; N];
    for j in 0..N {
        let (row, tail) = table[columns[j] as usize * d..][..d].as_chunks();
        rows[j] = &row[..blocks];
        if BLOCKS == 0 {
            tails[j][..tail.len()].copy_from_slice(tail);
        }
    }
    let (x, out) = (x.as_chunks::<LANES>().0, out.as_chunks_mut::<LANES>().0);
    let has_tail = BLOCKS == 0 && blocks < x.len();
    let ((x, x_tail), (out, out_tail)) = (x.split_at(blocks), out.split_at_mut(blocks));
    // 1. Inner products.
    let mut sums = [[0.0f32; LANES]; N];
    for at in 0..blocks {
        for j in 0..N {
            for lane in 0..LANES {
                sums[j][lane] = rows[j][at][lane].mul_add(x[at][lane], sums[j][lane]);
            }
        }
    }
    if has_tail {
        for j in 0..N {
            for lane in 0..LANES {
                sums[j][lane] = tails[j][lane].mul_add(x_tail[0][lane], sums[j][lane]);
            }
        }
    }
    let products = trees(sums);
    // 2. Errors, and what they add.
    let mut squares = 0.0;
    let mut factors = [0.0f32; N];
    for j in 0..N {
        let error = target - products[j];
        factors[j] = weights[j] * error;
        squares += f64::from(factors[j]) * f64::from(error);
    }
    for at in 0..blocks {
        let mut sum = out[at];
        for j in 0..N {
            for lane in 0..LANES {
                sum[lane] = factors[j].mul_add(rows[j][at][lane], sum[lane]);
            }
        }
        out[at] = sum;
    }
    if has_tail {
        for j in 0..N {
            for lane in 0..LANES {
                out_tail[0][lane] = factors[j].mul_add(tails[j][lane], out_tail[0][lane]);
            }
        }
    }
    squares
}

/// The lanes of each row added up by the tree of [`super::vector`], for all rows at once.
#[inline(always)]
fn trees<const N: usize>(sums: [[f32; LANES]; N]) -> [f32; N] {
    let sums = std::hint::black_box(sums);
    let (mut eight, mut four, mut result) = ([[0.0f32; 8]; N], [[0.0f32; 4]; N], [0.0f32; N]);
    for j in 0..N {
        for lane in 0..8 {
            eight[j][lane] = sums[j][lane] + sums[j][lane + 8];
        }
        for lane in 0..4 {
            four[j][lane] = eight[j][lane] + eight[j][lane + 4];
        }
        result[j] = (four[j][0] + four[j][2]) + (four[j][1] + four[j][3]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_has_the_bits_of_the_scalar_one_and_the_sum_is_right() {
        let draws = Stream::new(2, 0);
        for (n, d) in [(0, 3), (1, 16), (4, 33), (7, 64), (9, 32), (6, 128), (33, 130usize)] {
            let table: Vec<f32> = (0..40 * d).map(|i| draws.normal(i as u64)).collect();
            let columns: Vec<u32> = (0..n as u32).collect();
            let weights: Vec<f32> = (0..n).map(|i| 0.5 + draws.sub(1).f32(i as u64)).collect();
            let mut x: Vec<f32> = (0..d).map(|i| 0.1 * draws.sub(2).normal(i as u64)).collect();
            x.resize(d.next_multiple_of(LANES), 0.0);
            let pass = Pass { columns: &columns, weights: &weights, next: &[39, 0, 7] };
            let run = |level| {
                let mut out = x.clone();
                let squares = residual(level, pass, &table, d, 1.0, &x, &mut out);
                (out, squares.to_bits())
            };
            let truth = run(Level::Scalar);
            for level in Level::available() {
                assert_eq!(run(level), truth, "{} {n} {d}", level.name());
            }
            let mut sum: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let mut squares = 0.0;
            for (row, &weight) in table.chunks_exact(d).zip(&weights) {
                let error = 1.0 - row.iter().zip(&x).map(|(y, x)| f64::from(*y) * f64::from(*x)).sum::<f64>();
                squares += f64::from(weight) * error * error;
                for (sum, y) in sum.iter_mut().zip(row) {
                    *sum += f64::from(weight) * error * f64::from(*y);
                }
            }
            assert!((squares - f64::from_bits(truth.1)).abs() < 1e-4 * (1.0 + squares));
            assert!(sum.iter().zip(&truth.0).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-3), "{n} {d}");
        }
    }
}
