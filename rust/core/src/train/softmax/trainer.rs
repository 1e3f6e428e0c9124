//! The state of the softmax trainer: bare item vectors, what the optimizer keeps of them, and the buffers of a step.

use std::time::Instant;

use super::graph::Graph;
use super::options::Options;
use super::panel;
use crate::data::Csr;
use crate::model::attention::Attention;
use crate::model::spectral;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::{count_power, ln, scale};
use crate::train::phase_times::{Phase, PhaseTimes};
use crate::train::progress::Resumable;
use crate::{Error, Result};

/// Streams of random numbers, by purpose.
pub(super) mod purpose {
    pub const START: u64 = 1;
    pub const ORDER: u64 = 2;
    pub const NEGATIVES: u64 = 3;
    pub const VALIDATION: u64 = 4;
}

/// Users whose exponentials are in memory at a time (16 MiB with 4,096 negatives); whole panels.
pub(super) const USERS_PER_SLICE: usize = 21 * panel::USERS;
/// Negatives that one task draws.
const DRAWS_PER_TASK: usize = 512;
/// Items of one task.
pub(super) const ITEMS_PER_TASK: usize = 120;
/// A vector with a smaller norm has no direction.
pub(super) const MIN_NORM: f32 = 1e-12;

/// Users of one step, of `n_active` that have a history.
pub(super) fn batch_size(options: &Options, n_active: usize) -> usize {
    options.batch_size.unwrap_or_else(|| n_active.div_ceil(30).max(256)).min(n_active)
}

/// Random item vectors (`n_items` × d) with a mean squared length of one.
pub fn random_start(n_items: usize, d: usize, draws: Stream) -> Vec<f32> {
    let scale = 1.0 / (d as f32).sqrt();
    (0..n_items * d).map(|i| scale * draws.normal(i as u64)).collect()
}

/// A model in training: bare item vectors, their optimizer state, and the buffers of a step.
pub struct Trainer {
    pub(super) options: Options,
    pub(super) attention: Attention,
    /// Users with a history.
    pub(super) active: Vec<u32>,
    /// Cumulative n^α for drawing, or empty where the whole catalogue is the set of negatives.
    pub(super) cumulative: Vec<f64>,
    pub(super) log_weights: Vec<f32>,
    /// Bare item vectors, the only parameters, and Adam's moments of them.
    pub(super) x: Vec<f32>,
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
    pub(super) steps: u64,
    pub(super) buffers: Buffers,
    pub(super) graph: Graph,
    pub(super) phase_times: PhaseTimes,
}

/// The buffers of a step, allocated once.
pub(super) struct Buffers {
    pub(super) users: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) inverse_norms: Vec<f32>,
    /// Gradient by item vectors v, then by bare ones.
    pub(super) dv: Vec<f32>,
    /// Items, ascending: the whole catalogue, or those drawn for the step.
    pub(super) negatives: Vec<u32>,
    /// Their unit vectors, and the gradient by these.
    pub(super) q: Vec<f32>,
    pub(super) dq: Vec<f32>,
    /// Position of a user in the batch, or `u32::MAX`.
    pub(super) places: Vec<u32>,
    /// Users of the batch: unit vectors, and the gradient by the vectors.
    pub(super) p: Vec<f32>,
    pub(super) dp: Vec<f32>,
    /// Users of the slice by panels: vectors, exponentials of the scores, losses.
    pub(super) packs: Vec<f32>,
    pub(super) exponentials: Vec<f32>,
    pub(super) losses: Vec<f64>,
    /// ∂loss/∂score of each user over the exponential, and what was taken from the exponents.
    pub(super) factors: Vec<f32>,
    pub(super) shifts: Vec<f32>,
}

impl Resumable for Trainer {
    fn numbers(&mut self, _: &Context) -> Vec<(String, &mut [f32])> {
        vec![
            ("vectors".into(), self.x.as_mut_slice()),
            ("first moments".into(), self.first.as_mut_slice()),
            ("second moments".into(), self.second.as_mut_slice()),
        ]
    }

    fn steps(&mut self) -> Option<&mut u64> {
        Some(&mut self.steps)
    }
}

impl Trainer {
    /// Checks the options, weighs the histories and makes the initial item vectors.
    pub fn new(interactions: &Csr, options: Options, context: &Context) -> Result<Self> {
        options.check()?;
        if interactions.is_empty() {
            return Err(Error::InvalidData("there is no interaction to learn from.".into()));
        }
        let d = options.factors;
        let attention =
            Attention::new(interactions, options.prior, options.attention_exponent, options.item_attention)?;
        let (n_users, n_items) = (interactions.n_rows(), interactions.n_columns());
        let start = Stream::new(options.seed, purpose::START);
        let x = if options.spectral_start {
            spectral::item_vectors(interactions, d, start, context)?
        } else {
            random_start(n_items, d, start)
        };
        let counts: Vec<usize> = (0..n_items).map(|i| attention.items.row(i).len()).collect();
        let n_active = (0..n_users).filter(|&u| !attention.users.row(u).is_empty()).count();
        Ok(Self::from_parts(options, attention, &counts, x, n_active))
    }

    /// A trainer of the users of `attention`, which may be some of the `n_active` with a history; `counts` are the users of
    /// each item among all.
    pub(super) fn from_parts(
        options: Options,
        attention: Attention,
        counts: &[usize],
        x: Vec<f32>,
        n_active: usize,
    ) -> Self {
        let (d, n_users, n_items) = (options.factors, attention.users.n_rows(), counts.len());
        let popularity = counts.iter().copied();
        let (mut cumulative, mut log_weights) = (Vec::new(), Vec::new());
        let n_negatives = if n_items <= options.negatives {
            log_weights.extend(popularity.map(|n| (ln(n.max(1) as f64) * f64::from(options.negative_exponent)) as f32));
            n_items
        } else {
            let mut sum = 0.0;
            cumulative.extend(popularity.map(|n| {
                sum += if n == 0 { 0.0 } else { f64::from(count_power(n, options.negative_exponent)) };
                sum
            }));
            log_weights.resize(options.negatives, 0.0);
            options.negatives
        };
        let active: Vec<u32> = (0..n_users as u32).filter(|&u| !attention.users.row(u as usize).is_empty()).collect();
        let n_steps = n_active.div_ceil(batch_size(&options, n_active).max(1));
        let graph = Graph::new(n_items * d, n_steps, options.item_attention);
        let batch = batch_size(&options, n_active).min(active.len());
        let slice = USERS_PER_SLICE.min(active.len().next_multiple_of(panel::USERS));
        let buffers = Buffers {
            users: vec![0.0; n_users * d],
            v: vec![0.0; n_items * d],
            inverse_norms: vec![0.0; n_items],
            dv: vec![0.0; n_items * d],
            negatives: (0..n_negatives as u32).collect(),
            q: vec![0.0; n_negatives * d],
            dq: vec![0.0; n_negatives * d],
            places: vec![u32::MAX; n_users],
            p: vec![0.0; batch * d],
            dp: vec![0.0; batch * d],
            packs: vec![0.0; slice * d],
            exponentials: vec![0.0; slice * n_negatives],
            losses: vec![0.0; slice],
            factors: vec![0.0; slice],
            shifts: vec![0.0; slice],
        };
        let (first, second) = (vec![0.0; n_items * d], vec![0.0; n_items * d]);
        Self {
            options,
            attention,
            active,
            cumulative,
            log_weights,
            x,
            first,
            second,
            steps: 0,
            buffers,
            graph,
            phase_times: PhaseTimes::default(),
        }
    }

    /// Seconds of all threads in each phase of the steps so far.
    pub fn phase_times(&self) -> [(&'static str, f64); 5] {
        self.phase_times.seconds()
    }

    /// Users of one step.
    pub fn batch_size(&self) -> usize {
        batch_size(&self.options, self.active.len())
    }

    /// Item vectors v of the current bare ones, `n_items` × d.
    pub fn item_vectors(&mut self, context: &Context) -> Vec<f32> {
        let b = &mut self.buffers;
        self.attention.items_from(context, self.options.factors, &self.x, &mut b.users, &mut b.v);
        b.v.clone()
    }

    /// The bare item vectors, the only parameters.
    pub fn parameters(&self) -> &[f32] {
        &self.x
    }

    /// Item vectors of the current bare ones, and the unit vectors of the negatives.
    pub(super) fn negative_vectors(&mut self, context: &Context) {
        let Self { attention, buffers: b, x, options, phase_times, .. } = self;
        let mut clock = Instant::now();
        attention.items_from(context, options.factors, x, &mut b.users, &mut b.v);
        phase_times.add_all(Phase::Propagation, &mut clock, context);
        self.invert_norms(context);
        self.unit_negatives(context);
    }

    /// The unit vectors of the negatives.
    pub(super) fn unit_negatives(&mut self, context: &Context) {
        let Self { buffers: b, options, phase_times, .. } = self;
        let (d, level) = (options.factors, context.level);
        let mut clock = Instant::now();
        let Buffers { v, inverse_norms, negatives, q, .. } = b;
        let tasks = q.chunks_mut(d * ITEMS_PER_TASK).zip(negatives.chunks(ITEMS_PER_TASK));
        context.for_each_task(
            tasks,
            || (),
            |(), (q, negatives)| {
                for (q, &item) in q.chunks_exact_mut(d).zip(negatives) {
                    q.copy_from_slice(&v[item as usize * d..][..d]);
                    scale(level, inverse_norms[item as usize], q);
                }
            },
        );
        phase_times.add_all(Phase::Gather, &mut clock, context);
    }

    /// Fresh negatives for this step, by ascending position; repeats are allowed.
    pub(super) fn draw_negatives(&mut self, draws: Stream, context: &Context) {
        let Self { cumulative, buffers: Buffers { negatives, .. }, .. } = self;
        let Some(&total) = cumulative.last() else { return };
        let tasks = negatives.chunks_mut(DRAWS_PER_TASK).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, negatives)| {
                for (at, item) in negatives.iter_mut().enumerate() {
                    // 53 random bits, exact in f64.
                    let bits = draws.u64((task * DRAWS_PER_TASK + at) as u64) >> 11;
                    let target = bits as f64 * (1.0 / 9_007_199_254_740_992.0) * total;
                    *item = cumulative.partition_point(|&sum| sum <= target) as u32;
                }
                negatives.sort_unstable();
            },
        );
        // Merges what the tasks have sorted, which an unstable sort would not see.
        #[expect(clippy::stable_sort_primitive)]
        negatives.sort();
    }
}
