//! The network: options, histories, parameters and the buffers of a step; and pass 1, which aggregates users into items.

use super::batch::Layout;
use super::head::Features;
use super::history::{AttentionRows, Histories};
use super::optimizer::Snapshot;
use super::options::Options;
use super::parameters::{CacheAligned, Parameters, purpose};
use super::queries::Queries;
use super::shared_negatives::SharedNegatives;
use crate::data::Csr;
use crate::model::attention::{Attention, propagate};
use crate::model::spectral;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::ln;
use crate::{Error, Result};

/// A model in training.
pub struct Network {
    pub(super) options: Options,
    pub(super) n_users: usize,
    pub(super) n_items: usize,
    pub(super) histories: Histories,
    /// The learned parameters.
    pub parameters: Parameters,
    pub(super) steps: u64,
    pub(super) snapshot: Snapshot,
    pub(super) buffers: Buffers,
    /// Entries of the longest history.
    pub(super) longest: usize,
    /// The state of the parameters (see [`Parameters::changes`]) whose item vectors, with all users aggregated, are in
    /// `buffers.v`.
    pub(super) aggregated_at: Option<u64>,
}

/// The buffers of a step, kept from one to the next.
#[derive(Default)]
pub(super) struct Buffers {
    pub layout: Layout,
    /// Users × d: z after dropout, then p⁰; in the backward pass its gradient.
    pub users: Vec<f32>,
    pub v: Vec<f32>,
    pub z: Vec<f32>,
    pub dz: Vec<f32>,
    pub dv: Vec<f32>,
    pub dx: Vec<f32>,
    pub ds: Vec<f32>,
    pub dy: Vec<f32>,
    /// The row of each candidate among those of the touched items.
    pub candidate_rows: Vec<u32>,
    /// Sums for sharpness and layer.
    pub totals: Vec<f32>,
    pub targets: Vec<f32>,
    pub log_weights: Vec<f32>,
    pub candidate_slopes: Vec<f32>,
    pub ones: Vec<f32>,
    pub rows: AttentionRows,
    pub queries: Queries,
    pub features: Features,
    pub shared: SharedNegatives,
}

/// Which users' own vectors are used in a step: all, or all but a random part.
#[derive(Clone, Copy)]
pub(super) struct UserDropout {
    pub draws: Stream,
    /// Part of the users that is left out.
    pub rate: f32,
}

impl UserDropout {
    pub const NONE: Self = Self { draws: Stream::new(0, 0), rate: 0.0 };

    pub fn keeps_user_vector(self, user: u32) -> bool {
        self.rate == 0.0 || self.draws.f32(u64::from(user)) >= self.rate
    }
}

impl Network {
    /// Checks the options, weighs the histories and makes the initial parameters.
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
        let attention = Attention::new(history, options.attention_kind.prior(), options.attention_exponent, false)?;
        let mut base = Vec::new();
        if options.attention_kind.is_learned() {
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
        let histories = Histories {
            attention,
            attention_kind: options.attention_kind,
            exponent: options.attention_exponent,
            base,
            ages,
        };
        let parameters = Parameters::new(n_users, n_items, &options);
        let buffers = Buffers {
            layout: Layout::new(n_users, n_items),
            ones: vec![1.0; 2 * options.factors],
            v: vec![0.0; if options.item_attention { n_items * options.factors } else { 0 }],
            ..Buffers::default()
        };
        let longest = (0..n_users).map(|user| history.row(user).len()).max().unwrap_or_default();
        let snapshot = Snapshot::default();
        Ok(Self {
            options,
            n_users,
            n_items,
            histories,
            parameters,
            steps: 0,
            snapshot,
            buffers,
            longest,
            aggregated_at: None,
        })
    }

    /// Replaces the random item vectors by those of the spectrum of the interactions.
    pub fn spectral_start(&mut self, interactions: &Csr, context: &Context) -> Result<()> {
        let draws = Stream::new(self.options.seed, purpose::ITEMS);
        let vectors = spectral::item_vectors(interactions, self.options.factors, draws, context)?;
        self.parameters.item_factors.values = CacheAligned::from(&*vectors);
        self.aggregated_at = None;
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

    /// Pass 1: v = x + B (z + A⁰ x), where items aggregate their users. It goes through all histories, so it is done once
    /// for each state of the parameters.
    pub(super) fn aggregate_users(&mut self, dropout: UserDropout, context: &Context) {
        let state = (dropout.rate == 0.0).then_some(self.parameters.changes());
        if !self.options.item_attention || (state.is_some() && self.aggregated_at == state) {
            return;
        }
        self.aggregated_at = state;
        let d = self.options.factors;
        let Self { histories, parameters, buffers: b, n_users, .. } = self;
        b.users.clear();
        b.users.resize(*n_users * d, 0.0);
        if self.options.user_factors {
            b.users.copy_from_slice(&parameters.user_factors.values);
            for (user, z) in b.users.chunks_exact_mut(d).enumerate() {
                if !dropout.keeps_user_vector(user as u32) {
                    z.fill(0.0);
                }
            }
        }
        let attention = &histories.attention;
        let x = &parameters.item_factors.values;
        if histories.attends() {
            propagate(context, d, &attention.users, &attention.a_by_user, x, &mut b.users);
        }
        b.v.copy_from_slice(x);
        propagate(context, d, &attention.items, &attention.b_by_item, &b.users, &mut b.v);
    }
}
