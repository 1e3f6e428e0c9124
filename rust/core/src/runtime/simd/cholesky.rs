//! Solving one small symmetric positive definite system in place: A x = b by A = L D Lᵀ, right-looking, a panel of rows
//! at a time.
//!
//! The rows of a panel are made final, four pivots at a time; what they take from all rows below is a matrix product, whose
//! tiles stay in registers. Every element is a chain of fused multiply-adds over the pivots in order, the tiles those of
//! `gemm`, and all sums are over fixed lanes, so every level has the same bits.

use super::gemm::{View, multiply_add_from};
use super::level::Level;
use super::vector::dot_body;

/// Rows of a panel, and of a task below it.
const PANEL: usize = 16;

/// Solves A x = b for a symmetric positive definite A (`n` × `n`, row-major with row stride `stride`, upper triangle
/// read, all overwritten). `b` becomes x. False when a pivot is not positive. It is fastest with a stride of a multiple
/// of 16, where columns beyond the `n`-th may hold anything.
pub fn solve(level: Level, a: &mut [f32], stride: usize, b: &mut [f32]) -> bool {
    let n = b.len();
    // Rows of the panel, divided by their pivots and negated; a system of one panel needs none.
    let mut factors = vec![0.0; if n > PANEL { PANEL * stride } else { 0 }];
    for first in (0..n).step_by(PANEL) {
        let end = n.min(first + PANEL);
        if !eliminate(level, a, stride, first, b) {
            return false;
        }
        if end == n {
            break;
        }
        let (done, rest) = a.split_at_mut(end * stride);
        let panel = &done[first * stride..];
        scale_rows(level, panel, stride, first, &mut factors, b);
        let by_column = View { data: &factors, row: 1, column: stride };
        for rows in (end..n).step_by(PANEL) {
            let below = &mut rest[(rows - end) * stride..(n.min(rows + PANEL) - end) * stride];
            multiply_add_from(level, below, stride, rows, by_column, rows, panel, PANEL);
        }
    }
    back_substitute(level, a, stride, b);
    true
}

/// Eliminates within the panel of rows from `first` on, so that they are final.
fn eliminate(level: Level, a: &mut [f32], stride: usize, first: usize, b: &mut [f32]) -> bool {
    dispatch!(level, eliminate_body(a: &mut [f32], stride: usize, first: usize, b: &mut [f32]) -> bool)
}

#[inline(always)]
fn eliminate_body(a: &mut [f32], stride: usize, first: usize, b: &mut [f32]) -> bool {
    let n = b.len();
    let end = n.min(first + PANEL);
    let mut pivot = first;
    while pivot < end {
        let block = (n - pivot).min(4);
        // 1. Eliminate within the block.
        for k in 0..block {
            let row = pivot + k;
            let diagonal = a[row * stride + row];
            if diagonal <= 0.0 || !diagonal.is_finite() {
                return false;
            }
            for below in row + 1..pivot + block {
                let (upper, lower) = a.split_at_mut(below * stride);
                let source = &upper[row * stride..row * stride + n];
                let factor = -source[below] / diagonal;
                axpy(factor, &source[below..], &mut lower[below..n]);
                b[below] = factor.mul_add(b[row], b[below]);
            }
        }
        // 2. Take the block's rows from the panel's rows below it.
        let (done, rest) = a.split_at_mut((pivot + block) * stride);
        if block == 4 {
            let row = |k: usize| &done[(pivot + k) * stride..][..n];
            let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
            let inverse = [1.0 / r0[pivot], 1.0 / r1[pivot + 1], 1.0 / r2[pivot + 2], 1.0 / r3[pivot + 3]];
            for below in pivot + 4..end {
                let factors = [
                    -r0[below] * inverse[0],
                    -r1[below] * inverse[1],
                    -r2[below] * inverse[2],
                    -r3[below] * inverse[3],
                ];
                let target = &mut rest[(below - pivot - 4) * stride..][below..n];
                axpy4(factors, &r0[below..], &r1[below..], &r2[below..], &r3[below..], target);
                let mut right = b[below];
                for k in 0..4 {
                    right = factors[k].mul_add(b[pivot + k], right);
                }
                b[below] = right;
            }
        }
        pivot += block;
    }
    true
}

/// `factors` of the rows of a whole panel for all rows below it, and what they take from `b`.
fn scale_rows(level: Level, panel: &[f32], stride: usize, first: usize, factors: &mut [f32], b: &mut [f32]) {
    dispatch!(level, scale_rows_body(panel: &[f32], stride: usize, first: usize, factors: &mut [f32], b: &mut [f32]));
}

#[inline(always)]
fn scale_rows_body(panel: &[f32], stride: usize, first: usize, factors: &mut [f32], b: &mut [f32]) {
    let (n, end) = (b.len(), first + PANEL);
    let (own, below) = b.split_at_mut(end);
    for (k, (row, factors)) in panel.chunks_exact(stride).zip(factors.chunks_exact_mut(stride)).enumerate() {
        let inverse = 1.0 / row[first + k];
        for (factor, value) in factors[end..n].iter_mut().zip(&row[end..n]) {
            *factor = -value * inverse;
        }
        axpy(own[first + k], &factors[end..n], below);
    }
}

/// The rows on and above the diagonal hold D Lᵀ.
fn back_substitute(level: Level, a: &[f32], stride: usize, b: &mut [f32]) {
    dispatch!(level, back_substitute_body(a: &[f32], stride: usize, b: &mut [f32]));
}

#[inline(always)]
fn back_substitute_body(a: &[f32], stride: usize, b: &mut [f32]) {
    let n = b.len();
    for row in (0..n).rev() {
        let sum = dot_body(&a[row * stride..][row + 1..n], &b[row + 1..]);
        b[row] = (b[row] - sum) / a[row * stride + row];
    }
}

#[inline(always)]
fn axpy(factor: f32, source: &[f32], target: &mut [f32]) {
    for (t, s) in target.iter_mut().zip(source) {
        *t = factor.mul_add(*s, *t);
    }
}

#[inline(always)]
fn axpy4(factors: [f32; 4], s0: &[f32], s1: &[f32], s2: &[f32], s3: &[f32], target: &mut [f32]) {
    let n = target.len();
    // Slices of one length, one by one: as an array of slices they were mapped by calls, a fifth of a solution's time.
    let (s0, s1, s2, s3) = (&s0[..n], &s1[..n], &s2[..n], &s3[..n]);
    for i in 0..n {
        let mut sum = target[i];
        sum = factors[0].mul_add(s0[i], sum);
        sum = factors[1].mul_add(s1[i], sum);
        sum = factors[2].mul_add(s2[i], sum);
        target[i] = factors[3].mul_add(s3[i], sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn system(n: usize) -> (Vec<f32>, Vec<f32>) {
        let draws = Stream::new(n as u64, 0);
        let factor: Vec<f32> = (0..n * n).map(|i| draws.normal(i as u64)).collect();
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                a[i * n + j] = (0..n).map(|k| factor[i * n + k] * factor[j * n + k]).sum::<f32>() / n as f32;
            }
            a[i * n + i] += 1.0;
        }
        (a, (0..n).map(|i| draws.normal((n * n + i) as u64)).collect())
    }

    #[test]
    fn the_solution_solves_the_system() {
        for n in [1, 2, 3, 4, 5, 7, 8, 33, 100] {
            let (a, b) = system(n);
            let (mut work, mut x) = (a.clone(), b.clone());
            assert!(solve(Level::Scalar, &mut work, n, &mut x));
            for i in 0..n {
                let left: f64 = (0..n).map(|j| f64::from(a[i * n + j]) * f64::from(x[j])).sum();
                assert!((left - f64::from(b[i])).abs() < 1e-3, "{n} {i}: {left} against {}", b[i]);
            }
        }
    }

    /// One pivot after the other, each element a chain over the pivots; factors as the panels have them.
    fn naive(a: &mut [f32], n: usize, b: &mut [f32]) {
        for pivot in 0..n {
            let diagonal = a[pivot * n + pivot];
            for below in pivot + 1..n {
                let value = -a[pivot * n + below];
                let factor = if below / 4 == pivot / 4 { value / diagonal } else { value * (1.0 / diagonal) };
                for column in below..n {
                    a[below * n + column] = factor.mul_add(a[pivot * n + column], a[below * n + column]);
                }
                b[below] = factor.mul_add(b[pivot], b[below]);
            }
        }
        for row in (0..n).rev() {
            let sum = dot_body(&a[row * n..][row + 1..n], &b[row + 1..]);
            b[row] = (b[row] - sum) / a[row * n + row];
        }
    }

    #[test]
    fn panels_and_strides_have_the_bits_of_one_pivot_after_the_other() {
        for n in [1, 4, 15, 16, 17, 31, 32, 48, 100, 207] {
            let (a, b) = system(n);
            let (mut work, mut truth) = (a.clone(), b.clone());
            naive(&mut work, n, &mut truth);
            for stride in [n, n + 3, n.next_multiple_of(16)] {
                let mut padded = vec![7.0; n * stride];
                for (to, from) in padded.chunks_exact_mut(stride).zip(a.chunks_exact(n)) {
                    to[..n].copy_from_slice(from);
                }
                for level in Level::available() {
                    let mut x = b.clone();
                    assert!(solve(level, &mut padded.clone(), stride, &mut x));
                    assert_eq!(x, truth, "{} {n} {stride}", level.name());
                }
            }
        }
    }

    #[test]
    fn every_level_has_the_same_bits() {
        for n in [3, 16, 37, 100] {
            let (a, b) = system(n);
            let solved = |level| {
                let (mut work, mut x) = (a.clone(), b.clone());
                assert!(solve(level, &mut work, n, &mut x));
                x
            };
            for level in Level::available() {
                assert_eq!(solved(level), solved(Level::Scalar), "{} {n}", level.name());
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        assert!(!solve(Level::Scalar, &mut [0.0], 1, &mut [1.0]));
        assert!(!solve(Level::Scalar, &mut [1.0, 2.0, 2.0, 1.0], 2, &mut [1.0, 1.0]));
    }
}
