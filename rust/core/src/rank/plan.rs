//! Which path a call takes to its lists, and why. All paths give the same lists.

use crate::runtime::simd::{Level, int8_scan::has_kernel};

use super::index::Index;
use super::query::Query;
use super::scorer::Scorer;

/// Fewer items than this are scored at once.
const MIN_ITEMS_PRUNED: usize = 1024;

/// With fewer items than this for each place of a list, little is left to discard.
const MIN_ITEMS_PER_PLACE: usize = 8;

/// The same for one user after the other.
const MIN_ITEMS_PER_PLACE_FEW: usize = 4;

/// Fewer users than this do not fill a group; they are served one after the other, as one user is.
pub const MIN_USERS_BATCHED: usize = 12;

/// Fewer users than this are served in float32 before a table of the eligible items alone is there: 5 % of 40,000 and
/// of 200,000 items, d = 64 (Zen 3, 2026-11-25).
const MIN_USERS_OWN_INDEX: usize = 64;

/// The path that a caller wants; all give the same lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// The one that measured rules choose.
    #[default]
    Auto,
    /// Every score in f32.
    Plain,
    /// The compact table first, even where it does not pay.
    Pruned,
}

/// A path to the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Every pair by itself, one after the other.
    Pairs,
    /// Every score in f32, 32 users at a time.
    Plain,
    /// A compact table first, f32 for what it cannot discard.
    Pruned,
    /// Tiles of candidates against all histories.
    TargetSearch,
}

impl Path {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Plain => "plain",
            Self::Pruned => "pruned",
            Self::TargetSearch => "sweep",
        }
    }
}

/// A path and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The path.
    pub path: Path,
    /// The reason, as a clause.
    pub reason: &'static str,
}

/// The path for a query, to lists of `n` out of `n_eligible` items; `own_index` where these would get a table of their own.
pub fn choose(
    scorer: &Scorer,
    plan: Plan,
    query: &Query<'_>,
    n: usize,
    n_eligible: usize,
    own_index: bool,
    level: Level,
) -> Choice {
    let overflow = scorer.may_overflow(query);
    let plain = |reason| Choice { path: Path::Plain, reason };
    if overflow || (scorer.factors() == 0 && !scorer.head().biases().is_empty()) {
        let reason =
            if overflow { "sums could leave the range of float32" } else { "the head has biases and no factors" };
        return Choice { path: Path::Pairs, reason };
    }
    if scorer.head().is_pairwise() {
        return Choice { path: Path::Pairs, reason: "every pair goes through the layers" };
    }
    if scorer.head().target().is_some() {
        let reason = "candidates weigh the histories themselves, in tiles that all users share";
        return Choice { path: Path::TargetSearch, reason };
    }
    if !scorer.head().is_inner() {
        return plain("attention over factors has no bound that would pay");
    }
    if !Index::supports(scorer.factors()) || n_eligible == 0 {
        return plain("there are no factors to compare, or too many");
    }
    match plan {
        Plan::Plain => return plain("it was requested"),
        Plan::Pruned => return Choice { path: Path::Pruned, reason: "it was requested" },
        Plan::Auto => {}
    }
    if !has_kernel(level) {
        plain("this instruction set has no kernel for bytes")
    } else if n_eligible < MIN_ITEMS_PRUNED {
        plain("so few items are scored at once")
    } else if n * MIN_ITEMS_PER_PLACE > n_eligible {
        plain("such long lists leave little to discard")
    } else if query.n_rows < if own_index { MIN_USERS_OWN_INDEX } else { MIN_USERS_BATCHED } {
        plain("so few users do not pay for it")
    } else {
        Choice {
            path: Path::Pruned,
            reason: "a table of bytes discards most items with a proven bound; a call goes on in float32 where that does not pay",
        }
    }
}

/// Whether the compact table serves lists of `n` out of `n_eligible` items for one user after the other.
pub fn prunes_few(scorer: &Scorer, query: &Query<'_>, n: usize, n_eligible: usize) -> bool {
    n * MIN_ITEMS_PER_PLACE_FEW <= n_eligible && scorer.can_prune(query)
}
