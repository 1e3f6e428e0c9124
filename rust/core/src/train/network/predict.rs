//! Scores of pairs and vectors without learning: directly from the tables where the options allow it, else by the passes of
//! a batch.
//!
//! Both ways give the same bits. From the tables, a pair of 64 numbers takes some 60 ns with factor attention, and a history
//! 7 ns for each of its entries; so a batch of 64 pairs is done before another thread would have woken up.

use super::batch::Batch;
use super::head::{Features, Output};
use super::loss;
use super::model::{Network, UserDropout};
use super::options::{AttentionKind, Head};
use super::passes::output_parameters;
use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::scores::{Scratch, Tables, scores};

/// Pairs between two checks whether the caller wants to stop, and in memory at a time.
const PAIRS_AT_ONCE: usize = 65_536;

/// Multiply-adds of a task, some 15 µs: two are worth waking a thread for.
const COST_PER_TASK: usize = 1 << 17;

/// The cost of the exponential of one factor, in multiply-adds.
const EXPONENTIAL_COST: usize = 8;

/// A rough upper bound of the multiply-adds of predictions.
#[derive(Clone, Copy, Debug)]
pub struct PredictionCost {
    fixed: usize,
    per_pair: usize,
}

impl PredictionCost {
    /// The cost of so many pairs.
    pub fn total(self, n_pairs: usize) -> usize {
        self.fixed.saturating_add(n_pairs.saturating_mul(self.per_pair))
    }

    /// Whether so many pairs are too few for a second thread.
    pub fn is_one_task(self, n_pairs: usize) -> bool {
        self.total(n_pairs) <= COST_PER_TASK
    }
}

impl Network {
    /// What predictions will cost.
    pub fn prediction_cost(&self) -> PredictionCost {
        let whole = if self.options.item_attention { 2 * self.histories.attention.users.len() } else { 0 };
        PredictionCost { fixed: whole * self.options.factors, per_pair: self.cost_of_a_pair(self.longest) }
    }

    fn cost_of_a_pair(&self, entries: usize) -> usize {
        let Self { options, .. } = self;
        let queries = if options.has_queries() { 2 * options.factors } else { 0 };
        let features = if options.head == Head::Factor { EXPONENTIAL_COST } else { 1 };
        options.factors * (features + queries + if self.histories.attends() { 1 + entries } else { 0 })
    }

    /// Item vectors v of the current parameters, `n_items` × d.
    pub fn item_vectors(&mut self, context: &Context) -> Vec<f32> {
        self.aggregate_users(UserDropout::NONE, context);
        if self.options.item_attention { self.buffers.v.clone() } else { self.parameters.item_factors.values.to_vec() }
    }

    /// Item vectors v, user vectors p of the training histories (unit with the cosine), and the attention weights of all
    /// entries. Not for target attention, whose users differ from candidate to candidate.
    pub fn vectors(&mut self, context: &Context) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let all = Batch {
            users: (0..self.n_users as u32).collect(),
            items: vec![0; self.n_users],
            group: 1,
            ..Batch::default()
        };
        let items = self.item_vectors(context);
        self.forward(&all, UserDropout::NONE, false, context);
        let rows = &self.buffers.rows;
        (items, rows.p.clone(), rows.a.clone())
    }

    /// Predictions of pairs, in their order: scores; with the sigmoid output, their sigmoid.
    pub fn predictions(&mut self, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<f32>> {
        self.check_pairs(users, items)?;
        let mut out = vec![0.0; users.len()];
        self.aggregate_users(UserDropout::NONE, context);
        // Batch attention sees the whole batch.
        let at_once = if self.options.head == Head::Batch { users.len().max(1) } else { PAIRS_AT_ONCE };
        let pieces = users.chunks(at_once).zip(items.chunks(at_once)).zip(out.chunks_mut(at_once));
        for ((users, items), out) in pieces {
            context.cancel.check()?;
            if self.has_plain_rows() {
                self.scores_from_tables(users, items, out, context);
            } else {
                self.scores_by_passes(users, items, out, context);
            }
        }
        context.cancel.check()?;
        Ok(out)
    }

    /// Whether a pair's vectors are sums of rows of tables.
    fn has_plain_rows(&self) -> bool {
        !self.options.attention_kind.is_learned() && !self.options.cosine && self.options.head != Head::Batch
    }

    fn scores_by_passes(&mut self, users: &[u32], items: &[u32], out: &mut [f32], context: &Context) {
        let batch = Batch { users: users.to_vec(), items: items.to_vec(), group: 1, ..Batch::default() };
        self.forward(&batch, UserDropout::NONE, false, context);
        let Features { scores, .. } = &self.buffers.features;
        for (score, &source) in scores.iter().zip(&self.buffers.layout.source) {
            out[source as usize] = if self.options.sigmoid { loss::sigmoid(context.level, *score) } else { *score };
        }
    }

    /// Pairs are grouped by user where that saves summing the same history several times.
    fn scores_from_tables(&mut self, users: &[u32], items: &[u32], out: &mut [f32], context: &Context) {
        if self.histories.attends()
            && let Some(order) = self.buffers.layout.order_by_user(users).map(<[u32]>::to_vec)
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
        if histories.attention_kind != AttentionKind::None {
            tables.offsets = attention.users.offsets();
            tables.columns = attention.users.columns();
            tables.weights = &attention.a_by_user;
        }
        let output = output_parameters(options, parameters, &buffers.ones);
        let (level, features) = (context.level, output.features());
        let plain = output.constant == 0.0 && !options.biases && !options.sigmoid;
        let per_pair = self.cost_of_a_pair(attention.users.len() / n_users);
        let per_task = (COST_PER_TASK / per_pair).clamp(16, 4096);
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
                        *score = add_biases(output, *score, user, item);
                        if options.sigmoid {
                            *score = loss::sigmoid(level, *score);
                        }
                    }
                }
            },
        );
    }
}

fn add_biases(output: Output<'_>, score: f32, user: u32, item: u32) -> f32 {
    let mut score = score + output.constant;
    if !output.item_bias.is_empty() {
        score += output.item_bias[item as usize];
    }
    if !output.user_bias.is_empty() {
        score += output.user_bias[user as usize];
    }
    score
}
