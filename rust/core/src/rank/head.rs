//! Heads: how the dense part of a score comes from two vectors. Every match on the kind of head is here.
//!
//! ```text
//! inner             ⟨p, q⟩
//! factor attention  Σ_k α_k p_k q_k,  α = softmax(sharpness · p · q)                 [+ bias_i]
//! target attention  ⟨p, q⟩ and what the candidate makes of the history              [+ bias_i]; see `target_attention`
//! layers            a part of ⟨p, q⟩, and fully connected layers over the rest; see `model::layers`
//! ```

use crate::model::layers::{self, Layers};
use crate::runtime::simd::attend::{self, Tables};
use crate::runtime::simd::tiles::{self, LANES};
use crate::runtime::simd::{Level, dot};
use crate::{Error, Result};

use super::checks::{check_finite, check_table};
use super::query::Query;

/// Above this a chain of products could leave the range of f32.
const OVERFLOW: f64 = f32::MAX as f64 / 4.0;

/// How the dense part of a score comes from the two vectors.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// Σ_k `p_k` `q_k`.
    Inner,
    /// Σ_k `α_k` `p_k` `q_k` with α = softmax(sharpness · p · q), and the item's bias.
    FactorAttention {
        /// One for each factor.
        sharpness: Vec<f32>,
        /// One for each item, or none at all.
        bias: Vec<f32>,
    },
    /// ⟨p, q⟩ and what the candidate makes of the history, whose weights are then logits; see `target_attention`.
    TargetAttention(TargetAttention),
    /// Every pair goes through layers, which no bound can spare.
    Layers(Layers),
}

impl Head {
    /// Checks shapes and numbers for `n_items` items of `d` factors.
    pub(super) fn check(&self, n_items: usize, d: usize, has_neighbors: bool) -> Result<()> {
        match self {
            Self::FactorAttention { sharpness, bias } => {
                if sharpness.len() != d {
                    return Err(Error::InvalidData(format!(
                        "{} numbers of sharpness for {d} factors; give one for each.",
                        sharpness.len()
                    )));
                }
                check_finite(sharpness, 1, "sharpness")?;
                if bias.is_empty() { Ok(()) } else { check_table(bias, n_items, 1, "item biases") }
            }
            Self::TargetAttention(_) if has_neighbors => Err(Error::InvalidParameter(
                "target attention reads the histories as logits; neighbors do not go with it.".into(),
            )),
            Self::TargetAttention(target) => target.check(n_items),
            Self::Layers(layers) if layers.factors() != d => Err(Error::InvalidData(format!(
                "layers over {} products and {} sums read {} numbers; vectors have {d}.",
                layers.product(),
                layers.widths()[0],
                layers.factors()
            ))),
            Self::Inner | Self::Layers(_) => Ok(()),
        }
    }

    /// Whether the dense part is the inner product alone, which bounds by norms hold for.
    #[inline]
    pub(super) fn is_inner(&self) -> bool {
        matches!(self, Self::Inner)
    }

    /// The tables of target attention, if it is that.
    #[inline]
    pub(super) fn target(&self) -> Option<&TargetAttention> {
        match self {
            Self::TargetAttention(target) => Some(target),
            _ => None,
        }
    }

    /// Whether every pair has to be scored by itself.
    #[inline]
    pub(super) fn is_pairwise(&self) -> bool {
        matches!(self, Self::Layers(_))
    }

    /// Multiply-adds of one pair, for vectors of `d` numbers.
    pub(super) fn cost(&self, d: usize) -> usize {
        match self {
            Self::Layers(layers) => layers.cost(),
            _ => d,
        }
    }

    /// The bias of each item; empty where the head has none.
    #[inline]
    pub(super) fn biases(&self) -> &[f32] {
        match self {
            Self::FactorAttention { bias, .. } => bias,
            Self::TargetAttention(target) => &target.bias,
            Self::Inner | Self::Layers(_) => &[],
        }
    }

    /// Whether a chain over vectors of these magnitudes could leave the range of f32. `item_max_abs` is the largest
    /// magnitude of each factor over the items, `max_abs_logit` that of [`TargetAttention::max_abs_logit`].
    #[inline]
    pub(super) fn may_overflow(&self, query: &Query<'_>, item_max_abs: &[f32], max_abs_logit: f64) -> bool {
        if let Self::TargetAttention(target) = self {
            let bound = target.score_bound(max_abs_logit, query, item_max_abs);
            return bound.is_nan() || bound > OVERFLOW;
        }
        let mut largest = 0f64;
        let mut sum = 0f64;
        for (k, (&user, &item)) in query.max_abs.iter().zip(item_max_abs).enumerate() {
            let product = f64::from(user) * f64::from(item);
            let sharpness = match self {
                Self::Inner | Self::TargetAttention(_) | Self::Layers(_) => 1.0,
                Self::FactorAttention { sharpness, .. } => f64::from(sharpness[k]).abs().max(1.0),
            };
            sum += product;
            largest = largest.max(product * sharpness);
        }
        let bias = self.biases().iter().fold(0f32, |largest, bias| largest.max(bias.abs()));
        sum.max(largest).max(f64::from(bias)) > OVERFLOW
    }

    /// The dense part of the scores of some items for one row; `vectors` are those of all items.
    #[inline]
    pub(super) fn dense(
        &self,
        level: Level,
        vectors: &[f32],
        query: &Query<'_>,
        row: usize,
        items: &[u32],
        scores: &mut [f32],
    ) {
        let vector = query.vector(row);
        match self {
            Self::TargetAttention(target) => target.dense(level, vectors, query, row, items, scores),
            Self::Inner => dot::dots(level, vector, vectors, items, scores),
            Self::Layers(layers) => {
                layers.scores(level, vector, vectors, items, scores, &mut layers::Scratch::default());
            }
            Self::FactorAttention { sharpness, bias } => {
                dot::attentions(level, vector, sharpness, vectors, items, scores);
                if !bias.is_empty() {
                    for (score, &item) in scores.iter_mut().zip(items) {
                        *score += bias[item as usize];
                    }
                }
            }
        }
    }

    /// The scores of a pack of users (see `tiles::pack`) and some item rows of `d` factors. Those that reach a user's
    /// threshold go to `offer(lane, row, score)`, which gives the threshold from then on.
    #[inline]
    pub(super) fn score_tiles(
        &self,
        level: Level,
        pack: &[f32],
        rows: &[f32],
        d: usize,
        biases: &[f32],
        thresholds: &mut [f32; LANES],
        offer: impl FnMut(usize, usize, f32) -> f32,
    ) {
        match self {
            // Target attention has a search of its own, and pairs that go through layers are scored one by one.
            Self::Inner | Self::TargetAttention(_) | Self::Layers(_) => {
                tiles::inner(level, pack, rows, d, thresholds, offer);
            }
            Self::FactorAttention { sharpness, .. } => {
                tiles::attention(level, pack, sharpness, rows, biases, thresholds, offer);
            }
        }
    }
}

/// The tables of target attention, beside the item vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetAttention {
    /// k, already divided by √d: `n_items` × `d_keys`.
    pub keys: Vec<f32>,
    /// c: `n_items` × `d_keys`.
    pub queries: Vec<f32>,
    /// Numbers in a key.
    pub d_keys: usize,
    /// l: one for each item.
    pub logits: Vec<f32>,
    /// β, between 0 and 2.
    pub exponent: f32,
    /// One for each item, or none at all.
    pub bias: Vec<f32>,
}

impl TargetAttention {
    /// Checks shapes and numbers.
    fn check(&self, n_items: usize) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidData(message));
        for (table, name) in [(&self.keys, "keys"), (&self.queries, "queries")] {
            if table.len() != n_items * self.d_keys {
                return bad(format!("{name}: {} numbers for {n_items} rows of {}.", table.len(), self.d_keys));
            }
            check_finite(table, self.d_keys, name)?;
        }
        if self.logits.len() != n_items {
            return bad(format!("item logits: {} numbers for {n_items} items.", self.logits.len()));
        }
        check_finite(&self.logits, 1, "item logits")?;
        if !self.bias.is_empty() && self.bias.len() != n_items {
            return bad(format!("item biases: {} numbers for {n_items} items.", self.bias.len()));
        }
        check_finite(&self.bias, 1, "item biases")?;
        if !(0.0..=2.0).contains(&self.exponent) {
            return Err(Error::InvalidParameter(format!(
                "attention_exponent is {}; it must be between 0 and 2.",
                self.exponent
            )));
        }
        Ok(())
    }

    /// A bound of |l_j + ⟨k_j, c_i⟩|.
    pub(super) fn max_abs_logit(&self) -> f64 {
        let norm = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let max_norm = |table: &[f32]| table.chunks_exact(self.d_keys.max(1)).map(norm).fold(0.0, f64::max);
        let logit = self.logits.iter().fold(0f64, |largest, &l| largest.max(f64::from(l).abs()));
        logit + max_norm(&self.keys) * max_norm(&self.queries)
    }

    /// A bound of every intermediate number, to find out whether one could leave the range of f32.
    fn score_bound(&self, max_abs_logit: f64, query: &Query<'_>, item_max_abs: &[f32]) -> f64 {
        let squares: f64 = item_max_abs.iter().map(|&largest| f64::from(largest).powi(2)).sum();
        let exponent = f64::from(self.exponent);
        let n = query.longest_history as f64;
        // Σ w p ≤ n e^60 ‖q‖², (Σ w e)^β ≤ (n e^60)^β, and the factor.
        let spread =
            max_abs_logit.min(60.0) * exponent.max(1.0) + query.max_abs_logit.min(1e9) * (1.0 - exponent).abs();
        let bias = self.bias.iter().fold(0f64, |largest, &bias| largest.max(f64::from(bias).abs()));
        let dense: f64 = query.max_abs.iter().zip(item_max_abs).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum();
        // A logit is cut off only where it is finite.
        let cut = if max_abs_logit > OVERFLOW { f64::INFINITY } else { 0.0 };
        n.max(1.0).powi(2) * squares.max(1.0) * spread.exp() + dense + bias + cut
    }

    /// The dense part of the scores of some items for one row, pair by pair.
    fn dense(&self, level: Level, vectors: &[f32], query: &Query<'_>, row: usize, items: &[u32], scores: &mut [f32]) {
        dot::dots(level, query.vector(row), vectors, items, scores);
        let (history, logits) = query.history(row);
        let mut weights = Vec::new();
        let factor = attend::weights(level, logits, self.exponent, &mut weights);
        let tables = Tables {
            vectors,
            d: query.d,
            keys: &self.keys,
            queries: &self.queries,
            d_keys: self.d_keys,
            logits: &self.logits,
            exponent: self.exponent,
        };
        for (score, &item) in scores.iter_mut().zip(items) {
            if !history.is_empty() {
                *score = attend::score_one(level, tables, history, &weights, factor, item, *score);
            }
            if let Some(bias) = self.bias.get(item as usize) {
                *score += bias;
            }
        }
    }
}
