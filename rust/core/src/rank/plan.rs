//! Which way a call takes to its lists, and why. All ways give the same lists.

use crate::runtime::simd::{Level, bytes::has_kernel};

use super::index::Index;
use super::query::Query;
use super::ranker::{Head, Plan, Ranker};

/// Fewer items than this are scored at once.
const MIN_ITEMS_PRUNED: usize = 1024;

/// Lists longer than this part of the catalogue leave too little to discard.
const MIN_ITEMS_PER_LIST_PLACE: usize = 8;

/// Fewer users than this do not fill a group; they are served one after the other, as one user is.
pub(super) const MIN_USERS_BATCHED: usize = 12;

/// Fewer users than this are served in float32 before a table of the eligible items alone is there: 5 % of 40,000 and
/// of 200,000 items, d = 64 (Zen 3, 2026-11-25).
const MIN_USERS_OWN_INDEX: usize = 64;

/// A way to the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Every pair by itself, one after the other.
    Pairs,
    /// Every score in f32, 32 users at a time.
    Plain,
    /// A compact table first, f32 for what it cannot discard.
    Pruned,
    /// Tiles of candidates against all histories.
    Sweep,
}

/// A way and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way.
    pub path: Path,
    /// The reason, as a clause.
    pub why: &'static str,
}

impl Path {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Plain => "plain",
            Self::Pruned => "pruned",
            Self::Sweep => "sweep",
        }
    }
}

impl Ranker {
    /// The way for the rows asked for, to lists of `n` out of `count` items; `own_index` where these would get a table of
    /// their own.
    pub(super) fn choose(
        &self,
        plan: Plan,
        query: &Query<'_>,
        n: usize,
        count: usize,
        own_index: bool,
        level: Level,
    ) -> Choice {
        let overflow = self.may_overflow(query);
        let plain = |why| Choice { path: Path::Plain, why };
        if overflow || (self.factors() == 0 && !self.biases().is_empty()) {
            let why =
                if overflow { "sums could leave the range of float32" } else { "the head has biases and no factors" };
            return Choice { path: Path::Pairs, why };
        }
        match self.head() {
            Head::TargetAttention(_) => {
                return Choice {
                    path: Path::Sweep,
                    why: "candidates weigh the histories themselves, in tiles that all users share",
                };
            }
            Head::FactorAttention { .. } => return plain("attention over factors has no bound that would pay"),
            Head::Inner => {}
        }
        if !Index::fits(self.factors()) || count == 0 {
            return plain("there are no factors to compare, or too many");
        }
        match plan {
            Plan::Plain => return plain("it was asked for"),
            Plan::Pruned => return Choice { path: Path::Pruned, why: "it was asked for" },
            Plan::Auto => {}
        }
        if !has_kernel(level) {
            plain("this instruction set has no kernel for bytes")
        } else if count < MIN_ITEMS_PRUNED {
            plain("so few items are scored at once")
        } else if n * MIN_ITEMS_PER_LIST_PLACE > count {
            plain("such long lists leave little to discard")
        } else if query.n_rows < if own_index { MIN_USERS_OWN_INDEX } else { MIN_USERS_BATCHED } {
            plain("so few users do not pay for it")
        } else {
            Choice {
                path: Path::Pruned,
                why: "a table of bytes discards most items with a proven bound; a call goes on in float32 where that does not pay",
            }
        }
    }

    /// The way that lists of `n` for everybody in the training table take.
    pub fn plan(&self, n: usize, level: Level) -> Choice {
        let query = self.everyone();
        self.choose(Plan::Auto, &query, n.min(self.n_items()), self.n_items(), false, level)
    }
}
