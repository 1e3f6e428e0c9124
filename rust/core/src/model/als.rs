//! One side of alternating least squares for implicit feedback: every row solved exactly, given the other side.
//!
//! For a row u with the entries N(u), weights c_uj, fixed vectors y_j and G = Σ_j y_j y_jᵀ over *all* of the other side,
//!
//!   x_u = argmin Σ_{j∈N(u)} c_uj (1 − ⟨x, y_j⟩)² + α₀ Σ_all j ⟨x, y_j⟩² + λ_u ‖x‖²
//!       = (α₀ G + λ_u I + Yᵤᵀ C Yᵤ)⁻¹ Yᵤᵀ C 1,       λ_u = λ (n_u + α₀ n_other)^ν
//!
//! (Hu, Koren, Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008; the weight α₀ of all pairs and
//! the regularization by frequency after Rendle, Krichene, Zhang, Koren, Revisiting the Performance of iALS on Item
//! Recommendation Benchmarks, RecSys 2022.)
//!
//! Scores do not change when both sides are rotated. So the fixed side is rotated onto the eigenvectors of G first
//! ([`Fixed::new`]): then α₀ G + λ_u I is a diagonal D, and a row with fewer entries than factors needs a system of the
//! size of its entries alone,
//!
//!   (C⁻¹ + Yᵤ D⁻¹ Yᵤᵀ) z = 1,   x_u = D⁻¹ Yᵤᵀ z,   minimum = Σ_j z_j,
//!
//! by the Woodbury identity. It is exact like the d × d system, which rows with more entries use. On Gowalla with 64 factors
//! 93 of 100 rows are that short.
//!
//! [`step`] takes a few steps of conjugate gradients from where a row stands in place of solving it (`als_steps.rs`).
//!
//! Rows are solved on their own and in a fixed order within, so threads cannot change a bit.

use rayon::prelude::*;

pub use super::als_steps::Fixed;
use super::als_steps::{ENTRIES_PER_SLICE, Row, Steps};
use super::{eigen, spectral};
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::sparse::{fetch, gather};
use crate::runtime::simd::vector::{axpy, power};
use crate::runtime::simd::{Level, cholesky};
use crate::{Error, Result};

/// Rows of one task.
const ROWS_PER_TASK: usize = 64;
/// Numbers of a row of a small system are padded to whole registers of every level.
const PADDING: usize = 16;

/// α₀, λ and ν.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// α₀: the weight of every pair, observed or not, towards a score of 0.
    pub unobserved_weight: f32,
    /// λ.
    pub regularization: f32,
    /// ν: 0 regularizes all rows alike, 1 in proportion to what they are fitted to.
    pub exponent: f32,
}

impl Penalty {
    /// λ_u of a row with `n` entries, where the other side has `n_other` rows.
    pub(crate) fn of_row(&self, n: usize, n_other: usize) -> f32 {
        let size = n as f64 + f64::from(self.unobserved_weight) * n_other as f64;
        self.regularization * if size > 0.0 { power(size, self.exponent) } else { 1.0 }
    }
}

/// Rotates `vectors` (n × `d`) so that their Gramian is diagonal; that diagonal. `others` turn with them, so that inner
/// products stay.
pub fn rotate(vectors: &mut [f32], others: &mut [f32], d: usize, context: &Context) -> Result<Vec<f32>> {
    const ROWS: usize = 240;
    let (values, directions) = eigen::symmetric(spectral::gram(vectors, d, context), d, &context.cancel)?;
    // A table times the eigenvectors as columns.
    let mut rotation = vec![0.0f32; d * d];
    for k in 0..d {
        for i in 0..d {
            rotation[i * d + k] = directions[k * d + i] as f32;
        }
    }
    context.install(|| {
        let chunks = vectors.par_chunks_mut(ROWS * d).chain(others.par_chunks_mut(ROWS * d));
        chunks.try_for_each_init(Vec::new, |rows: &mut Vec<f32>, chunk| {
            context.cancel.check()?;
            rows.clear();
            rows.extend_from_slice(chunk);
            multiply(context.level, chunk, d, View::rows(rows, d), 0, &rotation, d);
            Ok(())
        })
    })?;
    Ok(values.into_iter().map(|value| value as f32).collect())
}

/// Solves the rows of `entries` (rows × fixed vectors, values c > 0) into `out`; the sum of their minima.
pub fn solve(entries: &Csr, fixed: &Fixed<'_>, penalty: Penalty, out: &mut [f32], context: &Context) -> Result<f64> {
    for_each_row(entries, fixed, penalty, out, Solver::row, context)
}

/// Takes `steps` steps of conjugate gradients from what `out` holds towards what [`solve`] gives; the loss of the rows.
pub fn step(
    entries: &Csr,
    fixed: &Fixed<'_>,
    penalty: Penalty,
    steps: usize,
    out: &mut [f32],
    context: &Context,
) -> Result<f64> {
    let row = |solver: &mut Solver, row: &Row<'_>, fixed: &Fixed<'_>, out: &mut [f32], context: &Context| {
        let Solver { diagonal, steps: buffers, .. } = solver;
        buffers.take(steps, row, fixed, diagonal, out, context).map(Some)
    };
    for_each_row(entries, fixed, penalty, out, row, context)
}

/// Calls `update` for each row and what `out` holds of it, D being ready; the sum of what it returns.
fn for_each_row(
    entries: &Csr,
    fixed: &Fixed<'_>,
    penalty: Penalty,
    out: &mut [f32],
    update: impl Fn(&mut Solver, &Row<'_>, &Fixed<'_>, &mut [f32], &Context) -> Result<Option<f64>> + Sync,
    context: &Context,
) -> Result<f64> {
    let d = fixed.gramian.len();
    let mut minima = vec![0.0f64; entries.n_rows().div_ceil(ROWS_PER_TASK)];
    context.try_for_each_task(
        out.chunks_mut(ROWS_PER_TASK * d).zip(&mut minima).enumerate(),
        || Solver::new(d),
        |solver, (task, (out, minimum))| {
            for (row, out) in (task * ROWS_PER_TASK..).zip(out.chunks_exact_mut(d)) {
                context.cancel.check()?;
                let next = if row + 1 < entries.n_rows() { entries.row(row + 1) } else { &[] };
                let next = &next[..next.len().min(ENTRIES_PER_SLICE)];
                let entries = Row { columns: entries.row(row), weights: entries.row_values(row), next };
                if entries.columns.is_empty() {
                    out.fill(0.0);
                    continue;
                }
                solver.set_diagonal(entries.columns.len(), fixed, penalty, context.level);
                let loss = update(solver, &entries, fixed, out, context)?;
                if !loss.is_some_and(f64::is_finite) || !out.iter().all(|x| x.is_finite()) {
                    return Err(Error::Diverged(
                        "a row's equations have no solution in float32; try a larger regularization, or smaller weights."
                            .into(),
                    ));
                }
                *minimum += loss.unwrap_or_default();
            }
            Ok(())
        },
    )?;
    Ok(minima.into_iter().sum())
}

/// The buffers of one thread.
struct Solver {
    /// D, and its inverse or the inverse's square root.
    diagonal: Vec<f32>,
    scales: Vec<f32>,
    /// Entries of the row, gathered and scaled.
    gathered: Vec<f32>,
    matrix: Vec<f32>,
    right: Vec<f32>,
    steps: Steps,
}

impl Solver {
    fn new(d: usize) -> Self {
        Self {
            diagonal: vec![0.0; d],
            scales: vec![0.0; d],
            gathered: Vec::new(),
            matrix: Vec::new(),
            right: Vec::new(),
            steps: Steps::default(),
        }
    }

    /// D of a row with `n` entries.
    fn set_diagonal(&mut self, n: usize, fixed: &Fixed<'_>, penalty: Penalty, level: Level) {
        let n_other = fixed.vectors.len() / self.diagonal.len();
        self.diagonal.fill(penalty.of_row(n, n_other));
        axpy(level, penalty.unobserved_weight, fixed.gramian, &mut self.diagonal);
    }

    /// One row into `out`; its minimum.
    fn row(&mut self, row: &Row<'_>, fixed: &Fixed<'_>, out: &mut [f32], context: &Context) -> Result<Option<f64>> {
        out.fill(0.0);
        for &column in row.next {
            fetch(fixed.vectors, column as usize * out.len(), out.len());
        }
        if row.columns.len() < out.len() {
            Ok(self.by_entries(row, fixed, out, context.level))
        } else {
            self.by_factors(row, fixed, out, context)
        }
    }

    /// The system of the entries (n × n).
    fn by_entries(&mut self, row: &Row<'_>, fixed: &Fixed<'_>, out: &mut [f32], level: Level) -> Option<f64> {
        let Row { columns, weights, .. } = *row;
        let (d, n) = (out.len(), columns.len());
        let width = n.next_multiple_of(PADDING);
        // 1. T = D^-½ Yᵤᵀ (d × n).
        for (scale, value) in self.scales.iter_mut().zip(&self.diagonal) {
            *scale = 1.0 / value.sqrt();
        }
        self.gathered.resize(d * width, 0.0);
        for row in self.gathered.chunks_exact_mut(width) {
            row[n..].fill(0.0);
        }
        for (at, &column) in columns.iter().enumerate() {
            let vector = &fixed.vectors[column as usize * d..][..d];
            for ((target, x), scale) in self.gathered[at..].iter_mut().step_by(width).zip(vector).zip(&self.scales) {
                *target = x * scale;
            }
        }
        // 2. C⁻¹ + TᵀT.
        self.matrix.resize(width * width, 0.0);
        let matrix = &mut self.matrix[..n * width];
        multiply(level, matrix, width, View::transposed(&self.gathered, width), 0, &self.gathered, d);
        for (at, weight) in weights.iter().enumerate() {
            matrix[at * width + at] += 1.0 / weight;
        }
        // 3. z, and from it x.
        self.right.clear();
        self.right.resize(n, 1.0);
        if !cholesky::solve(level, matrix, width, &mut self.right) {
            return None;
        }
        gather(level, columns, &self.right, fixed.vectors, out);
        for (x, value) in out.iter_mut().zip(&self.diagonal) {
            *x /= value;
        }
        Some(self.right.iter().map(|&z| f64::from(z)).sum())
    }

    /// The system of the factors (d × d).
    fn by_factors(
        &mut self,
        row: &Row<'_>,
        fixed: &Fixed<'_>,
        out: &mut [f32],
        context: &Context,
    ) -> Result<Option<f64>> {
        let Row { columns, weights, .. } = *row;
        let (d, level) = (out.len(), context.level);
        self.matrix.resize(d * d, 0.0);
        self.matrix.fill(0.0);
        let mut total = 0.0f64;
        for (columns, weights) in columns.chunks(ENTRIES_PER_SLICE).zip(weights.chunks(ENTRIES_PER_SLICE)) {
            context.cancel.check()?;
            // 1. Yᵤᵀ C 1, and C^½ Yᵤ.
            gather(level, columns, weights, fixed.vectors, out);
            self.gathered.resize(columns.len() * d, 0.0);
            for ((row, &column), weight) in self.gathered.chunks_exact_mut(d).zip(columns).zip(weights) {
                let scale = weight.sqrt();
                for (target, x) in row.iter_mut().zip(&fixed.vectors[column as usize * d..][..d]) {
                    *target = x * scale;
                }
                total += f64::from(*weight);
            }
            // 2. Yᵤᵀ C Yᵤ.
            let rows = &self.gathered;
            multiply_add(level, &mut self.matrix, d, View::transposed(rows, d), 0, rows, columns.len());
        }
        for (at, value) in self.diagonal.iter().enumerate() {
            self.matrix[at * d + at] += value;
        }
        // 3. x; the minimum is Σ c − ⟨x, Yᵤᵀ C 1⟩.
        self.right.clear();
        self.right.extend_from_slice(out);
        if !cholesky::solve(level, &mut self.matrix, d, out) {
            return Ok(None);
        }
        let explained: f64 = self.right.iter().zip(&*out).map(|(b, x)| f64::from(*b) * f64::from(*x)).sum();
        Ok(Some(total - explained))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn entries(n_rows: usize, n_columns: usize) -> Csr {
        let draws = Stream::new(3, 0);
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for row in 0..n_rows {
            // From rows without an entry to rows with nearly all.
            let chance = row as f32 / n_rows as f32;
            columns
                .extend((0..n_columns as u32).filter(|&c| draws.f32((row * n_columns) as u64 + u64::from(c)) < chance));
            offsets.push(columns.len());
        }
        let values = (0..columns.len()).map(|at| 0.5 + draws.sub(1).f32(at as u64)).collect();
        Csr::new(offsets, columns, values, n_columns).unwrap()
    }

    fn vectors(n: usize, d: usize) -> Vec<f32> {
        let draws = Stream::new(9, d as u64);
        (0..n * d).map(|i| 0.5 * draws.normal(i as u64)).collect()
    }

    /// The normal equations in f64, by Gaussian elimination, for one row.
    fn naive(entries: &Csr, row: usize, y: &[f32], d: usize, penalty: Penalty) -> (Vec<f64>, f64) {
        let at = |j: usize, k: usize| f64::from(y[j * d + k]);
        let n_other = y.len() / d;
        let (alpha, n) = (f64::from(penalty.unobserved_weight), entries.row(row).len());
        let ridge =
            f64::from(penalty.regularization) * (n as f64 + alpha * n_other as f64).powf(f64::from(penalty.exponent));
        let mut system = vec![vec![0.0; d + 1]; d];
        for i in 0..d {
            for k in 0..d {
                system[i][k] = alpha * (0..n_other).map(|j| at(j, i) * at(j, k)).sum::<f64>();
            }
            system[i][i] += ridge;
            for (&j, &c) in entries.row(row).iter().zip(entries.row_values(row)) {
                for k in 0..d {
                    system[i][k] += f64::from(c) * at(j as usize, i) * at(j as usize, k);
                }
                system[i][d] += f64::from(c) * at(j as usize, i);
            }
        }
        for k in 0..d {
            let pivot = system[k].clone();
            for (i, line) in system.iter_mut().enumerate() {
                if i != k {
                    let factor = line[k] / pivot[k];
                    line.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
                }
            }
        }
        let x: Vec<f64> = (0..d).map(|k| system[k][d] / system[k][k]).collect();
        let score = |j: usize| (0..d).map(|k| x[k] * at(j, k)).sum::<f64>();
        let mut loss = ridge * x.iter().map(|x| x * x).sum::<f64>();
        loss += alpha * (0..n_other).map(|j| score(j) * score(j)).sum::<f64>();
        for (&j, &c) in entries.row(row).iter().zip(entries.row_values(row)) {
            loss += f64::from(c) * (1.0 - score(j as usize)).powi(2);
        }
        (x, loss)
    }

    #[test]
    fn every_row_is_the_exact_minimum_of_its_loss() {
        for d in [1, 3, 16, 37] {
            let entries = entries(50, 60);
            let mut y = vectors(60, d);
            let context = Context::new(Some(2)).unwrap();
            let gramian = rotate(&mut y, &mut [], d, &context).unwrap();
            let penalty = Penalty { unobserved_weight: 0.1, regularization: 0.02, exponent: 0.7 };
            let mut x = vec![f32::NAN; 50 * d];
            let total = solve(&entries, &Fixed::diagonal(&y, &gramian), penalty, &mut x, &context).unwrap();
            let mut sum = 0.0;
            for row in 0..50 {
                let (truth, loss) = naive(&entries, row, &y, d, penalty);
                sum += loss;
                for k in 0..d {
                    assert!((f64::from(x[row * d + k]) - truth[k]).abs() < 2e-4, "{d} {row} {k}: {truth:?}");
                }
            }
            assert!((total - sum).abs() < 1e-4 * sum, "{d}: {total} and {sum}");
        }
    }

    #[test]
    fn steps_lower_the_loss_that_they_tell_until_it_is_the_minimum() {
        for d in [1, 3, 16, 37] {
            let entries = entries(50, 60);
            let mut y = vectors(60, d);
            let context = Context::new(Some(2)).unwrap();
            let gramian = rotate(&mut y, &mut [], d, &context).unwrap();
            let penalty = Penalty { unobserved_weight: 0.1, regularization: 0.02, exponent: 0.7 };
            let fixed = Fixed::diagonal(&y, &gramian);
            let mut exact = vec![0.0; 50 * d];
            let minimum = solve(&entries, &fixed, penalty, &mut exact, &context).unwrap();
            let mut x = vectors(50, d);
            let mut before = f64::INFINITY;
            for _ in 0..20 {
                let told = step(&entries, &fixed, penalty, 3, &mut x, &context).unwrap();
                let here = step(&entries, &fixed, penalty, 0, &mut x.clone(), &context).unwrap();
                assert!((told - here).abs() < 1e-4 * here && told < before * (1.0 + 1e-5), "{told} {here} {before}");
                before = told;
            }
            assert!((before - minimum).abs() < 1e-4 * minimum, "{d}: {before} and {minimum}");
            assert!(x.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-3), "{d}");
        }
    }

    #[test]
    fn a_rotation_changes_no_inner_product_and_makes_the_gramian_diagonal() {
        let (n, d) = (500, 20);
        let context = Context::new(Some(2)).unwrap();
        let before = vectors(n, d);
        let (mut after, mut others) = (before.clone(), before[..41 * d].to_vec());
        let gramian = rotate(&mut after, &mut others, d, &context).unwrap();
        let inner =
            |x: &[f32], y: &[f32], i: usize, j: usize| -> f32 { (0..d).map(|k| x[i * d + k] * y[j * d + k]).sum() };
        for i in 0..20 {
            for turned in [&after, &others] {
                assert!((inner(&before, &before, i, 2 * i) - inner(turned, &after, i, 2 * i)).abs() < 1e-4);
            }
        }
        let found = spectral::gram(&after, d, &context);
        for i in 0..d {
            for k in 0..d {
                let wanted = if i == k { f64::from(gramian[k]) } else { 0.0 };
                assert!((found[i * d + k] - wanted).abs() < 1e-3, "{i} {k}");
            }
        }
    }

    #[test]
    fn threads_and_levels_give_the_same_bits() {
        let entries = entries(200, 90);
        let penalty = Penalty { unobserved_weight: 0.3, regularization: 0.01, exponent: 1.0 };
        let run = |context: &Context| {
            let mut y = vectors(90, 24);
            let gramian = rotate(&mut y, &mut [], 24, context).unwrap();
            let (mut x, mut stepped) = (vec![0.0; 200 * 24], vec![0.0; 200 * 24]);
            let fixed = Fixed::diagonal(&y, &gramian);
            let loss = solve(&entries, &fixed, penalty, &mut x, context).unwrap();
            let higher = step(&entries, &fixed, penalty, 3, &mut stepped, context).unwrap();
            (y, x, loss.to_bits(), stepped, higher.to_bits())
        };
        let truth = run(&Context::new(Some(1)).unwrap().with_level(Level::Scalar));
        for threads in [2, 3, 8] {
            for level in Level::available() {
                assert_eq!(run(&Context::new(Some(threads)).unwrap().with_level(level)), truth, "{threads}");
            }
        }
    }

    #[test]
    fn weights_beyond_float32_are_an_error_and_no_nan() {
        let entries = Csr::new(vec![0, 2], vec![0, 1], vec![1e-38, f32::MAX], 2).unwrap();
        let penalty = Penalty { unobserved_weight: 0.0, regularization: 1e-30, exponent: 0.0 };
        let context = Context::new(Some(1)).unwrap();
        let y = [1e30, 1e30];
        let solved = solve(&entries, &Fixed::diagonal(&y, &[2.0]), penalty, &mut [0.0], &context);
        assert!(matches!(solved, Err(Error::Diverged(_))));
    }
}
