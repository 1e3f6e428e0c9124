//! The epochs of training: batches of pairs in a random order with fresh negatives, or of users with their whole histories.
//!
//! Counter-based: what is drawn for sample s of epoch e is a function of (seed, e, s) alone.

use super::batch::Batch;
use super::model::{Network, UserDropout};
use super::options::{Loss, Optimizer};
use super::parameters::purpose;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::{count_power, ln};
use crate::train::progress::Resumable;
use crate::train::schedule::half_cosine;
use crate::{Error, Result};

/// How many negatives are drawn at most until one is new to the user.
const MAX_ATTEMPTS: u64 = 16;

/// Options of the epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// Epochs over which the learning rate decays; `None` keeps it.
    pub decay_epochs: Option<usize>,
    /// Pairs of a step; with the softmax, users.
    pub batch_size: usize,
    /// Negatives of each positive, or of a step with the softmax.
    pub negatives: usize,
    /// α, the power of popularity by which they are drawn.
    pub negative_exponent: f32,
    /// The part of the users whose own vector is left out of a step.
    pub user_dropout: f32,
}

/// A network with the pairs that it learns from.
pub struct Trainer {
    /// The model.
    pub network: Network,
    pairs: Csr,
    users: Vec<u32>,
    active: Vec<u32>,
    options: TrainingOptions,
    /// Cumulative n^α for drawing.
    cumulative: Vec<f64>,
    /// With the softmax and a small catalogue: all items, and their log n^α.
    catalogue: Option<(Vec<u32>, Vec<f32>)>,
    batch: Batch,
}

impl Resumable for Trainer {
    fn numbers(&mut self, _: &Context) -> Vec<(String, &mut [f32])> {
        let optimizer = self.network.options.optimizer;
        let mut found: Vec<(String, &mut [f32])> = Vec::new();
        for table in self.network.parameters.tables_mut() {
            let name = table.name;
            found.push((name.into(), &mut *table.values));
            if optimizer == Optimizer::Adam {
                found.push((format!("{name}: first moments"), &mut *table.first));
            }
            if optimizer != Optimizer::Sgd {
                found.push((format!("{name}: second moments"), &mut *table.second));
            }
        }
        found
    }

    fn steps(&mut self) -> Option<&mut u64> {
        Some(&mut self.network.steps)
    }
}

impl Trainer {
    /// Learns from `pairs` (users × items); its values are the targets of `mse`, and not read by other losses.
    pub fn new(network: Network, pairs: Csr, options: TrainingOptions) -> Result<Self> {
        let bad = |name: &str, value: &dyn std::fmt::Display, must: &str| {
            Err(Error::InvalidParameter(format!("{name} is {value}; it must be {must}.")))
        };
        if pairs.is_empty() {
            return Err(Error::InvalidData("there is no interaction to learn from.".into()));
        }
        if pairs.n_rows() != network.n_users || pairs.n_columns() != network.n_items {
            return Err(Error::InvalidData(format!(
                "pairs are {} × {}; the model has {} users × {} items.",
                pairs.n_rows(),
                pairs.n_columns(),
                network.n_users,
                network.n_items
            )));
        }
        match &options {
            s if s.batch_size == 0 => return bad("batch_size", &0, "at least 1"),
            s if s.negatives == 0 => return bad("negatives", &0, "at least 1"),
            s if !(0.0..=2.0).contains(&s.negative_exponent) => {
                return bad("negative_exponent", &s.negative_exponent, "between 0 and 2");
            }
            s if !(0.0..1.0).contains(&s.user_dropout) => {
                return bad("user_dropout", &s.user_dropout, "at least 0 and below 1");
            }
            _ => {}
        }
        let mut counts = vec![0usize; pairs.n_columns()];
        for &item in pairs.columns() {
            counts[item as usize] += 1;
        }
        let mut sum = 0.0;
        let weigh = |&n: &usize| {
            sum += if n == 0 { 0.0 } else { f64::from(count_power(n, options.negative_exponent)) };
            sum
        };
        let cumulative = counts.iter().map(weigh).collect();
        let whole = network.options.loss == Loss::Softmax && counts.len() <= options.negatives;
        let catalogue = whole.then(|| {
            let alpha = f64::from(options.negative_exponent);
            let log = |&n: &usize| (ln(n.max(1) as f64) * alpha) as f32;
            ((0..counts.len() as u32).collect(), counts.iter().map(log).collect())
        });
        let rows = 0..pairs.n_rows() as u32;
        let users = rows.clone().flat_map(|u| std::iter::repeat_n(u, pairs.row(u as usize).len())).collect();
        let active = rows.filter(|&u| !pairs.row(u as usize).is_empty()).collect();
        let batch = Batch::default();
        Ok(Self { network, pairs, users, active, options, cumulative, catalogue, batch })
    }

    /// Samples of an epoch: pairs; with the softmax, users.
    fn n_samples(&self) -> usize {
        if self.by_user() { self.active.len() } else { self.users.len() }
    }

    fn by_user(&self) -> bool {
        self.network.options.loss == Loss::Softmax
    }

    /// One pass over all pairs in a random order; the mean loss.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let seed = self.network.options.seed;
        let order = Stream::new(seed, purpose::ORDER).sub(epoch as u64).permutation(self.n_samples());
        let negatives = Stream::new(seed, purpose::NEGATIVES).sub(epoch as u64);
        let steps_per_epoch = order.len().div_ceil(self.options.batch_size);
        let total_steps = self.options.decay_epochs.map(|epochs| (epochs * steps_per_epoch) as f64);
        let (mut loss, mut count) = (0.0, 0);
        for (at, samples) in order.chunks(self.options.batch_size).enumerate() {
            context.cancel.check()?;
            let mut batch = std::mem::take(&mut self.batch);
            self.fill_batch(&mut batch, samples, at * self.options.batch_size, negatives);
            let decay = total_steps.map_or(1.0, |total| half_cosine(self.network.steps as f64 / total) as f32);
            let dropout = UserDropout {
                draws: Stream::new(seed, purpose::DROPOUT).sub(self.network.steps),
                rate: self.options.user_dropout,
            };
            let batch_loss = self.network.forward_backward(&batch, dropout, context);
            if !batch_loss.is_finite() {
                return Err(self.network.diverged(batch_loss, Some(epoch)));
            }
            self.network.update(decay, context);
            let pairs = batch.users.len() / batch.group;
            loss += batch_loss * pairs as f64;
            count += pairs;
            self.batch = batch;
        }
        if let Some(name) = self.network.parameters.first_not_finite() {
            return Err(Error::Diverged(format!(
                "{name} left the finite numbers in epoch {} at learning rate {}; try a smaller learning_rate.",
                epoch + 1,
                self.network.options.learning_rate
            )));
        }
        Ok(loss / count as f64)
    }

    /// The mean loss of held-out pairs with the negatives of one fixed draw, so that epochs can be compared.
    pub fn validation_loss(&mut self, targets: &Csr, context: &Context) -> Result<f64> {
        const PAIRS_AT_ONCE: usize = 16_384;
        if targets.n_rows() != self.pairs.n_rows() || targets.n_columns() != self.pairs.n_columns() {
            return Err(Error::InvalidData("validation pairs must be over the users and items of training.".into()));
        }
        let draws = Stream::new(self.network.options.seed, purpose::VALIDATION);
        self.network.aggregate_users(UserDropout::NONE, context);
        let (mut loss, mut count, mut user) = (0.0, 0, 0);
        let mut batch = Batch::default();
        while user < targets.n_rows() {
            context.cancel.check()?;
            let from = user;
            let begin = targets.offsets()[from];
            while user < targets.n_rows() && (user == from || targets.offsets()[user + 1] - begin <= PAIRS_AT_ONCE) {
                user += 1;
            }
            let pairs = (from..user)
                .flat_map(|u| targets.row(u).iter().zip(targets.row_values(u)).map(move |(&i, &y)| (u as u32, i, y)));
            self.fill(&mut batch, pairs, begin as u64, draws);
            if !batch.users.is_empty() {
                let pairs = batch.users.len() / batch.group;
                loss += self.network.batch_loss(&batch, context) * pairs as f64;
                count += pairs;
            }
        }
        Ok(loss / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX)))
    }

    /// The batch of these samples; `first` is the number of the first of them in its epoch.
    pub(super) fn fill_batch(&self, batch: &mut Batch, samples: &[u32], first: usize, draws: Stream) {
        let (pairs, users) = (&self.pairs, &self.users);
        if self.by_user() {
            let of_users = samples.iter().flat_map(|&sample| {
                let user = self.active[sample as usize];
                let history = pairs.row(user as usize).iter().zip(pairs.row_values(user as usize));
                history.map(move |(&item, &target)| (user, item, target))
            });
            self.fill(batch, of_users, first as u64, draws);
        } else {
            let each = samples.iter().map(|&sample| {
                let at = sample as usize;
                (users[at], pairs.columns()[at], pairs.values()[at])
            });
            self.fill(batch, each, first as u64, draws);
        }
    }

    /// Puts positives into a batch, with the targets or negatives that the loss needs.
    fn fill(&self, batch: &mut Batch, pairs: impl Iterator<Item = (u32, u32, f32)>, first: u64, draws: Stream) {
        let loss = self.network.options.loss;
        let n = self.options.negatives;
        for list in [&mut batch.users, &mut batch.items, &mut batch.negatives] {
            list.clear();
        }
        batch.targets.clear();
        batch.log_weights.clear();
        batch.group = if loss == Loss::Bpr { 1 + n } else { 1 };
        for (at, (user, item, target)) in pairs.enumerate() {
            batch.users.push(user);
            batch.items.push(item);
            match loss {
                Loss::Mse => batch.targets.push(target),
                Loss::Bce => batch.targets.push(1.0),
                Loss::Bpr | Loss::Softmax => {}
            }
            if matches!(loss, Loss::Bce | Loss::Bpr) {
                let draws = draws.sub(first + at as u64);
                for of_pair in 0..n as u64 {
                    match self.negative(user, draws, of_pair) {
                        Some(negative) => batch.items.push(negative),
                        // A user with every item has no negative; a pair against itself has no gradient.
                        None if loss == Loss::Bpr => batch.items.push(item),
                        None => continue,
                    }
                    batch.users.push(user);
                    if loss == Loss::Bce {
                        batch.targets.push(0.0);
                    }
                }
            }
        }
        if loss == Loss::Softmax {
            if let Some((items, log_weights)) = &self.catalogue {
                batch.negatives.extend_from_slice(items);
                batch.log_weights.extend_from_slice(log_weights);
            } else {
                let draws = draws.sub(first);
                batch.negatives.extend((0..n as u64).map(|at| self.draw(draws, at)));
                batch.negatives.sort_unstable();
            }
        }
    }

    /// An item with probability ∝ n^α.
    fn draw(&self, draws: Stream, counter: u64) -> u32 {
        let total = self.cumulative[self.cumulative.len() - 1];
        // 53 random bits, exact in f64.
        let target = (draws.u64(counter) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0) * total;
        self.cumulative.partition_point(|&sum| sum <= target) as u32
    }

    /// The same among what a user does not have.
    fn negative(&self, user: u32, draws: Stream, number: u64) -> Option<u32> {
        let history = self.pairs.row(user as usize);
        (0..MAX_ATTEMPTS)
            .map(|attempt| self.draw(draws, number * MAX_ATTEMPTS + attempt))
            .find(|item| history.binary_search(item).is_err())
    }
}
