//! A contiguous range of the users, on a worker of their own: the parts of a step of the trainer, with the same bits.
//!
//! A worker holds its users' histories and a copy of all item vectors. Sums over the users of an item are chains over rising
//! users, and so are carried from worker to worker: each goes on where the one before it stopped. The gradient by the
//! negatives is a chain over the users of the batch in the batch's order, which are anybody's; each worker makes it for some of
//! the negatives from all users' vectors, whose exponentials it computes again.
//!
//! A step: where it passes through the graph `to_users`, `carry` and `set_smoothed` for s = B A x; `begin_step`; `batch`;
//! `negatives`; `carry_gradient` and `finish_gradient` for ∂loss/∂v; `hold`; where it passes through the graph `to_users`,
//! `carry` and `set_returned` for r; `update`. `ancf.distributed` says who calls what when.

use super::items::through_unit_vector;
use super::options::Options;
use super::panel::{self, USERS};
use super::trainer::{Buffers, Trainer, USERS_PER_SLICE, purpose};
use crate::data::Csr;
use crate::model::attention::{Attention, propagate_onto};
use crate::model::spectral;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::softmax_panel;
use crate::runtime::simd::sparse::{self, Accumulate, Rows};
use crate::runtime::simd::vector::axpy;
use crate::train::progress::Resumable;
use crate::{Error, Result};

/// Rows of one task.
const ROWS_PER_TASK: usize = 64;
/// Numbers of one task.
const NUMBERS_PER_TASK: usize = 8192;

/// Which weights a product over the graph has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From bare item vectors to s: A, then B.
    Forward,
    /// From the ∂loss/∂v that are held to r: Bᵀ, then Aᵀ.
    Backward,
    /// The start from the spectrum: Ã, then Ãᵀ.
    Spectral,
}

/// What a worker finds of its users in a batch, in the order of the batch.
pub struct BatchUsers {
    /// Their places in the batch.
    pub places: Vec<u32>,
    /// Unit vectors.
    pub vectors: Vec<f32>,
    /// ∂loss/∂score over the exponential.
    pub factors: Vec<f32>,
    /// What was taken from the exponents.
    pub shifts: Vec<f32>,
    /// Of all interactions of each.
    pub losses: Vec<f64>,
}

/// The users of a worker.
pub struct Shard {
    trainer: Trainer,
    first_user: usize,
    /// Users with a history, of all workers.
    active: Vec<u32>,
    /// The users of an epoch in its order, by their places among all users.
    order: Vec<u32>,
    /// Users of the batch that are this worker's, by their places here.
    own: Vec<u32>,
    pair_weight: f32,
    /// Values of Ã in the order of the users and of the items.
    spectral: (Vec<f32>, Vec<f32>),
    /// Numbers of the users, of whatever width was asked for last.
    users: Vec<f32>,
}

impl Shard {
    /// The users from `first_user` on, whose histories are the rows of `interactions`. `counts` are the users of each item,
    /// and `active` the users with a history, of all workers.
    pub fn new(
        interactions: &Csr,
        first_user: usize,
        counts: &[usize],
        active: Vec<u32>,
        options: Options,
    ) -> Result<Self> {
        options.check()?;
        if counts.len() != interactions.n_columns() || active.is_empty() {
            return Err(Error::InvalidData(
                "a shard needs the users of every item, and somebody with a history.".into(),
            ));
        }
        let (prior, exponent) = (options.prior, options.attention_exponent);
        let attention = Attention::of_shard(interactions, counts, prior, exponent, options.item_attention)?;
        let spectral = spectral::weights(&attention.users, &attention.items, counts);
        let n_numbers = counts.len() * options.factors;
        let trainer = Trainer::from_parts(options, attention, counts, vec![0.0; n_numbers], active.len());
        Ok(Self {
            trainer,
            first_user,
            active,
            order: Vec::new(),
            own: Vec::new(),
            pair_weight: 0.0,
            spectral,
            users: Vec::new(),
        })
    }

    /// Numbers in a vector.
    pub fn factors(&self) -> usize {
        self.trainer.options.factors
    }

    /// Adds to each item the priors of its users here: what its users weigh is divided by a power of that.
    pub fn carry_item_sums(&self, sums: &mut [f64]) {
        self.trainer.attention.carry_item_sums(self.trainer.options.prior, sums);
    }

    /// Takes these sums over all users.
    pub fn set_item_sums(&mut self, sums: &[f64]) {
        let Options { prior, attention_exponent, .. } = self.trainer.options;
        self.trainer.attention.set_item_sums(prior, attention_exponent, sums);
    }

    /// Begins an epoch; of each of its steps the interactions of the users here.
    pub fn begin_epoch(&mut self, epoch: usize) -> Vec<u64> {
        let seed = self.trainer.options.seed;
        self.order = Stream::new(seed, purpose::ORDER).sub(epoch as u64).permutation(self.active.len());
        for at in &mut self.order {
            *at = self.active[*at as usize];
        }
        let pairs =
            |batch: &[u32]| batch.iter().filter_map(|&user| self.row_of(user)).map(|row| self.length(row)).sum();
        self.order.chunks(self.batch_size()).map(pairs).collect()
    }

    /// Users of a step, of all workers.
    pub fn batch_size(&self) -> usize {
        super::trainer::batch_size(&self.trainer.options, self.active.len())
    }

    fn row_of(&self, user: u32) -> Option<u32> {
        let row = (user as usize).checked_sub(self.first_user)?;
        (row < self.trainer.attention.users.n_rows()).then_some(row as u32)
    }

    fn length(&self, row: u32) -> u64 {
        self.trainer.attention.users.row(row as usize).len() as u64
    }

    /// Numbers of each user here: the weighted sum over the history of rows of `table`, or of those that the way is for.
    pub fn to_users(&mut self, way: Way, table: Option<&[f32]>, width: usize, context: &Context) {
        let Self { trainer: Trainer { attention, graph, x, .. }, spectral, users, .. } = self;
        let values = match way {
            Way::Forward => &attention.a_by_user,
            Way::Backward => &attention.b_by_user,
            Way::Spectral => &spectral.0,
        };
        users.resize(attention.users.n_rows() * width, 0.0);
        let own = if way == Way::Backward { &graph.pending } else { x };
        let table = table.unwrap_or(own);
        propagate_onto(context, width, &attention.users, values, table, Accumulate::Zero, users);
    }

    /// Adds to rows of items, the `first`-th and those after it, the weighted sums over their users here.
    pub fn carry(&self, way: Way, first: usize, width: usize, rows: &mut [f32], context: &Context) {
        let attention = &self.trainer.attention;
        let values = match way {
            Way::Forward => &attention.b_by_item,
            Way::Backward => &attention.a_by_item,
            Way::Spectral => &self.spectral.1,
        };
        let (offsets, columns) = (attention.items.offsets(), attention.items.columns());
        let (users, level) = (&self.users, context.level);
        context.for_each_task(
            rows.chunks_mut(width * ROWS_PER_TASK).enumerate(),
            || (),
            |(), (task, rows)| {
                let first = first + task * ROWS_PER_TASK;
                let offsets = &offsets[first..=first + rows.len() / width];
                let pattern = Rows { offsets, columns, values };
                sparse::multiply(level, width, pattern, users, Accumulate::Itself, rows);
            },
        );
    }

    /// Goes on with the products of the users' numbers that the spectrum is found by: `part` is the chunk of rows that is not
    /// full yet, `sum` that of the full ones.
    pub fn carry_gram(&self, width: usize, part: &mut [f32], sum: &mut [f64], n_users: usize, context: &Context) {
        spectral::carry_gram(&self.users, width, self.first_user, n_users, part, sum, context);
    }

    /// Bare item vectors as they stand.
    pub fn bare(&self) -> &[f32] {
        &self.trainer.x
    }

    /// Takes s.
    pub fn set_smoothed(&mut self, s: &[f32]) {
        self.trainer.graph.smoothed.copy_from_slice(s);
    }

    /// Makes v of the bare vectors and s, and draws the negatives of the next step.
    pub fn begin_step(&mut self, context: &Context) {
        let draws = Stream::new(self.trainer.options.seed, purpose::NEGATIVES).sub(self.trainer.steps);
        self.trainer.draw_negatives(draws, context);
        self.trainer.vectors(context);
        self.trainer.unit_negatives(context);
    }

    /// Takes v for validation, and draws its negatives.
    pub fn begin_validation(&mut self, v: &[f32], context: &Context) {
        let draws = Stream::new(self.trainer.options.seed, purpose::VALIDATION);
        self.trainer.draw_negatives(draws, context);
        self.trainer.buffers.v.copy_from_slice(v);
        self.trainer.invert_norms(context);
        self.trainer.unit_negatives(context);
    }

    /// The users here of a step of the epoch; `n_pairs` are the interactions of all users of the step.
    pub fn batch(&mut self, step: usize, n_pairs: u64, context: &Context) -> BatchUsers {
        let size = self.batch_size();
        let batch = self.order.chunks(size).nth(step).unwrap_or_default();
        let mut found = BatchUsers {
            places: Vec::new(),
            vectors: Vec::new(),
            factors: Vec::new(),
            shifts: Vec::new(),
            losses: Vec::new(),
        };
        let mut own = Vec::new();
        for (place, &user) in batch.iter().enumerate() {
            if let Some(row) = self.row_of(user) {
                own.push(row);
                found.places.push(place as u32);
            }
        }
        self.own = own;
        self.pair_weight = 1.0 / (n_pairs as f32 * self.trainer.options.temperature);
        for (slice, users) in self.own.chunks(USERS_PER_SLICE).enumerate() {
            self.trainer.user_gradients(users, slice * USERS_PER_SLICE, self.pair_weight, context);
            let b = &self.trainer.buffers;
            found.factors.extend_from_slice(&b.factors[..users.len()]);
            found.shifts.extend_from_slice(&b.shifts[..users.len()]);
            found.losses.extend_from_slice(&b.losses[..users.len()]);
        }
        found.vectors.extend_from_slice(&self.trainer.buffers.p[..self.own.len() * self.factors()]);
        found
    }

    /// Rows `from..to` of the gradient by the negatives' unit vectors, of all users of the batch in its order: their unit
    /// vectors, factors and shifts.
    pub fn negatives(
        &self,
        from: usize,
        to: usize,
        vectors: &[f32],
        factors: &[f32],
        shifts: &[f32],
        context: &Context,
    ) -> Vec<f32> {
        let (d, level) = (self.factors(), context.level);
        let slope = 1.0 / self.trainer.options.temperature;
        let b = &self.trainer.buffers;
        let to = to.min(b.negatives.len());
        let from = from.min(to);
        let n_panels = factors.len().div_ceil(USERS);
        let mut packs = vec![0.0; n_panels * USERS * d];
        let mut scaled = vec![0.0; n_panels * USERS * d];
        for ((pack, scaled), (vectors, factors)) in packs
            .chunks_exact_mut(USERS * d)
            .zip(scaled.chunks_exact_mut(USERS * d))
            .zip(vectors.chunks(USERS * d).zip(factors.chunks(USERS)))
        {
            panel::pack(vectors, d, pack);
            for (at, &factor) in factors.iter().enumerate() {
                axpy(level, factor, &vectors[at * d..][..d], &mut scaled[at * d..][..d]);
            }
        }
        let mut dq = vec![0.0; (to - from) * d];
        context.for_each_task(
            dq.chunks_mut(panel::NEGATIVES * d).enumerate(),
            || (),
            |(), (task, dq)| {
                let first = from + task * panel::NEGATIVES;
                let n = dq.len() / d;
                let (q, log_weights) = (&b.q[first * d..][..n * d], &self.trainer.log_weights[first..][..n]);
                let mut exponentials = vec![0.0; n * USERS];
                for ((pack, scaled), of_users) in
                    packs.chunks_exact(USERS * d).zip(scaled.chunks_exact(USERS * d)).zip(shifts.chunks(USERS))
                {
                    let (mut lanes, mut sums) = ([of_users[0]; USERS], [0.0; USERS]);
                    lanes[..of_users.len()].copy_from_slice(of_users);
                    multiply(level, &mut exponentials, USERS, View::rows(q, d), 0, pack, d);
                    softmax_panel::exponentials(level, &mut exponentials, log_weights, slope, &lanes, &mut sums);
                    multiply_add(level, dq, d, View::rows(&exponentials, USERS), 0, scaled, USERS);
                }
            },
        );
        dq
    }

    /// Adds to ∂loss/∂v and ∂loss/∂q̂ of items, the `first`-th and those after it, what their users here in the batch say.
    pub fn carry_gradient(&mut self, first: usize, dv: &mut [f32], unit: &mut [f32], context: &Context) {
        let d = self.factors();
        let Self { trainer, own, pair_weight, .. } = self;
        trainer.with_places(own, |trainer| {
            let said = trainer.said(*pair_weight, context.level);
            let width = d * ROWS_PER_TASK;
            context.for_each_task(
                dv.chunks_mut(width).zip(unit.chunks_mut(width)).enumerate(),
                || (),
                |(), (task, rows)| {
                    for (at, (dv, unit)) in rows.0.chunks_exact_mut(d).zip(rows.1.chunks_exact_mut(d)).enumerate() {
                        said.item_sums(first + task * ROWS_PER_TASK + at, dv, unit);
                    }
                },
            );
        });
    }

    /// Makes ∂loss/∂v whole: `unit` with the gradient by the negatives, `dq`, through the unit vectors.
    pub fn finish_gradient(&self, first: usize, dv: &mut [f32], unit: &mut [f32], dq: &[f32], context: &Context) {
        let (d, level) = (self.factors(), context.level);
        let Buffers { negatives, v, inverse_norms, .. } = &self.trainer.buffers;
        let width = d * ROWS_PER_TASK;
        context.for_each_task(
            dv.chunks_mut(width).zip(unit.chunks_mut(width)).enumerate(),
            || (),
            |(), (task, rows)| {
                for (at, (dv, unit)) in rows.0.chunks_exact_mut(d).zip(rows.1.chunks_exact_mut(d)).enumerate() {
                    let item = first + task * ROWS_PER_TASK + at;
                    let from = negatives.partition_point(|&negative| (negative as usize) < item);
                    let drawn = negatives[from..].iter().take_while(|&&negative| negative as usize == item).count();
                    let (v, drawn) = (&v[item * d..][..d], &dq[from * d..(from + drawn) * d]);
                    through_unit_vector(level, v, inverse_norms[item], drawn, dv, unit);
                }
            },
        );
    }

    /// Takes ∂loss/∂v of a step of the epoch.
    pub fn hold(&mut self, step: usize, dv: &[f32], context: &Context) {
        let Trainer { graph, buffers, .. } = &mut self.trainer;
        buffers.dv.copy_from_slice(dv);
        let hold = graph.hold(step);
        let tasks = graph.pending.chunks_mut(NUMBERS_PER_TASK).zip(dv.chunks(NUMBERS_PER_TASK));
        context.for_each_task(tasks, || (), |(), (pending, dv)| hold.rows(dv, pending));
    }

    /// Takes r.
    pub fn set_returned(&mut self, r: &[f32]) {
        self.trainer.graph.returned.copy_from_slice(r);
    }

    /// A step of the optimizer by ∂loss/∂x, of the ∂loss/∂v that was taken last and r.
    pub fn update(&mut self, context: &Context) {
        let decay = self.trainer.decay(self.active.len(), self.batch_size());
        self.trainer.update(decay, false, context);
    }

    /// Refuses numbers that training has lost.
    pub fn check(&self, loss: f64, epoch: usize, context: &Context) -> Result<()> {
        self.trainer.check(loss, epoch, context)
    }

    /// The losses of held-out pairs (the users here × items), by the users who have some: one number each.
    pub fn validation(&mut self, targets: &Csr, context: &Context) -> Result<Vec<f64>> {
        let users = self.trainer.validated(targets)?;
        let mut losses = Vec::with_capacity(users.len());
        for users in users.chunks(USERS_PER_SLICE) {
            context.cancel.check()?;
            self.trainer.validation_slice(targets, users, context);
            losses.extend_from_slice(&self.trainer.buffers.losses[..users.len()]);
        }
        Ok(losses)
    }
}

impl Resumable for Shard {
    fn numbers(&mut self, context: &Context) -> Vec<(String, &mut [f32])> {
        self.trainer.numbers(context)
    }

    fn steps(&mut self) -> Option<&mut u64> {
        self.trainer.steps()
    }
}

/// Users of a slice, whose losses are added up before they are added to those of others.
pub const fn users_per_slice() -> usize {
    USERS_PER_SLICE
}
