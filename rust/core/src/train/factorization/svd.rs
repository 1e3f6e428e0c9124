//! Biased matrix factorization for ratings.
//!
//!   r̂_ui = μ + b_u + b_i + ⟨p_u, q_i⟩,     Σ (r_ui − r̂_ui)² + λ (b_u² + b_i² + ‖p_u‖² + ‖q_i‖²) over the ratings
//!
//! by stochastic gradient descent at a constant rate: b_u += γ (e − λ b_u), p_u += γ (e q_i − λ p_u), and the same for items
//! (Koren, Bell, Volinsky, Matrix Factorization Techniques for Recommender Systems, IEEE Computer 2009; the model `SVD` of
//! Surprise, whose ratings come in the order of the table and not in a drawn one). μ is the mean rating.

use super::strata::{Cell, SAMPLES_PER_SLICE, State, Strata};
use crate::Result;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::factor_steps::{Step, rated};
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{LANES, axpy, dot};
use crate::runtime::simd::{Level, cholesky};
use crate::train::progress::Resumable;

/// How the factors are learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in a vector.
    pub factors: usize,
    /// γ.
    pub learning_rate: f32,
    /// λ.
    pub regularization: f32,
    /// Standard deviation of the starting numbers.
    pub start_scale: f32,
    /// Where all randomness comes from.
    pub seed: u64,
}

/// Factors in training.
pub struct Trainer {
    options: Options,
    strata: Strata,
    mean: f32,
}

impl Resumable for Trainer {
    fn numbers(&mut self, context: &Context) -> Vec<(String, &mut [f32])> {
        self.strata.numbers(context)
    }
}

impl Trainer {
    /// Checks the options and draws the starting numbers; the values of `ratings` are what is predicted.
    pub fn new(ratings: &Csr, options: Options, context: &Context) -> Result<Self> {
        let strata = Strata::new(ratings, options.factors, options.start_scale, options.seed, context)?;
        let sum: f64 = ratings.values().iter().map(|&r| f64::from(r)).sum();
        Ok(Self { options, strata, mean: (sum / ratings.len() as f64) as f32 })
    }

    /// One round over all ratings; the mean squared error of a rating, measured before its step.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let Options { factors, learning_rate: rate, regularization, .. } = self.options;
        let step = Step { rate, regularization, bias_regularization: regularization };
        let (width, mean) = (factors.next_multiple_of(LANES), self.mean);
        let work = |(): &mut (), (): &(), mut cell: Cell<'_>| {
            let mut loss = 0.0;
            for samples in cell.samples.chunks(SAMPLES_PER_SLICE) {
                context.cancel.check()?;
                loss += rated(context.level, width, step, mean, samples, cell.users.reborrow(), cell.items.reborrow());
            }
            Ok(loss)
        };
        let loss = self.strata.epoch(epoch, |_| (), || (), work, context)? / self.strata.data().len() as f64;
        self.strata.check(loss, epoch, rate)?;
        Ok(loss)
    }

    /// μ.
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// What has been learned.
    pub fn state(&self) -> State {
        self.strata.state()
    }
}

/// The vector and the bias of somebody with these ratings, for given items: the exact minimum of the loss over them,
///
///   Σ_j (r_j − μ − b_j − b − ⟨p, q_j⟩)² + λ n (b² + ‖p‖²),
///
/// by a system of the size of the ratings or of the factors, whichever is smaller. `targets` are r_j − μ − b_j; an item has
/// d + 1 numbers, of which the last is its bias, and so has `out`, of which the last is 1. False where float32 has no
/// solution.
pub fn fold_in(
    level: Level,
    history: &[u32],
    targets: &[f32],
    items: &[f32],
    regularization: f32,
    out: &mut [f32],
    bias: &mut f32,
) -> bool {
    let (d, n) = (out.len() - 1, history.len());
    let ridge = regularization * n as f32;
    let vector = |item: u32| &items[item as usize * (d + 1)..][..d];
    out.fill(0.0);
    *bias = 0.0;
    if n <= d {
        // (Q Qᵀ + 1 1ᵀ + λ n I) z = r,  p = Qᵀ z,  b = Σ z.
        let mut matrix = vec![0.0f32; n * n];
        for (i, &item) in history.iter().enumerate() {
            for (j, &other) in history.iter().enumerate().skip(i) {
                matrix[i * n + j] = 1.0 + dot(level, vector(item), vector(other));
            }
            matrix[i * n + i] += ridge;
        }
        let mut z = targets.to_vec();
        if !cholesky::solve(level, &mut matrix, n, &mut z) {
            return false;
        }
        gather(level, history, &z, items, out);
        *bias = z.iter().sum();
    } else {
        // (QᵀQ + λ n I) (p, b) = Qᵀ r, with a column of ones in Q.
        const ROWS: usize = 256;
        let size = d + 1;
        let (mut matrix, mut right) = (vec![0.0f32; size * size], vec![0.0f32; size]);
        for (history, targets) in history.chunks(ROWS).zip(targets.chunks(ROWS)) {
            let mut rows = vec![1.0f32; history.len() * size];
            for ((row, &item), &target) in rows.chunks_exact_mut(size).zip(history).zip(targets) {
                row[..d].copy_from_slice(vector(item));
                axpy(level, target, row, &mut right);
            }
            multiply_add(level, &mut matrix, size, View::transposed(&rows, size), 0, &rows, history.len());
        }
        for k in 0..size {
            matrix[k * size + k] += ridge;
        }
        if !cholesky::solve(level, &mut matrix, size, &mut right) {
            return false;
        }
        out[..d].copy_from_slice(&right[..d]);
        *bias = right[d];
    }
    out[d] = 1.0;
    bias.is_finite() && out.iter().all(|x| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::runtime::rng::Stream;
    use crate::train::fixtures::interactions;

    fn options() -> Options {
        Options { factors: 5, learning_rate: 0.02, regularization: 0.02, start_scale: 0.1, seed: 3 }
    }

    #[test]
    fn the_error_falls_below_that_of_the_mean() {
        let data = interactions(|at| 1.0 + (at * 7 % 5) as f32);
        let context = Context::new(Some(2)).unwrap();
        let mut trainer = Trainer::new(&data, options(), &context).unwrap();
        let losses: Vec<f64> = (0..60).map(|epoch| trainer.epoch(epoch, &context).unwrap()).collect();
        assert!((trainer.mean() - 3.0).abs() < 0.1);
        assert!(losses[59] < 0.7 * losses[0], "{losses:?}");
    }

    #[test]
    fn threads_and_levels_give_the_same_bits() {
        let data = interactions(|at| (at % 5) as f32);
        let run = |context: &Context| {
            let mut trainer = Trainer::new(&data, options(), context).unwrap();
            let losses = [0, 1, 2].map(|epoch| trainer.epoch(epoch, context).unwrap().to_bits());
            let state = trainer.state();
            (state.users, state.items, state.user_biases, state.item_biases, losses)
        };
        let truth = run(&Context::new(Some(1)).unwrap().with_level(Level::Scalar));
        for threads in [2, 8] {
            for level in Level::available() {
                assert_eq!(run(&Context::new(Some(threads)).unwrap().with_level(level)), truth);
            }
        }
    }

    #[test]
    fn a_rate_too_high_is_an_error_that_says_so() {
        let data = interactions(|at| (at % 5) as f32);
        let context = Context::new(Some(1)).unwrap();
        let mut trainer = Trainer::new(&data, Options { learning_rate: 10.0, ..options() }, &context).unwrap();
        let failed = (0..20).find_map(|epoch| trainer.epoch(epoch, &context).err());
        assert!(matches!(failed, Some(Error::Diverged(message)) if message.contains("learning_rate")));
    }

    #[test]
    fn somebody_folded_in_has_the_lowest_loss_there_is() {
        let d = 6;
        let draws = Stream::new(5, 5);
        let items: Vec<f32> = (0..40 * (d + 1)).map(|i| draws.normal(i as u64)).collect();
        for n in [1, 4, 6, 7, 30] {
            let history: Vec<u32> = (0..n as u32).map(|i| i + i / 8).collect();
            let targets: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 1.5).collect();
            let loss = |p: &[f32], b: f32| {
                let mut sum = 0.3 * n as f64 * (p[..d].iter().chain([&b]).map(|&x| f64::from(x).powi(2)).sum::<f64>());
                for (&item, &target) in history.iter().zip(&targets) {
                    let inner = dot(Level::Scalar, &p[..d], &items[item as usize * (d + 1)..][..d]);
                    sum += f64::from(target - b - inner).powi(2);
                }
                sum
            };
            let (mut p, mut b) = (vec![f32::NAN; d + 1], f32::NAN);
            assert!(fold_in(Level::Scalar, &history, &targets, &items, 0.3, &mut p, &mut b));
            let lowest = loss(&p, b);
            for k in 0..=d {
                for by in [-0.01, 0.01] {
                    let (mut q, mut c) = (p.clone(), b);
                    *(if k < d { &mut q[k] } else { &mut c }) += by;
                    assert!(loss(&q, c) > lowest, "{n} {k}");
                }
            }
            for level in Level::available() {
                let (mut q, mut c) = (vec![0.0; d + 1], 0.0);
                assert!(fold_in(level, &history, &targets, &items, 0.3, &mut q, &mut c));
                assert_eq!((&q, c), (&p, b), "{}", level.name());
            }
        }
        assert!(fold_in(Level::Scalar, &[], &[], &items, 0.3, &mut [0.0; 7], &mut 0.0));
    }
}
