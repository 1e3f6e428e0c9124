//! The general model: every option of `ancf.reference`, trained by mini-batches.
//!
//! `ancf.reference` (float64 NumPy) is the specification of what is computed here in f32. A batch is laid out first
//! ([`layout`]: pairs by user, readers by item), and then runs through passes forward and back:
//!
//! 1. items take in their users (`Network::take_in_users`);
//! 2. queries ([`queries`]);
//! 3. attention over histories ([`history`]);
//! 4. features and scores ([`head`], [`shared`]);
//! 5. the loss ([`loss`]), and the same in reverse ([`step`]);
//! 6. a step ([`optimizer`]).
//!
//! [`sample`] makes the batches of an epoch.
//!
//! Same bits for every thread count and SIMD level: each sum has one owner and a fixed order.

#![allow(missing_docs, reason = "fields of buffers and parameters carry the names of the formulas")]

mod head;
mod history;
mod layout;
mod loss;
mod optimizer;
mod options;
mod parameters;
mod predict;
mod queries;
mod sample;
mod shared;
mod step;
#[cfg(test)]
mod tests;

use crate::data::Csr;
use crate::model::attention::{Attention, propagate};
use crate::model::spectral;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::ln;
use crate::{Error, Result};

use head::Features;
pub use history::history_weights;
use history::{Histories, Rows};
pub use layout::Input;
use layout::Layout;
use optimizer::Saved;
pub use options::{Head, Loss, Optimizer, Options, Weighing};
use parameters::Lined;
pub use parameters::{Parameters, Table};
pub use predict::Work;
use queries::Queries;
pub use sample::{Schedule, Training};
use shared::Shared;

/// A model in training.
pub struct Network {
    options: Options,
    n_users: usize,
    n_items: usize,
    histories: Histories,
    /// Everything that is learned.
    pub parameters: Parameters,
    steps: u64,
    saved: Saved,
    buffers: Buffers,
    /// Entries of the longest history.
    longest: usize,
    /// The state of the parameters (see [`Parameters::changes`]) whose item vectors with all users `buffers.v` holds.
    taken_in: Option<u64>,
}

/// All memory of a step, kept from one to the next.
#[derive(Default)]
struct Buffers {
    layout: Layout,
    /// Users × d: z as it counts, p⁰, and its gradient.
    users: Vec<f32>,
    v: Vec<f32>,
    z: Vec<f32>,
    dz: Vec<f32>,
    dv: Vec<f32>,
    dx: Vec<f32>,
    ds: Vec<f32>,
    dy: Vec<f32>,
    places: Vec<u32>,
    /// Sums for sharpness and layer.
    totals: Vec<f32>,
    targets: Vec<f32>,
    log_weights: Vec<f32>,
    candidate_slopes: Vec<f32>,
    ones: Vec<f32>,
    rows: Rows,
    queries: Queries,
    features: Features,
    shared: Shared,
}

/// Which users' own vectors count: all, or all but a random part.
#[derive(Clone, Copy)]
struct Kept {
    draws: Stream,
    dropped: f32,
}

impl Kept {
    const ALL: Self = Self { draws: Stream::new(0, 0), dropped: 0.0 };

    fn keeps(self, user: u32) -> bool {
        self.dropped == 0.0 || self.draws.f32(u64::from(user)) >= self.dropped
    }
}

impl Network {
    /// Checks the options, weighs the histories and lays the start.
    ///
    /// `history` is users × items; where logits are learned its values are w (above 0, used with `use_weights`), and
    /// `ages` days, one for each entry.
    pub fn new(history: &Csr, use_weights: bool, ages: Option<Vec<f32>>, options: Options) -> Result<Self> {
        options.check()?;
        let bad = |message: String| Err(Error::InvalidData(message));
        let (n_users, n_items) = (history.n_rows(), history.n_columns());
        if n_users == 0 || n_items == 0 {
            return bad(format!("{n_users} users and {n_items} items; there must be at least one of each."));
        }
        let attention = Attention::new(history, options.weighing.prior(), options.attention_exponent, false)?;
        let mut base = Vec::new();
        if options.weighing.learns() {
            let prior: Vec<f32> = attention.item_priors.iter().map(|&r| ln(f64::from(r)) as f32).collect();
            base.extend(history.columns().iter().map(|&item| prior[item as usize]));
            if use_weights {
                if let Some(at) = history.values().iter().position(|&w| w <= 0.0) {
                    return bad(format!(
                        "use_weights takes the logarithm of the weights; that of entry {at} is {}. Leave returns out.",
                        history.values()[at]
                    ));
                }
                for (logit, &weight) in base.iter_mut().zip(history.values()) {
                    *logit += ln(f64::from(weight)) as f32;
                }
            }
        } else if use_weights {
            return Err(Error::InvalidParameter(
                "use_weights needs attention=\"learned\" or \"target\", whose logits it is a part of.".into(),
            ));
        }
        let ages = if options.half_life.is_some() { ages.unwrap_or_default() } else { Vec::new() };
        if options.half_life.is_some() && ages.len() != history.len() {
            return bad(format!("half_life needs the age of every entry: {} ages for {}.", ages.len(), history.len()));
        }
        if let Some(at) = ages.iter().position(|age| !age.is_finite()) {
            return bad(format!("the age of entry {at} is {}; it must be finite.", ages[at]));
        }
        let histories =
            Histories { attention, weighing: options.weighing, exponent: options.attention_exponent, base, ages };
        let parameters = Parameters::new(n_users, n_items, &options);
        let buffers = Buffers {
            layout: Layout::new(n_users, n_items),
            ones: vec![1.0; 2 * options.factors],
            v: vec![0.0; if options.item_attention { n_items * options.factors } else { 0 }],
            ..Buffers::default()
        };
        let longest = (0..n_users).map(|user| history.row(user).len()).max().unwrap_or_default();
        let saved = Saved::default();
        Ok(Self { options, n_users, n_items, histories, parameters, steps: 0, saved, buffers, longest, taken_in: None })
    }

    /// Puts the spectrum of the interactions in place of random item vectors.
    pub fn spectral_start(&mut self, interactions: &Csr, context: &Context) -> Result<()> {
        let draws = Stream::new(self.options.seed, parameters::purpose::ITEMS);
        let vectors = spectral::item_vectors(interactions, self.options.factors, draws, context)?;
        self.parameters.item_factors.values = Lined::from(&*vectors);
        self.taken_in = None;
        Ok(())
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The mean loss of a batch and, in the tables, its gradient.
    pub fn gradient(&mut self, input: &Input, context: &Context) -> Result<f64> {
        self.check_input(input)?;
        Ok(self.learn(input, Kept::ALL, context))
    }

    /// One step of the optimizer; the mean loss before it. A step out of the finite numbers is not taken.
    pub fn step(&mut self, input: &Input, context: &Context) -> Result<f64> {
        let loss = self.gradient(input, context)?;
        if !loss.is_finite() {
            return Err(self.diverged(loss, None));
        }
        self.saved.take(&self.parameters);
        self.update(1.0, context);
        if let Some(name) = self.saved.undo_if_broken(&mut self.parameters) {
            self.steps -= 1;
            return Err(Error::Diverged(format!(
                "{name} would leave the finite numbers in step {} at learning rate {}; try a smaller learning_rate.",
                self.steps + 1,
                self.options.learning_rate
            )));
        }
        Ok(loss)
    }

    /// Item vectors v as they stand, `n_items` × d.
    pub fn item_vectors(&mut self, context: &Context) -> Vec<f32> {
        self.take_in_users(Kept::ALL, context);
        if self.options.item_attention { self.buffers.v.clone() } else { self.parameters.item_factors.values.to_vec() }
    }

    /// Item vectors v, user vectors p of the training histories (unit with the cosine), and the attention weights of all
    /// entries. Not for target attention, whose users differ from candidate to candidate.
    pub fn vectors(&mut self, context: &Context) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let all = Input {
            users: (0..self.n_users as u32).collect(),
            items: vec![0; self.n_users],
            group: 1,
            ..Input::default()
        };
        let items = self.item_vectors(context);
        self.forward(&all, Kept::ALL, false, context);
        let rows = &self.buffers.rows;
        (items, rows.p.clone(), rows.a.clone())
    }

    fn diverged(&self, loss: f64, epoch: Option<usize>) -> Error {
        let place = epoch.map_or_else(|| format!("step {}", self.steps + 1), |epoch| format!("epoch {}", epoch + 1));
        Error::Diverged(format!(
            "the training loss became {loss} in {place} at learning rate {}; try a smaller learning_rate.",
            self.options.learning_rate
        ))
    }

    fn update(&mut self, fall: f32, context: &Context) {
        self.steps += 1;
        optimizer::update(context, &self.options, &mut self.parameters, self.steps, fall);
    }

    /// Pass 1: v = x + B (z + A⁰ x), where items take in their users. It goes through all histories, so once for each state
    /// of the parameters.
    fn take_in_users(&mut self, kept: Kept, context: &Context) {
        let state = (kept.dropped == 0.0).then_some(self.parameters.changes());
        if !self.options.item_attention || (state.is_some() && self.taken_in == state) {
            return;
        }
        self.taken_in = state;
        let d = self.options.factors;
        let Self { histories, parameters, buffers: b, n_users, .. } = self;
        b.users.clear();
        b.users.resize(*n_users * d, 0.0);
        if self.options.user_factors {
            b.users.copy_from_slice(&parameters.user_factors.values);
            for (user, z) in b.users.chunks_exact_mut(d).enumerate() {
                if !kept.keeps(user as u32) {
                    z.fill(0.0);
                }
            }
        }
        let attention = &histories.attention;
        let x = &parameters.item_factors.values;
        if histories.count() {
            propagate(context, d, &attention.users, &attention.a_by_user, x, &mut b.users);
        }
        b.v.copy_from_slice(x);
        propagate(context, d, &attention.items, &attention.b_by_item, &b.users, &mut b.v);
    }
}
