//! Scores of pairs without learning: straight from the tables where the options allow it, else laid out like a batch.
//!
//! Both ways give the same bits. Straight, a pair of 64 numbers takes some 60 ns with factor attention, and a history
//! 7 ns for each of its entries; so a batch of 64 pairs is done before another thread would have woken up.

use super::head::{Features, Output};
use super::layout::Input;
use super::options::{Head, Weighing};
use super::step::output_of;
use super::{Kept, Network, loss};
use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::scores::{Scratch, Tables, scores};

/// Pairs between two looks at whether the caller wants to stop, and in memory at a time.
const PAIRS_AT_ONCE: usize = 65_536;

/// Multiply-adds of a task, some 15 µs: two are worth waking a thread for.
const WORK_PER_TASK: usize = 1 << 17;

/// What the exponential of one factor costs, in multiply-adds.
const EXPONENTIAL: usize = 8;

/// Multiply-adds of predictions, at most and roughly.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    once: usize,
    per_pair: usize,
}

impl Work {
    /// Of so many pairs.
    pub fn of(self, n_pairs: usize) -> usize {
        self.once.saturating_add(n_pairs.saturating_mul(self.per_pair))
    }

    /// Whether so many pairs are too few for a second thread.
    pub fn is_one_task(self, n_pairs: usize) -> bool {
        self.of(n_pairs) <= WORK_PER_TASK
    }
}

impl Network {
    /// What predictions will cost.
    pub fn work(&self) -> Work {
        let whole = if self.options.item_attention { 2 * self.histories.attention.users.len() } else { 0 };
        Work { once: whole * self.options.factors, per_pair: self.work_of_a_pair(self.longest) }
    }

    fn work_of_a_pair(&self, entries: usize) -> usize {
        let Self { options, .. } = self;
        let asks = if options.asks() { 2 * options.factors } else { 0 };
        let features = if options.head == Head::Factor { EXPONENTIAL } else { 1 };
        options.factors * (features + asks + if self.histories.count() { 1 + entries } else { 0 })
    }

    /// Predictions of pairs, in their order: scores, squashed with the sigmoid output.
    pub fn predictions(&mut self, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<f32>> {
        self.check_pairs(users, items)?;
        let mut out = vec![0.0; users.len()];
        self.take_in_users(Kept::ALL, context);
        // Batch attention sees the whole batch.
        let at_once = if self.options.head == Head::Batch { users.len().max(1) } else { PAIRS_AT_ONCE };
        let pieces = users.chunks(at_once).zip(items.chunks(at_once)).zip(out.chunks_mut(at_once));
        for ((users, items), out) in pieces {
            context.cancel.check()?;
            if self.straight() {
                self.scores_straight(users, items, out, context);
            } else {
                self.scores_laid_out(users, items, out, context);
            }
        }
        context.cancel.check()?;
        Ok(out)
    }

    /// Whether a pair's vectors are sums of rows that stand in tables.
    fn straight(&self) -> bool {
        !self.options.weighing.learns() && !self.options.cosine && self.options.head != Head::Batch
    }

    fn scores_laid_out(&mut self, users: &[u32], items: &[u32], out: &mut [f32], context: &Context) {
        let input = Input { users: users.to_vec(), items: items.to_vec(), group: 1, ..Input::default() };
        self.forward(&input, Kept::ALL, false, context);
        let Features { scores, .. } = &self.buffers.features;
        for (score, &source) in scores.iter().zip(&self.buffers.layout.source) {
            out[source as usize] = if self.options.sigmoid { loss::sigmoid(context.level, *score) } else { *score };
        }
    }

    /// Pairs of a user are brought together where that saves attending to the history again and again.
    fn scores_straight(&mut self, users: &[u32], items: &[u32], out: &mut [f32], context: &Context) {
        if self.histories.count()
            && let Some(order) = self.buffers.layout.by_user(users).map(<[u32]>::to_vec)
        {
            let ordered = |all: &[u32]| -> Vec<u32> { order.iter().map(|&at| all[at as usize]).collect() };
            let mut found = vec![0.0; out.len()];
            self.scores_in_order(&ordered(users), &ordered(items), &mut found, context);
            for (&at, score) in order.iter().zip(found) {
                out[at as usize] = score;
            }
        } else {
            self.scores_in_order(users, items, out, context);
        }
    }

    fn scores_in_order(&self, users: &[u32], items: &[u32], out: &mut [f32], context: &Context) {
        let Self { options, parameters, histories, buffers, n_users, .. } = self;
        let attention = &histories.attention;
        let mut tables = Tables {
            d: options.factors,
            own: &parameters.user_factors.values,
            offsets: &[],
            columns: &[],
            weights: &[],
            items: if options.item_attention { &buffers.v } else { &parameters.item_factors.values },
        };
        if histories.weighing != Weighing::None {
            tables.offsets = attention.users.offsets();
            tables.columns = attention.users.columns();
            tables.weights = &attention.a_by_user;
        }
        let output = output_of(options, parameters, &buffers.ones);
        let (level, features) = (context.level, output.features());
        let plain = output.constant == 0.0 && !options.biases && !options.sigmoid;
        let per_pair = self.work_of_a_pair(attention.users.len() / n_users);
        let per_task = (WORK_PER_TASK / per_pair).clamp(16, 4096);
        let tasks = out.chunks_mut(per_task).zip(users.chunks(per_task)).zip(items.chunks(per_task));
        context.for_each_task(
            tasks,
            || Scratch::new(features, options.factors),
            |scratch, ((out, users), items)| {
                if context.cancel.is_cancelled() {
                    return;
                }
                scores(level, tables, features, users, items, scratch, out);
                if !plain {
                    for ((score, &user), &item) in out.iter_mut().zip(users).zip(items) {
                        *score = biased(output, *score, user, item);
                        if options.sigmoid {
                            *score = loss::sigmoid(level, *score);
                        }
                    }
                }
            },
        );
    }
}

fn biased(output: Output<'_>, score: f32, user: u32, item: u32) -> f32 {
    let mut score = score + output.constant;
    if !output.item_bias.is_empty() {
        score += output.item_bias[item as usize];
    }
    if !output.user_bias.is_empty() {
        score += output.user_bias[user as usize];
    }
    score
}
