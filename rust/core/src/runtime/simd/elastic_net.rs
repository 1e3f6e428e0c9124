//! Solving one small elastic net whose weights are at least 0: w = argmin ½ wᵀ A w − bᵀ w + l1 Σ w, by coordinate descent
//! on A (the covariance updates of Friedman, Hastie and Tibshirani, J. Stat. Softw. 2010).
//!
//! b − A w is kept up to date, each of its numbers by fused multiply-adds in the order of the steps, so every level has the
//! same bits. Most weights stay 0 and cost one comparison a sweep: 200 sources take a fraction of what `cholesky` takes.

use super::level::Level;

/// Sweeps after which the weights are left as they are.
const MAX_SWEEPS: usize = 100;

/// No weight of the last sweep moved by more, in units of the largest weight.
const TOLERANCE: f32 = 1e-3;

/// A of a regression, of which the rows are made that are asked for: most weights stay 0, and theirs never is.
pub struct Rows<'a> {
    /// What lies on the diagonal, without λ.
    pub diagonal: &'a [f32],
    /// Writes a row but for its number on the diagonal.
    pub fill: &'a mut dyn FnMut(usize, &mut [f32]),
    /// Where the rows are kept, `n` numbers each; may hold anything.
    pub kept: &'a mut [f32],
}

/// Solves for a symmetric positive definite A + λ I of numbers of at least 0 (`n` × `n`), for one λ after the other: each
/// begins at the solution of the last one. `solved` is told of each solution. `b` becomes what is left of it.
pub fn solve(level: Level, a: Rows<'_>, b: &mut [f32], l1: f32, lambdas: &[f32], mut solved: impl FnMut(&[f32])) {
    let Rows { diagonal, fill, kept } = a;
    let mut path = Path { weights: vec![0.0; b.len()], is_there: vec![false; b.len()], left: b, fill, kept };
    let mut before = lambdas.first().copied().unwrap_or_default();
    for &lambda in lambdas {
        let diagonal: Vec<f32> = diagonal.iter().map(|&value| value + lambda).collect();
        for (left, &weight) in path.left.iter_mut().zip(&path.weights) {
            *left = (before - lambda).mul_add(weight, *left);
        }
        before = lambda;
        descend(level, &mut path, &diagonal, l1);
        solved(&path.weights);
    }
}

/// Where the solution stands.
struct Path<'a> {
    weights: Vec<f32>,
    /// b − A w.
    left: &'a mut [f32],
    fill: &'a mut dyn FnMut(usize, &mut [f32]),
    kept: &'a mut [f32],
    /// Which rows are kept.
    is_there: Vec<bool>,
}

fn descend(level: Level, path: &mut Path<'_>, diagonal: &[f32], l1: f32) {
    dispatch!(level, descend_body(path: &mut Path<'_>, diagonal: &[f32], l1: f32));
}

#[inline(always)]
fn descend_body(path: &mut Path<'_>, diagonal: &[f32], l1: f32) {
    let Path { weights, left, fill, kept, is_there } = path;
    let n = left.len();
    for _ in 0..MAX_SWEEPS {
        let (mut moved, mut largest) = (0.0f32, 0.0f32);
        for j in 0..n {
            let old = weights[j];
            let pull = diagonal[j].mul_add(old, left[j]) - l1;
            let new = if pull > 0.0 { pull / diagonal[j] } else { 0.0 };
            largest = largest.max(new);
            let step = new - old;
            if step == 0.0 {
                continue;
            }
            let row = &mut kept[j * n..][..n];
            if !is_there[j] {
                is_there[j] = true;
                fill(j, row);
            }
            row[j] = diagonal[j];
            for (left, &value) in left.iter_mut().zip(&*row) {
                *left = (-step).mul_add(value, *left);
            }
            weights[j] = new;
            moved = moved.max(step.abs());
        }
        if moved <= TOLERANCE * largest {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    /// B Bᵀ + 2 I of a B of numbers from 0 to 1, of which half are 0.
    fn system(n: usize) -> (Vec<f32>, Vec<f32>) {
        let draws = Stream::new(7, 1);
        let factors: Vec<f32> = (0..n * n).map(|at| (draws.f32(at as u64) - 0.5).max(0.0)).collect();
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                let dot: f32 = (0..n).map(|k| factors[i * n + k] * factors[j * n + k]).sum();
                a[i * n + j] = dot + if i == j { 2.0 } else { 0.0 };
            }
        }
        (a, (0..n).map(|i| 4.0 * draws.f32((n * n + i) as u64)).collect())
    }

    /// The weights by each λ, and how many rows were made.
    fn solved(level: Level, a: &[f32], b: &[f32], l1: f32, lambdas: &[f32]) -> (Vec<Vec<f32>>, usize) {
        let (n, mut made) = (b.len(), 0);
        let diagonal: Vec<f32> = (0..n).map(|i| a[i * n + i]).collect();
        let mut fill = |i: usize, row: &mut [f32]| {
            made += 1;
            row.copy_from_slice(&a[i * n..][..n]);
            row[i] = f32::NAN;
        };
        let (mut left, mut kept, mut w) = (b.to_vec(), vec![f32::NAN; n * n], Vec::new());
        let a = Rows { diagonal: &diagonal, fill: &mut fill, kept: &mut kept };
        solve(level, a, &mut left, l1, lambdas, |weights| w.push(weights.to_vec()));
        (w, made)
    }

    #[test]
    fn the_weights_are_the_minimum() {
        for (n, l1) in [(1, 0.5), (7, 0.5), (40, 1.0), (40, 2.5), (130, 1.0)] {
            let (a, b) = system(n);
            let (mut solutions, made) = solved(Level::Scalar, &a, &b, l1, &[2.0, 0.0]);
            let w = solutions.pop().unwrap();
            let mut used = 0;
            for i in 0..n {
                // The slope is 0 where there is a weight, and not below 0 where there is none.
                let left = f64::from(b[i]) - (0..n).map(|j| f64::from(a[i * n + j]) * f64::from(w[j])).sum::<f64>();
                let slope = f64::from(l1) - left;
                let near = 5e-3 * f64::from(b[i]).max(1.0);
                assert!(w[i] >= 0.0 && slope > -near && (w[i] == 0.0 || slope < near), "{n} {i}: {} {slope}", w[i]);
                used += usize::from(w[i] > 0.0);
            }
            assert!(used > 0 && (used < n || n < 40), "{used} of {n}");
            // Never one that was of no use.
            assert!(made >= used && (made < n || n < 40), "{made} of {n}");
        }
    }

    #[test]
    fn every_level_has_the_same_bits() {
        for n in [3, 16, 61] {
            let (a, b) = system(n);
            for level in Level::available() {
                let lambdas = [0.0, 3.0, 0.5];
                let truth = solved(Level::Scalar, &a, &b, 0.3, &lambdas);
                assert_eq!(solved(level, &a, &b, 0.3, &lambdas), truth, "{n} {level:?}");
                // The first one as if there were no others.
                assert_eq!(solved(level, &a, &b, 0.3, &lambdas[..1]).0, truth.0[..1], "{n} {level:?}");
            }
        }
    }
}
