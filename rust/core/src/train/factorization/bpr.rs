//! Bayesian personalized ranking: an item that a user has should stand above one that the user does not have.
//!
//!   −ln σ(x̂_ui − x̂_uj) + λ/2 (‖p_u‖² + ‖q_i‖² + ‖q_j‖²) + λ_b/2 (b_i² + b_j²),    x̂_ui = ⟨p_u, q_i⟩ + b_i
//!
//! (Rendle, Freudenthaler, Gantner, Schmidt-Thieme, BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.)
//! An epoch takes every interaction (u, i) once, where the paper draws them with repetition, and draws a j for it that the
//! user does not have. It comes from the items that share a block with i in this epoch; blocks are dealt anew for each, so
//! over the epochs every item is as likely as its share.

use super::strata::{Cell, SAMPLES_PER_SLICE, State, Strata};
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::factor_steps::{Step, bpr};
use crate::runtime::simd::vector::{LANES, axpy, count_power, dot, scale};
use crate::runtime::simd::{Level, sigmoid};
use crate::train::progress::Resumable;
use crate::train::schedule::half_cosine;
use crate::{Error, Result};

/// Draws for one sample: who has nearly everything is left alone after these.
const MAX_DRAWS: u64 = 16;
/// Rounds over a history that is folded in, and the stream of their negatives.
const FOLD_IN_ROUNDS: usize = 40;
const FOLD_IN: u64 = 6;
/// Standard deviation of the starting numbers, as in the paper's software.
const START_SCALE: f32 = 0.1;

/// How the factors are learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in a vector.
    pub factors: usize,
    /// Epochs over which the learning rate decays by half a cosine.
    pub epochs: usize,
    /// The rate at the start.
    pub learning_rate: f32,
    /// λ.
    pub regularization: f32,
    /// λ_b.
    pub bias_regularization: f32,
    /// Popularity's power in drawing j: 0 draws all items alike.
    pub negative_exponent: f32,
    /// Where all randomness comes from.
    pub seed: u64,
}

/// Factors in training.
pub struct Trainer {
    options: Options,
    strata: Strata,
    /// Weight of an item in the draws; empty where all are alike.
    weights: Vec<f64>,
}

impl Resumable for Trainer {
    fn numbers(&mut self, context: &Context) -> Vec<(String, &mut [f32])> {
        self.strata.numbers(context)
    }
}

impl Trainer {
    /// Checks the options and draws the starting numbers.
    pub fn new(interactions: &Csr, options: Options, context: &Context) -> Result<Self> {
        if options.epochs == 0 {
            return Err(Error::InvalidParameter("epochs is 0; it must be at least 1.".into()));
        }
        let mut counts = Vec::new();
        if options.negative_exponent > 0.0 {
            counts.resize(interactions.n_columns(), 0);
            for &item in interactions.columns() {
                counts[item as usize] += 1;
            }
        }
        let weights = counts.into_iter().map(|n| f64::from(count_power(n, options.negative_exponent))).collect();
        let strata = Strata::new(interactions, options.factors, START_SCALE, options.seed, context)?;
        Ok(Self { options, strata, weights })
    }

    /// One round over all interactions; the mean loss of a sample, measured before its step.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let rate = self.options.learning_rate * half_cosine(epoch as f64 / self.options.epochs as f64) as f32;
        let step = Step {
            rate,
            regularization: self.options.regularization,
            bias_regularization: self.options.bias_regularization,
        };
        let width = self.options.factors.next_multiple_of(LANES);
        let weights = &self.weights;
        let cumulate = |order: &[u32]| {
            let mut sum = 0.0;
            let mut sums = Vec::with_capacity(weights.len() + 1);
            if !weights.is_empty() {
                sums.push(0.0);
                sums.extend(order.iter().map(|&item| {
                    sum += weights[item as usize];
                    sum
                }));
            }
            sums
        };
        let learned = std::sync::atomic::AtomicUsize::new(0);
        let work = |triples: &mut Vec<[u32; 3]>, sums: &Vec<f64>, mut cell: Cell<'_>| {
            let mut loss = 0.0;
            let mut counter = 0;
            for samples in cell.samples.chunks(SAMPLES_PER_SLICE) {
                context.cancel.check()?;
                triples.clear();
                for sample in samples {
                    let row = cell.data.row(cell.user_positions[sample.user as usize] as usize);
                    let negative = draw(&mut counter, &cell, sums, row);
                    triples.extend(negative.map(|negative| [sample.user, sample.item, negative]));
                }
                learned.fetch_add(triples.len(), std::sync::atomic::Ordering::Relaxed);
                loss += bpr(context.level, width, step, triples, cell.users.vectors, cell.items.reborrow());
            }
            Ok(loss)
        };
        let loss = self.strata.epoch(epoch, cumulate, Vec::new, work, context)?;
        let loss = loss / learned.into_inner().max(1) as f64;
        self.strata.check(loss, epoch, rate)?;
        Ok(loss)
    }

    /// What has been learned; users have no bias.
    pub fn state(&self) -> State {
        self.strata.state()
    }
}

/// An item of the cell's block that is not in `row`; `None` where none was found.
fn draw(counter: &mut u64, cell: &Cell<'_>, sums: &[f64], row: &[u32]) -> Option<u32> {
    let n = cell.item_positions.len();
    for _ in 0..MAX_DRAWS {
        *counter += 1;
        let found = if sums.is_empty() {
            cell.draws.below(*counter, n as u64) as usize
        } else {
            let own = &sums[cell.item_from..=cell.item_from + n];
            // 53 random bits, exact in f64.
            let share = (cell.draws.u64(*counter) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0);
            let target = own[0] + share * (own[n] - own[0]);
            own[1..].partition_point(|&sum| sum <= target).min(n - 1)
        };
        if row.binary_search(&cell.item_positions[found]).is_err() {
            return Some(found as u32);
        }
    }
    None
}

/// The vector of a bare history into `out` (d + 1 numbers, the last of them 1), for given items (d + 1 numbers each, the last
/// of them the bias): the steps of training with the items held fixed, from zero, 40 rounds with a falling rate. The draws
/// follow from the seed alone, so a history has one vector.
pub fn fold_in(level: Level, history: &[u32], items: &[f32], options: &Options, out: &mut [f32]) {
    let width = out.len();
    let (d, n_items) = (width - 1, items.len() / width);
    let vector = |item: usize| &items[item * width..][..width];
    out.fill(0.0);
    out[d] = 1.0;
    for round in 0..FOLD_IN_ROUNDS {
        let draws = Stream::new(options.seed, FOLD_IN).sub(round as u64);
        let rate = options.learning_rate * half_cosine(round as f64 / FOLD_IN_ROUNDS as f64) as f32;
        let mut counter = 0;
        for &positive in history {
            for _ in 0..MAX_DRAWS {
                counter += 1;
                let negative = draws.below(counter, n_items as u64) as usize;
                if history.binary_search(&(negative as u32)).is_ok() {
                    continue;
                }
                let (positive, negative) = (vector(positive as usize), vector(negative));
                let step = rate * sigmoid(level, dot(level, out, negative) - dot(level, out, positive));
                scale(level, 1.0 - rate * options.regularization, &mut out[..d]);
                axpy(level, step, &positive[..d], &mut out[..d]);
                axpy(level, -step, &negative[..d], &mut out[..d]);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::simd::factor_steps::Block;
    use crate::train::fixtures::interactions;

    fn options() -> Options {
        Options {
            factors: 7,
            epochs: 20,
            learning_rate: 0.1,
            regularization: 0.01,
            bias_regularization: 0.01,
            negative_exponent: 0.0,
            seed: 3,
        }
    }

    /// The items as they are served: the bias is one more factor.
    fn with_biases(state: &State) -> Vec<f32> {
        state.items.chunks_exact(7).zip(&state.item_biases).flat_map(|(q, b)| [q, &[*b]].concat()).collect()
    }

    #[test]
    fn items_of_a_users_taste_come_to_stand_above_the_others() {
        for negative_exponent in [0.0, 0.75] {
            let data = interactions(|_| 1.0);
            let context = Context::new(Some(2)).unwrap();
            let mut trainer = Trainer::new(&data, Options { negative_exponent, ..options() }, &context).unwrap();
            let losses: Vec<f64> = (0..20).map(|epoch| trainer.epoch(epoch, &context).unwrap()).collect();
            assert!(losses[19] < 0.5 * losses[0] && (losses[0] - std::f64::consts::LN_2).abs() < 0.1, "{losses:?}");
            let state = trainer.state();
            let score =
                |p: &[f32], item: usize| dot(Level::Scalar, p, &state.items[item * 7..][..7]) + state.item_biases[item];
            let mean = |p: &[f32], taste: bool, user: usize| {
                let of: Vec<f32> = (0..40).filter(|i| (i % 4 == user % 4) == taste).map(|i| score(p, i)).collect();
                of.iter().sum::<f32>() / of.len() as f32
            };
            for user in 0..8 {
                assert!(
                    mean(&state.users[user * 7..][..7], true, user) > mean(&state.users[user * 7..][..7], false, user)
                );
                let mut folded = [0.0; 8];
                fold_in(Level::Scalar, data.row(user), &with_biases(&state), &options(), &mut folded);
                assert!(mean(&folded[..7], true, user) > mean(&folded[..7], false, user));
            }
        }
    }

    #[test]
    fn threads_and_levels_give_the_same_bits() {
        let data = interactions(|_| 1.0);
        let run = |context: &Context| {
            let mut trainer = Trainer::new(&data, options(), context).unwrap();
            let losses = [0, 1, 2].map(|epoch| trainer.epoch(epoch, context).unwrap().to_bits());
            let state = trainer.state();
            let mut folded = vec![0.0; 8];
            fold_in(context.level, data.row(0), &with_biases(&state), &options(), &mut folded);
            (state.users, state.items, state.item_biases, losses, folded)
        };
        let truth = run(&Context::new(Some(1)).unwrap().with_level(Level::Scalar));
        for threads in [2, 8] {
            for level in Level::available() {
                assert_eq!(run(&Context::new(Some(threads)).unwrap().with_level(level)), truth);
            }
        }
    }

    #[test]
    fn negatives_follow_the_power_of_popularity_and_are_never_had() {
        let positions: Vec<u32> = (0..4).collect();
        let sums = [0.0, 1.0, 3.0, 3.0, 9.0];
        let (mut vectors, mut biases) = (vec![0.0; 64], vec![0.0; 4]);
        let cell = Cell {
            users: Block { vectors: &mut [], biases: &mut [] },
            items: Block { vectors: &mut vectors, biases: &mut biases },
            user_positions: &[],
            item_positions: &positions,
            item_from: 0,
            data: &Csr::empty(0, 0),
            samples: &[],
            draws: Stream::new(1, 1),
        };
        let mut counter = 0;
        let mut counts = [0usize; 4];
        for _ in 0..9000 {
            counts[draw(&mut counter, &cell, &sums, &[]).unwrap() as usize] += 1;
        }
        assert!(counts[2] == 0 && counts[0].abs_diff(1000) < 120 && counts[1].abs_diff(2000) < 150, "{counts:?}");
        assert!((0..50).all(|_| draw(&mut counter, &cell, &[], &[0, 1, 3]) != Some(0)));
        assert_eq!(draw(&mut counter, &cell, &[], &[0, 1, 2, 3]), None);
    }

    #[test]
    fn a_rate_too_high_is_an_error_that_says_so() {
        let data = interactions(|_| 1.0);
        let context = Context::new(Some(1)).unwrap();
        let mut trainer = Trainer::new(&data, Options { learning_rate: 1e20, ..options() }, &context).unwrap();
        let failed = (0..5).find_map(|epoch| trainer.epoch(epoch, &context).err());
        assert!(matches!(failed, Some(Error::Diverged(message)) if message.contains("learning_rate")));
    }
}
