//! Attention over histories, by slots (users of the batch) and rows (vectors p: one for each slot, or with target
//! attention one for each pair).
//!
//! Pass 1: logits and weights a of each row. Pass 2: p = z + Σ_j a_j v_j. Backward, pass 3: from ∂loss/∂p to the logits
//! and the queries, by slots; pass 4: to v, x and s, by items, each of which gathers from the rows that use it.

use super::batch::Layout;
use super::options::AttentionKind;
use crate::data::Csr;
use crate::model::attention::Attention;
use crate::runtime::Context;
use crate::runtime::simd::dot::dots;
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{axpy, dot, exp_f64, ln, scale, softmax};

/// Slots of one task.
const SLOTS_PER_TASK: usize = 16;
/// Items of one task of the backward pass.
const ITEMS_PER_TASK: usize = 64;
/// A vector with a smaller norm has no direction.
pub const MIN_NORM: f32 = 1e-12;

/// The training histories, with the fixed part of their logits.
pub struct Histories {
    /// The interactions, and the weights of the prior.
    pub attention: Attention,
    /// How the items of a history are weighted.
    pub attention_kind: AttentionKind,
    /// β.
    pub exponent: f32,
    /// Fixed part of each entry's logit: prior and log w.
    pub base: Vec<f32>,
    /// Age of each entry in days, or nothing.
    pub ages: Vec<f32>,
}

/// The learned terms of the logits.
#[derive(Clone, Copy)]
pub struct LearnedLogitTerms<'a> {
    /// s, or nothing.
    pub salience: &'a [f32],
    /// ρ.
    pub decay: f32,
    /// y of each query, or nothing.
    pub queries: &'a [f32],
    /// Bare items x, the keys that the queries are multiplied with.
    pub x: &'a [f32],
}

/// Rows p, and what the backward pass needs of them.
#[derive(Debug, Default)]
pub struct AttentionRows {
    /// p, unit with the cosine.
    pub p: Vec<f32>,
    /// ∂loss/∂p.
    pub dp: Vec<f32>,
    /// Norms before normalization.
    pub norms: Vec<f32>,
    /// The factor from a weight to that of the softmax.
    shares: Vec<f32>,
    /// Attention weights.
    pub a: Vec<f32>,
    /// ∂loss/∂logit.
    dl: Vec<f32>,
    /// ∂loss/∂ρ of each slot.
    d_decay: Vec<f64>,
}

/// Splits a buffer at ascending ends.
pub fn split_at_ends<T>(mut rest: &mut [T], ends: impl Iterator<Item = usize>) -> Vec<&mut [T]> {
    let mut from = 0;
    let mut pieces = Vec::new();
    for end in ends {
        let (piece, others) = rest.split_at_mut(end - from);
        pieces.push(piece);
        rest = others;
        from = end;
    }
    pieces
}

/// The ends of the parts of a buffer that belong to tasks of `per_task` each; `end_of` maps an index to an end.
pub fn task_ends(n: usize, per_task: usize, end_of: impl Fn(usize) -> usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(per_task)).map(move |task| end_of(((task + 1) * per_task).min(n)))
}

/// The smoothed softmax (β = 1: the softmax) of `logits` + `log_weights`: exp(logit) / (Σ exp)^β, in place of `logits`.
/// Returns the factor from these weights to those of the softmax.
pub fn smoothed_softmax(
    level: crate::runtime::simd::Level,
    exponent: f32,
    logits: &mut [f32],
    log_weights: &[f32],
) -> f32 {
    let (highest, sum) = softmax(level, logits, log_weights, 1.0);
    let (highest, beta) = (f64::from(highest), f64::from(exponent));
    let factor = exp_f64((highest * (1.0 - beta) - beta * ln(f64::from(sum))).clamp(-80.0, 80.0)) as f32;
    scale(level, factor, logits);
    1.0 / (sum * factor)
}

impl Histories {
    /// Whether users attend to their histories at all.
    pub fn attends(&self) -> bool {
        self.attention_kind != AttentionKind::None
    }

    fn history(&self, user: u32) -> &[u32] {
        if self.attends() { self.attention.users.row(user as usize) } else { &[] }
    }

    /// The logits of entries `from..` apart from the queries' part.
    fn query_independent_logits(
        &self,
        from: usize,
        history: &[u32],
        learned: LearnedLogitTerms<'_>,
        into: &mut Vec<f32>,
    ) {
        into.clear();
        into.extend(
            history.iter().enumerate().map(|(at, &item)| self.base[from + at] + learned.salience[item as usize]),
        );
        if !self.ages.is_empty() {
            for (logit, age) in into.iter_mut().zip(&self.ages[from..]) {
                *logit = (-learned.decay).mul_add(*age, *logit);
            }
        }
    }

    /// Passes 1 and 2. `z` holds the slots' own vectors, or nothing.
    pub fn forward(
        &self,
        context: &Context,
        d: usize,
        layout: &Layout,
        learned: LearnedLogitTerms<'_>,
        v: &[f32],
        z: &[f32],
        cosine: bool,
        rows: &mut AttentionRows,
    ) {
        let (level, n, n_slots) = (context.level, layout.n_rows(), layout.slots.len());
        rows.p.resize(n * d, 0.0);
        rows.norms.resize(n, 1.0);
        rows.shares.resize(n, 0.0);
        rows.a.resize(layout.weights_from[n_slots], 0.0);
        let tasks = || task_ends(n_slots, SLOTS_PER_TASK, |slot| layout.row_from(slot));
        let p = split_at_ends(&mut rows.p, tasks().map(|row| row * d));
        let norms = split_at_ends(&mut rows.norms, tasks());
        let shares = split_at_ends(&mut rows.shares, tasks());
        let a = split_at_ends(&mut rows.a, task_ends(n_slots, SLOTS_PER_TASK, |slot| layout.weights_from[slot]));
        let one_task =
            |terms: &mut Vec<f32>, task: usize, p: &mut [f32], norms: &mut [f32], shares: &mut [f32], a: &mut [f32]| {
                let first = task * SLOTS_PER_TASK;
                let (first_row, first_weight) = (layout.row_from(first), layout.weights_from[first]);
                for slot in first..(first + SLOTS_PER_TASK).min(n_slots) {
                    let user = layout.slots[slot];
                    let history = self.history(user);
                    let from = self.attention.users.offsets()[user as usize];
                    if self.attention_kind.is_learned() {
                        self.query_independent_logits(from, history, learned, terms);
                    }
                    for (at, row) in (layout.row_from(slot)..layout.row_from(slot + 1)).enumerate() {
                        let weights =
                            &mut a[layout.weights_from[slot] - first_weight + at * history.len()..][..history.len()];
                        let p = &mut p[(row - first_row) * d..][..d];
                        if z.is_empty() {
                            p.fill(0.0);
                        } else {
                            p.copy_from_slice(&z[slot * d..][..d]);
                        }
                        if !history.is_empty() {
                            if self.attention_kind.is_learned() {
                                weights.fill(0.0);
                                if !learned.queries.is_empty() {
                                    let query = self.query_row(layout, row);
                                    dots(level, &learned.queries[query * d..][..d], learned.x, history, weights);
                                }
                                shares[row - first_row] = smoothed_softmax(level, self.exponent, weights, terms);
                            } else {
                                weights.copy_from_slice(&self.attention.a_by_user[from..][..history.len()]);
                            }
                            gather(level, history, weights, v, p);
                        }
                        if cosine {
                            norms[row - first_row] = normalize(context, p);
                        }
                    }
                }
            };
        let tasks = p.into_iter().zip(norms).zip(shares).zip(a).enumerate();
        context.for_each_task(tasks, Vec::new, |terms, (task, (((p, norms), shares), a))| {
            one_task(terms, task, p, norms, shares, a);
        });
    }

    /// The row of `queries` that a row of p uses: that of its candidate, or of its user.
    fn query_row(&self, layout: &Layout, row: usize) -> usize {
        if self.attention_kind == AttentionKind::Target { layout.pairs[row] as usize } else { row }
    }

    /// Pass 3. From `rows.dp` to ∂loss/∂z of the slots (into `dz`), and where the logits learn to `rows.dl`, `dy` (a row
    /// for each row) and the gradient of ρ, which is returned.
    pub fn backward(
        &self,
        context: &Context,
        d: usize,
        layout: &Layout,
        learned: LearnedLogitTerms<'_>,
        v: &[f32],
        cosine: bool,
        rows: &mut AttentionRows,
        dz: &mut [f32],
        dy: &mut [f32],
    ) -> f64 {
        let (level, n_slots) = (context.level, layout.slots.len());
        let has_queries = !learned.queries.is_empty();
        rows.dl.resize(rows.a.len(), 0.0);
        rows.d_decay.clear();
        rows.d_decay.resize(n_slots, 0.0);
        let AttentionRows { p, dp, norms, shares, a, dl, d_decay } = rows;
        let tasks = |factor: usize| task_ends(n_slots, SLOTS_PER_TASK, move |slot| layout.row_from(slot) * factor);
        let dp = split_at_ends(dp, tasks(d));
        let dl = split_at_ends(dl, task_ends(n_slots, SLOTS_PER_TASK, |slot| layout.weights_from[slot]));
        let width = if dz.is_empty() { 0 } else { d };
        let dz = split_at_ends(dz, task_ends(n_slots, SLOTS_PER_TASK, |slot| slot * width));
        let dy = split_at_ends(dy, tasks(if has_queries { d } else { 0 }));
        let d_decay_parts = split_at_ends(d_decay, task_ends(n_slots, SLOTS_PER_TASK, |slot| slot));
        let tasks = dp.into_iter().zip(dl).zip(dz).zip(dy).zip(d_decay_parts).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, ((((dp, dl), dz), dy), d_decay))| {
                let first = task * SLOTS_PER_TASK;
                let (first_row, first_weight) = (layout.row_from(first), layout.weights_from[first]);
                for slot in first..(first + SLOTS_PER_TASK).min(n_slots) {
                    let user = layout.slots[slot];
                    let history = self.history(user);
                    let ages = self.ages.get(self.attention.users.offsets()[user as usize]..).unwrap_or_default();
                    if !dz.is_empty() {
                        dz[(slot - first) * d..][..d].fill(0.0);
                    }
                    for (at, row) in (layout.row_from(slot)..layout.row_from(slot + 1)).enumerate() {
                        let dp = &mut dp[(row - first_row) * d..][..d];
                        if cosine {
                            normalize_backward(context, &p[row * d..][..d], norms[row], dp);
                        }
                        if !dz.is_empty() {
                            axpy(level, 1.0, dp, &mut dz[(slot - first) * d..][..d]);
                        }
                        if !self.attention_kind.is_learned() {
                            continue;
                        }
                        let from = layout.weights_from[slot] + at * history.len();
                        let (a, dl) = (&a[from..][..history.len()], &mut dl[from - first_weight..][..history.len()]);
                        dots(level, dp, v, history, dl);
                        let mut total = 0.0f32;
                        for (dl, a) in dl.iter_mut().zip(a) {
                            *dl *= a;
                            total += *dl;
                        }
                        let part = -self.exponent * total * shares[row];
                        axpy(level, part, a, dl);
                        if !self.ages.is_empty() {
                            let aged = dl.iter().zip(ages).map(|(dl, age)| f64::from(*dl) * f64::from(*age));
                            d_decay[slot - first] -= aged.sum::<f64>();
                        }
                        if has_queries {
                            let dy = &mut dy[(row - first_row) * d..][..d];
                            dy.fill(0.0);
                            gather(level, history, dl, learned.x, dy);
                        }
                    }
                }
            },
        );
        d_decay.iter().sum()
    }

    /// Pass 4. Adds to `dv`, `dx` and `ds` (rows of the touched items) the gradients that come through the histories.
    pub fn backward_items(
        &self,
        context: &Context,
        d: usize,
        layout: &Layout,
        learned: LearnedLogitTerms<'_>,
        rows: &AttentionRows,
        dv: &mut [f32],
        dx: &mut [f32],
        ds: &mut [f32],
    ) {
        let level = context.level;
        let is_learned = self.attention_kind.is_learned();
        let n = layout.touched.len();
        let ends_of = |width: usize| task_ends(n, ITEMS_PER_TASK, move |item| item * width);
        let dx = split_at_ends(dx, ends_of(if is_learned { d } else { 0 }));
        let ds = split_at_ends(ds, ends_of(usize::from(is_learned)));
        let tasks = split_at_ends(dv, ends_of(d)).into_iter().zip(dx).zip(ds).enumerate();
        context.for_each_task(
            tasks,
            || (Vec::new(), Vec::new(), Vec::new(), Vec::new()),
            |(using_rows, weights, query_rows, slopes), (task, ((dv, dx), ds))| {
                for (at, dv) in dv.chunks_exact_mut(d).enumerate() {
                    let entries = layout.by_item.row(task * ITEMS_PER_TASK + at);
                    using_rows.clear();
                    weights.clear();
                    query_rows.clear();
                    slopes.clear();
                    for &entry in entries {
                        let (slot, place) = layout.entries[entry as usize];
                        let (slot, place) = (slot as usize, place as usize);
                        let length = self.history(layout.slots[slot]).len();
                        for (of_slot, row) in (layout.row_from(slot)..layout.row_from(slot + 1)).enumerate() {
                            let weight = layout.weights_from[slot] + of_slot * length + place;
                            using_rows.push(row as u32);
                            weights.push(rows.a[weight]);
                            if is_learned {
                                query_rows.push(self.query_row(layout, row) as u32);
                                slopes.push(rows.dl[weight]);
                            }
                        }
                    }
                    gather(level, using_rows, weights, &rows.dp, dv);
                    if is_learned {
                        if !learned.queries.is_empty() {
                            gather(level, query_rows, slopes, learned.queries, &mut dx[at * d..][..d]);
                        }
                        ds[at] += slopes.iter().sum::<f32>();
                    }
                }
            },
        );
    }
}

/// Attention weights of histories that were not trained on, entry by entry: the logit is that of the item plus the value in
/// `histories`.
pub fn history_weights(context: &Context, histories: &Csr, item_logits: &[f32], exponent: f32) -> Vec<f32> {
    let mut weights = vec![0.0; histories.len()];
    let mut log_weights = Vec::new();
    for row in 0..histories.n_rows() {
        let (from, to) = (histories.offsets()[row], histories.offsets()[row + 1]);
        if from < to {
            log_weights.clear();
            let each = histories.row(row).iter().zip(histories.row_values(row));
            log_weights.extend(each.map(|(&item, logit)| item_logits[item as usize] + logit));
            smoothed_softmax(context.level, exponent, &mut weights[from..to], &log_weights);
        }
    }
    weights
}

/// Divides by the norm, which is returned; a vector without direction becomes zero, and its norm infinite.
pub fn normalize(context: &Context, vector: &mut [f32]) -> f32 {
    let norm = dot(context.level, vector, vector).sqrt();
    let norm = if norm > MIN_NORM { norm } else { f32::INFINITY };
    scale(context.level, 1.0 / norm, vector);
    norm
}

/// From the gradient by a unit vector to that by the vector before normalization.
pub fn normalize_backward(context: &Context, unit: &[f32], norm: f32, gradient: &mut [f32]) {
    let part = dot(context.level, unit, gradient);
    axpy(context.level, -part, unit, gradient);
    scale(context.level, 1.0 / norm, gradient);
}
