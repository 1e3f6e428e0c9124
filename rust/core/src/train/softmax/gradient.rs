//! The gradient of one batch from the side of its users and of the negatives; `items` goes on.

use std::mem::take;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::panel::{self, Softmax, USERS};
use super::trainer::{Buffers, MIN_NORM, Trainer, USERS_PER_SLICE, purpose};
use crate::Result;
use crate::model::attention::Attention;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{axpy, dot, gather_scaled, ln, scale};
use crate::runtime::{Context, Handed};
use crate::train::phase_times::{Phase, PhaseTimes};

/// Panels whose exponentials some negatives take at a time. While the last panels of a slice are at work, threads without
/// one take the first panels to the negatives: a panel is a millisecond's work, and a slice has 21.
const PANELS_PER_TASK: usize = 3;

/// What all users of a batch have in common.
struct Users<'a> {
    softmax: Softmax<'a>,
    attention: &'a Attention,
    v: &'a [f32],
    inverse_norms: &'a [f32],
    pair_weight: f32,
}

/// What the users of a panel write: unit vectors and gradients by rows, c p̂ and e by panels, and numbers of each.
struct Panel<'a> {
    users: &'a [u32],
    p: &'a mut [f32],
    dp: &'a mut [f32],
    pack: &'a mut [f32],
    exponentials: &'a mut [f32],
    losses: &'a mut [f64],
    factors: &'a mut [f32],
    shifts: &'a mut [f32],
}

/// What negatives take of a panel: c p̂ and e.
type ToNegatives<'a> = (&'a [f32], &'a [f32]);

impl Users<'_> {
    /// All that a panel's users say, of which the negatives take what is returned.
    fn run<'p>(&self, panel: Panel<'p>) -> ToNegatives<'p> {
        let Self { softmax, attention, v, inverse_norms, pair_weight } = *self;
        let Softmax { level, d, temperature: tau, phase_times, .. } = softmax;
        let Panel { users, p, dp, pack, exponentials, losses, factors, shifts } = panel;
        let mut norms = [0.0f32; USERS];
        let mut clock = Instant::now();
        for ((&user, p), norm) in users.iter().zip(p.chunks_exact_mut(d)).zip(&mut norms) {
            *norm = unit_user(level, attention, user as usize, v, p);
        }
        panel::pack(p, d, pack);
        phase_times.add(Phase::Gather, &mut clock);
        let denominators = softmax.run(pack, exponentials, dp);
        clock = Instant::now();
        pack.fill(0.0);
        for (at, &user) in users.iter().enumerate() {
            let history = attention.users.row(user as usize);
            let (p, dp) = (&p[at * d..][..d], &mut dp[at * d..][..d]);
            let count = history.len() as f32;
            let factor = count * pair_weight / denominators.sums[at];
            (factors[at], shifts[at]) = (factor, denominators.shifts[at]);
            axpy(level, factor, p, &mut pack[at * d..][..d]);
            scale(level, factor, dp);
            let before = dot(level, p, dp);
            gather_scaled(level, history, inverse_norms, -pair_weight, v, dp);
            let after = dot(level, p, dp);
            // The sum of the positives' scores is what they added to dp along p̂.
            losses[at] = f64::from(count) * (f64::from(denominators.shifts[at]) + ln(f64::from(denominators.sums[at])))
                + f64::from(after - before) / f64::from(pair_weight) / f64::from(tau);
            axpy(level, -after, p, dp);
            scale(level, 1.0 / norms[at], dp);
        }
        phase_times.add(Phase::Gather, &mut clock);
        (pack, exponentials)
    }
}

/// Rows of ∂loss/∂q̂, to which the panels of a slice are added one after the other by as many tasks.
struct Negatives<'a> {
    first: usize,
    dq: Mutex<&'a mut [f32]>,
    /// By tasks, which wait for those before them.
    done: Vec<Handed<()>>,
}

impl<'a> Negatives<'a> {
    fn new(dq: &'a mut [f32], d: usize, n_tasks: usize) -> Vec<Self> {
        let done = || (0..n_tasks).map(|_| Handed::default()).collect();
        let rows = dq.chunks_mut(panel::NEGATIVES * d).enumerate();
        rows.map(|(at, dq)| Self { first: at * panel::NEGATIVES, dq: Mutex::new(dq), done: done() }).collect()
    }

    /// dq += Eᵀ c p̂, panel after panel: those of the `task`-th task. `begins`: dq is 0 before.
    fn run(
        &self,
        task: usize,
        begins: bool,
        panels: &[Handed<ToNegatives<'_>>],
        level: Level,
        d: usize,
        phase_times: &PhaseTimes,
    ) {
        if let Some(before) = task.checked_sub(1) {
            self.done[before].wait();
        }
        self.done[task].make(|| {
            let mut dq = self.dq.lock().unwrap_or_else(PoisonError::into_inner);
            if begins {
                dq.fill(0.0);
            }
            for panel in panels {
                let Some((pack, exponentials)) = panel.wait() else { return };
                let mut clock = Instant::now();
                multiply_add(level, &mut dq, d, View::rows(exponentials, USERS), self.first, pack, USERS);
                phase_times.add(Phase::Product, &mut clock);
            }
        });
    }
}

/// A part of a slice's work, in the order in which they are begun.
enum Task<'a> {
    Panel(usize, Panel<'a>),
    Negatives { at: usize, task: usize, panels: Range<usize> },
}

impl Trainer {
    /// What the users of a batch and the negatives say: the batch's summed loss, and what a pair weighs in its mean. Between
    /// its slices, each of some ten milliseconds on a table like Gowalla's, it checks whether the caller wants to stop.
    pub(super) fn batch(&mut self, batch: &[u32], context: &Context) -> Result<(f64, f32)> {
        self.draw_negatives(Stream::new(self.options.seed, purpose::NEGATIVES).sub(self.steps), context);
        self.unit_negatives(context);
        let n_pairs: usize = batch.iter().map(|&u| self.attention.users.row(u as usize).len()).sum();
        let pair_weight = 1.0 / (n_pairs as f32 * self.options.temperature);
        let mut loss = 0.0;
        for (slice, users) in batch.chunks(USERS_PER_SLICE).enumerate() {
            context.cancel.check()?;
            loss += self.slice(users, slice * USERS_PER_SLICE, pair_weight, context);
        }
        context.cancel.check()?;
        Ok((loss, pair_weight))
    }

    /// 1. Users of a slice: vectors, exponentials, gradients; their summed loss. 2. Negatives: dq.
    fn slice(&mut self, users: &[u32], first: usize, pair_weight: f32, context: &Context) -> f64 {
        let (d, level) = (self.options.factors, context.level);
        let mut dq = take(&mut self.buffers.dq);
        let (users_say, panels) = self.panels(users, first, pair_weight, level);
        let said: Vec<Handed<ToNegatives<'_>>> = panels.iter().map(|_| Handed::default()).collect();
        let parts: Vec<Range<usize>> =
            (0..said.len()).step_by(PANELS_PER_TASK).map(|at| at..(at + PANELS_PER_TASK).min(said.len())).collect();
        let negatives = Negatives::new(&mut dq, d, parts.len());
        let mut tasks: Vec<Task<'_>> =
            panels.into_iter().enumerate().map(|(at, panel)| Task::Panel(at, panel)).collect();
        for (task, panels) in parts.iter().enumerate() {
            tasks.extend((0..negatives.len()).map(|at| Task::Negatives { at, task, panels: panels.clone() }));
        }
        let phase_times = users_say.softmax.phase_times;
        context.for_each_task(
            tasks.into_iter(),
            || (),
            |(), task| match task {
                Task::Panel(at, panel) => said[at].make(|| users_say.run(panel)),
                Task::Negatives { at, task, panels } => {
                    negatives[at].run(task, (first, task) == (0, 0), &said[panels], level, d, phase_times);
                }
            },
        );
        self.buffers.dq = dq;
        self.buffers.losses[..users.len()].iter().sum()
    }

    /// The first part alone: afterwards `p` and `dp` hold p̂ and ∂loss/∂p from the slice's first position on.
    pub(super) fn user_gradients(&mut self, users: &[u32], first: usize, pair_weight: f32, context: &Context) {
        let (users_say, panels) = self.panels(users, first, pair_weight, context.level);
        context.for_each_task(panels.into_iter(), || (), |(), panel| _ = users_say.run(panel));
    }

    /// The users of a slice by panels.
    fn panels<'a>(
        &'a mut self,
        users: &'a [u32],
        first: usize,
        pair_weight: f32,
        level: Level,
    ) -> (Users<'a>, Vec<Panel<'a>>) {
        let (d, temperature) = (self.options.factors, self.options.temperature);
        let Self { attention, buffers: b, log_weights, phase_times, .. } = self;
        let n = b.negatives.len();
        let Buffers { v, inverse_norms, q, p, dp, packs, exponentials, losses, factors, shifts, .. } = b;
        let softmax = Softmax { level, d, negatives: q, log_weights, temperature, phase_times };
        let places = first * d..(first + users.len()) * d;
        let panels = users
            .chunks(USERS)
            .zip(p[places.clone()].chunks_mut(USERS * d).zip(dp[places].chunks_mut(USERS * d)))
            .zip(packs.chunks_mut(USERS * d).zip(exponentials.chunks_mut(USERS * n)))
            .zip(losses.chunks_mut(USERS).zip(factors.chunks_mut(USERS).zip(shifts.chunks_mut(USERS))))
            .map(|(((users, (p, dp)), (pack, exponentials)), (losses, (factors, shifts)))| Panel {
                users,
                p,
                dp,
                pack,
                exponentials,
                losses,
                factors,
                shifts,
            })
            .collect();
        (Users { softmax, attention, v, inverse_norms, pair_weight }, panels)
    }
}

/// The unit vector of a user's history into `p`; returns its norm before.
pub(super) fn unit_user(level: Level, attention: &Attention, user: usize, v: &[f32], p: &mut [f32]) -> f32 {
    let (from, to) = (attention.users.offsets()[user], attention.users.offsets()[user + 1]);
    p.fill(0.0);
    gather(level, attention.users.row(user), &attention.a_by_user[from..to], v, p);
    let norm = dot(level, p, p).sqrt().max(MIN_NORM);
    scale(level, 1.0 / norm, p);
    norm
}
