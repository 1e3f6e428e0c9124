//! A batch through the model: passes 2 to 5 forward, and all passes backward.

use super::batch::{Batch, LayoutOptions};
use super::head::{Features, Output};
use super::history::LearnedLogitTerms;
use super::loss;
use super::model::{Network, UserDropout};
use super::options::{AttentionKind, Head, Loss, Options};
use super::parameters::{Parameters, Table};
use crate::model::attention::propagate;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::exp;
use crate::runtime::simd::vector::axpy;
use crate::{Error, Result};

/// The parameters of the output.
pub(super) fn output_parameters<'a>(options: &Options, parameters: &'a Parameters, ones: &'a [f32]) -> Output<'a> {
    let first = |table: &Table| table.values.first().copied().unwrap_or_default();
    let d = options.factors;
    Output {
        head: options.head,
        d,
        sharpness: &parameters.sharpness.values,
        layer: &parameters.layer.values,
        ones: &ones[..if options.head == Head::Concat { 2 * d } else { d }],
        constant: first(&parameters.layer_bias) + first(&parameters.bias),
        user_bias: &parameters.user_bias.values,
        item_bias: &parameters.item_bias.values,
    }
}

/// The learned terms of the logits.
fn learned_logit_terms<'a>(level: Level, parameters: &'a Parameters, queries: &'a [f32]) -> LearnedLogitTerms<'a> {
    let decay = parameters.log_decay.values.first().map_or(0.0, |&x| exp(level, x));
    LearnedLogitTerms { salience: &parameters.salience.values, decay, queries, x: &parameters.item_factors.values }
}

impl Network {
    pub(super) fn check_pairs(&self, users: &[u32], items: &[u32]) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidData(message));
        if users.len() != items.len() {
            return bad(format!("got {} users and {} items; give pairs.", users.len(), items.len()));
        }
        for (what, positions, n) in [("user", users, self.n_users), ("item", items, self.n_items)] {
            if let Some(at) = positions.iter().position(|&position| position as usize >= n) {
                let found = positions[at];
                return bad(format!("pair {at} names {what} {found}; there are {n}, counted from 0."));
            }
        }
        Ok(())
    }

    pub(super) fn check_batch(&self, batch: &Batch) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidData(message));
        self.check_pairs(&batch.users, &batch.items)?;
        if batch.users.is_empty() {
            return bad("the batch is empty; give at least one pair.".into());
        }
        if let Some(&item) = batch.negatives.iter().find(|&&item| item as usize >= self.n_items) {
            return bad(format!("the negatives name item {item}; there are {}, counted from 0.", self.n_items));
        }
        let has_targets = !self.options.loss.is_ranking_loss();
        if has_targets == batch.targets.is_empty() || (has_targets && batch.targets.len() != batch.users.len()) {
            let (got, needed) = (batch.targets.len(), if has_targets { batch.users.len() } else { 0 });
            return bad(format!("{got} targets were given; this loss takes {needed}."));
        }
        if let Some(at) = batch.targets.iter().position(|y| !y.is_finite()) {
            return bad(format!("target {at} is {}; all must be finite.", batch.targets[at]));
        }
        if self.options.loss == Loss::Bce
            && let Some(at) = batch.targets.iter().position(|y| !(0.0..=1.0).contains(y))
        {
            return bad(format!("target {at} is {}; loss=\"bce\" takes targets from 0 to 1.", batch.targets[at]));
        }
        let shared = self.options.loss == Loss::Softmax;
        if shared == batch.negatives.is_empty() {
            return bad("loss=\"softmax\" takes negatives that the batch shares, other losses none.".into());
        }
        if !batch.log_weights.is_empty() && batch.log_weights.len() != batch.negatives.len() {
            return bad("give one log weight for each shared negative.".into());
        }
        if self.options.loss == Loss::Bpr && (batch.group < 2 || !batch.users.len().is_multiple_of(batch.group)) {
            return bad("loss=\"bpr\" takes at least one negative for each positive.".into());
        }
        Ok(())
    }

    /// All passes of a batch, forward and backward; its mean loss.
    pub(super) fn forward_backward(&mut self, batch: &Batch, dropout: UserDropout, context: &Context) -> f64 {
        self.aggregate_users(dropout, context);
        self.forward(batch, dropout, true, context);
        let loss = self.loss(batch, true, context);
        self.backward(dropout, context);
        loss
    }

    /// The mean loss of a batch, and nothing else.
    pub(super) fn batch_loss(&mut self, batch: &Batch, context: &Context) -> f64 {
        self.forward(batch, UserDropout::NONE, false, context);
        self.loss(batch, false, context)
    }

    /// Passes 2 to 4: scores of the batch's pairs.
    pub(super) fn forward(&mut self, batch: &Batch, dropout: UserDropout, backward: bool, context: &Context) {
        let d = self.options.factors;
        let Self { options, histories, parameters, buffers: b, .. } = self;
        let layout_options = LayoutOptions {
            histories: histories.attends(),
            row_per_pair: options.attention_kind == AttentionKind::Target,
            all_items: options.item_attention,
            backward,
        };
        b.layout.build(batch, &histories.attention.users, layout_options);
        let layout = &b.layout;
        // 2. Own vectors of the slots, and queries.
        b.z.clear();
        if options.user_factors {
            for &user in &layout.slots {
                if dropout.keeps_user_vector(user) {
                    b.z.extend_from_slice(&parameters.user_factors.values[user as usize * d..][..d]);
                } else {
                    b.z.resize(b.z.len() + d, 0.0);
                }
            }
        }
        let x = &*parameters.item_factors.values;
        if options.has_queries() {
            b.queries.z.clear();
            if options.attention_kind == AttentionKind::Target {
                for &item in &layout.candidates {
                    b.queries.z.extend_from_slice(&x[item as usize * d..][..d]);
                }
            } else {
                b.queries.z.extend_from_slice(&b.z);
            }
            b.queries.forward(context, d, &parameters.query.values, &parameters.key.values);
        }
        // 3. Attention.
        let v = if options.item_attention { &b.v } else { x };
        let learned = learned_logit_terms(context.level, parameters, &b.queries.y);
        histories.forward(context, d, layout, learned, v, &b.z, options.cosine, &mut b.rows);
        // 4. Features and scores.
        let output = output_parameters(options, parameters, &b.ones);
        b.features.candidates(context, d, layout, v, options.cosine);
        b.features.forward(context, layout, output, &b.rows.p);
    }

    /// Pass 5: the mean loss. Scores become slopes; with `backward` the gradients of the output are laid out, and those
    /// of shared negatives added.
    fn loss(&mut self, batch: &Batch, backward: bool, context: &Context) -> f64 {
        let level = context.level;
        let Self { options, parameters, buffers: b, .. } = self;
        let layout = &b.layout;
        let n = batch.users.len() / batch.group.max(1);
        let inverse = 1.0 / n as f32;
        let output = output_parameters(options, parameters, &b.ones);
        if backward {
            for (buffer, length) in [
                (&mut b.rows.dp, b.rows.p.len()),
                (&mut b.features.dq, b.features.q.len()),
                (&mut b.totals, output.n_sums()),
                (&mut b.candidate_slopes, layout.candidates.len()),
            ] {
                buffer.clear();
                buffer.resize(length, 0.0);
            }
        }
        let shared = options.loss == Loss::Softmax && options.attention_kind != AttentionKind::Target;
        if shared {
            let gradients = backward.then_some((b.rows.dp.as_mut_slice(), b.totals.as_mut_slice()));
            let (loss, slopes) = b.shared.softmax(
                context,
                layout,
                output,
                options.temperature,
                &batch.log_weights,
                !options.cosine,
                &mut b.features,
                &b.rows.p,
                gradients,
            );
            if backward {
                for (&candidate, slope) in layout.negatives.iter().zip(slopes) {
                    b.candidate_slopes[candidate as usize] += slope;
                }
            }
            return loss / n as f64;
        }
        let Features { scores, .. } = &mut b.features;
        b.targets.clear();
        if !batch.targets.is_empty() {
            b.targets.extend(layout.source.iter().map(|&source| batch.targets[source as usize]));
        }
        let loss = match options.loss {
            Loss::Mse => loss::mse(level, options.sigmoid, &b.targets, scores, inverse),
            Loss::Bce => loss::bce(level, &b.targets, scores, inverse),
            Loss::Bpr => loss::bpr(level, batch.group, scores, inverse),
            Loss::Softmax => {
                b.log_weights.clear();
                b.log_weights.extend_from_slice(&batch.log_weights);
                b.log_weights.resize(batch.negatives.len(), 0.0);
                let (temperature, include_positive) = (options.temperature, !options.cosine);
                let softmax = loss::Softmax { temperature, weights: &b.log_weights, include_positive, inverse };
                let mut sum = 0.0;
                for slot in 0..layout.slots.len() {
                    let scores = &mut scores[layout.pair_from[slot]..layout.pair_from[slot + 1]];
                    let (positives, negatives) = scores.split_at_mut(layout.given[slot]);
                    sum += softmax.row(level, positives, negatives);
                }
                sum
            }
        };
        loss / n as f64
    }

    /// All passes in reverse, from the slopes of the scores to the gradients in the tables.
    fn backward(&mut self, dropout: UserDropout, context: &Context) {
        self.output_backward(context);
        self.history_backward(context);
        self.item_backward(dropout, context);
    }

    /// From slopes to ∂loss/∂p, ∂loss/∂q and the parameters of the output.
    fn output_backward(&mut self, context: &Context) {
        let Self { options, parameters, buffers: b, .. } = self;
        let (layout, d) = (&b.layout, options.factors);
        for (pair, slope) in b.features.scores.iter().enumerate() {
            b.candidate_slopes[layout.pairs[pair] as usize] += slope;
        }
        let total: f64 = b.features.scores.iter().map(|&slope| f64::from(slope)).sum();
        for table in [&mut parameters.layer_bias, &mut parameters.bias] {
            if table.exists() {
                table.gradient.values = vec![total as f32];
            }
        }
        if parameters.user_bias.exists() {
            let gradient = &mut parameters.user_bias.gradient;
            gradient.rows.clone_from(&layout.slots);
            gradient.values.clear();
            let scores = &b.features.scores;
            gradient
                .values
                .extend(layout.pair_from.windows(2).map(|pairs| scores[pairs[0]..pairs[1]].iter().sum::<f32>()));
        }
        if parameters.item_bias.exists() {
            let gradient = &mut parameters.item_bias.gradient;
            gradient.rows.clone_from(&layout.candidates);
            gradient.values.clone_from(&b.candidate_slopes);
        }
        let output = output_parameters(options, parameters, &b.ones);
        b.features.backward_rows(context, layout, output, &b.rows.p, &mut b.rows.dp, &mut b.totals);
        b.features.backward_candidates(context, layout, output, &b.rows.p);
        if options.cosine {
            b.features.normalize_backward(context, d);
        }
        let (sharpness, layer) = b.totals.split_at(d);
        for (table, sums) in [(&mut parameters.sharpness, sharpness), (&mut parameters.layer, layer)] {
            if table.exists() {
                table.gradient.values = sums.to_vec();
            }
        }
    }

    /// From ∂loss/∂p to users, histories, queries; into `dz`, `dv`, `dx` and the parameters of the attention.
    fn history_backward(&mut self, context: &Context) {
        let Self { options, histories, parameters, buffers: b, .. } = self;
        let (layout, d, level) = (&b.layout, options.factors, context.level);
        let has_queries = options.has_queries();
        let n_touched = layout.touched.len();
        let is_learned = options.attention_kind.is_learned();
        b.dz.resize(if options.user_factors { layout.slots.len() * d } else { 0 }, 0.0);
        b.dy.resize(if has_queries { layout.n_rows() * d } else { 0 }, 0.0);
        for (buffer, length) in [
            (&mut b.dv, n_touched * d),
            (&mut b.dx, if is_learned { n_touched * d } else { 0 }),
            (&mut b.ds, if is_learned { n_touched } else { 0 }),
        ] {
            buffer.clear();
            buffer.resize(length, 0.0);
        }
        layout.touched_indices(&mut b.candidate_rows);
        for (&row, dq) in b.candidate_rows.iter().zip(b.features.dq.chunks_exact(d)) {
            b.dv[row as usize * d..][..d].copy_from_slice(dq);
        }
        let v = if options.item_attention { &*b.v } else { &*parameters.item_factors.values };
        let learned = learned_logit_terms(level, parameters, &b.queries.y);
        let d_decay =
            histories.backward(context, d, layout, learned, v, options.cosine, &mut b.rows, &mut b.dz, &mut b.dy);
        if histories.attends() {
            histories.backward_items(context, d, layout, learned, &b.rows, &mut b.dv, &mut b.dx, &mut b.ds);
        }
        let decay = learned.decay;
        if parameters.log_decay.exists() {
            parameters.log_decay.gradient.values = vec![(f64::from(decay) * d_decay) as f32];
        }
        if is_learned {
            let gradient = &mut parameters.salience.gradient;
            gradient.rows.clone_from(&layout.touched);
            gradient.values.clone_from(&b.ds);
        }
        if has_queries {
            let by_candidate = options.attention_kind == AttentionKind::Target;
            let dy = &mut b.queries.dy;
            if by_candidate {
                dy.clear();
                dy.resize(layout.candidates.len() * d, 0.0);
                for (candidate, dy) in dy.chunks_exact_mut(d).enumerate() {
                    for &row in layout.by_candidate.row(candidate) {
                        axpy(level, 1.0, &b.dy[row as usize * d..][..d], dy);
                    }
                }
            } else {
                dy.clone_from(&b.dy);
            }
            parameters.query.clear();
            parameters.key.clear();
            b.queries.backward(
                context,
                d,
                &parameters.query.values,
                &parameters.key.values,
                &mut parameters.query.gradient.values,
                &mut parameters.key.gradient.values,
            );
            if by_candidate {
                for (&row, dz) in b.candidate_rows.iter().zip(b.queries.dz.chunks_exact(d)) {
                    axpy(level, 1.0, dz, &mut b.dx[row as usize * d..][..d]);
                }
            } else {
                axpy(level, 1.0, &b.queries.dz, &mut b.dz);
            }
        }
    }

    /// From ∂loss/∂v, by bare items and by users, to the tables.
    fn item_backward(&mut self, dropout: UserDropout, context: &Context) {
        let Self { options, histories, parameters, buffers: b, n_users, .. } = self;
        let (layout, d, level) = (&b.layout, options.factors, context.level);
        let users = &mut parameters.user_factors.gradient;
        if options.user_factors {
            for (&user, dz) in layout.slots.iter().zip(b.dz.chunks_exact_mut(d)) {
                if !dropout.keeps_user_vector(user) {
                    dz.fill(0.0);
                }
            }
        }
        let items = &mut parameters.item_factors.gradient;
        items.rows.clone_from(&layout.touched);
        items.values.clone_from(&b.dv);
        if !b.dx.is_empty() {
            axpy(level, 1.0, &b.dx, &mut items.values);
        }
        if !options.item_attention {
            users.rows.clone_from(&layout.slots);
            users.values.clone_from(&b.dz);
            return;
        }
        let attention = &histories.attention;
        b.users.clear();
        b.users.resize(*n_users * d, 0.0);
        propagate(context, d, &attention.users, &attention.b_by_user, &b.dv, &mut b.users);
        if histories.attends() {
            propagate(context, d, &attention.items, &attention.a_by_item, &b.users, &mut items.values);
        }
        if options.user_factors {
            users.rows.clear();
            users.rows.extend(0..*n_users as u32);
            users.values.clone_from(&b.users);
            for (user, dz) in users.values.chunks_exact_mut(d).enumerate() {
                if !dropout.keeps_user_vector(user as u32) {
                    dz.fill(0.0);
                }
            }
            for (&user, dz) in layout.slots.iter().zip(b.dz.chunks_exact(d)) {
                axpy(level, 1.0, dz, &mut users.values[user as usize * d..][..d]);
            }
        }
    }
}
