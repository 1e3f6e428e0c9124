//! Who gets what: exact top-N under one total order, with filters.
//!
//! ```text
//! dense(u, i)  = fma chain over k = 0..d of p_uk q_ik, started at 0         (or another head: see `Head`)
//! sparse(u, i) = fma chain over the history items j of u, ascending, of w_uj c_ji, started at 0
//! score(u, i)  = dense + sparse
//! output(u, i) = link(score + shift_u)
//! ```
//!
//! Order: score descending, then position ascending; −0 counts as 0, and a score that left the numbers (∞ − ∞) as −∞.
//! A list holds exactly min(N, eligible) items. Every path, thread count and instruction set gives the same bits:
//! `Case::naive` in the tests is the specification, and all are compared with it by `==`.
//!
//! Modules import only from the right:
//! `calls_by_rules` → {`calls`, `plain`, `first_thresholds`} → {`ranker`, `block`} → {`batch`, `single`, `target_attention`} → {`item_rows`, `offers`, `plan`} →
//! {`scorer`, `group_scan`} → {`candidates`, `head`, `index`} → `sketches` → {`byte_rows`, `row_sums`} →
//! {`bounds`, `neighbor_sums`} → `query` → {`output`, `key`, `sets`, `checks`, `settled`}; of the last five, `output`
//! imports `key`. `mixtures` imports `sets` and `key`, and `batch` and `plain` alone import `exclusions`.
//! `arrange` chooses lists that obey rules from rankings; it imports these four and `diversity`, which imports `key`, and
//! `block` and `single` ask it what rankings a list needs.

mod arrange;
mod batch;
mod block;
mod bounds;
mod byte_rows;
mod calls;
mod calls_by_rules;
mod candidates;
mod checks;
mod diversity;
mod exclusions;
mod first_thresholds;
mod group_scan;
mod head;
mod index;
mod item_rows;
mod key;
mod mixtures;
mod neighbor_sums;
#[cfg(test)]
mod neighbor_tests;
mod offers;
mod output;
mod plain;
mod plan;
#[cfg(test)]
mod proof_tests;
mod query;
mod ranker;
mod row_sums;
mod scorer;
mod sets;
mod settled;
mod single;
mod sketches;
mod target_attention;
#[cfg(test)]
mod test_cases;
#[cfg(test)]
mod tests;

pub use arrange::{AtLeast, AtMost, ListRules, RankingArrays, ReadyRankings};
pub use calls_by_rules::{ByRules, RuleTables};
pub use diversity::Diversity;
pub use head::{Head, TargetAttention};
pub use key::{position_of, score_of};
pub use mixtures::{Mixture, Parts};
pub use output::{Link, Lists, OutputTransform};
pub use plan::{Choice, Path, Plan};
pub use query::{Filters, Users};
pub use ranker::Ranker;
pub use sets::Sets;
