//! Who gets what: exact top-N under one total order, with filters.
//!
//! ```text
//! dense(u, i)  = fma chain over k = 0..d of p_uk q_ik, started at 0         (or another head: see `Head`)
//! sparse(u, i) = fma chain over the history items j of u, ascending, of w_uj c_ji, started at 0
//! score(u, i)  = dense + sparse
//! shown(u, i)  = link(score + shift_u)
//! ```
//!
//! Order: score descending, then position ascending; −0 counts as 0, and a score that left the numbers (∞ − ∞) as −∞.
//! A list holds exactly min(N, eligible) items. Every path, thread count and instruction set gives the same bits:
//! `naive` in the tests is the specification, and all are compared with it by `==`.

mod asked;
mod engine;
mod index;
mod key;
mod lists;
mod plan;
#[cfg(test)]
mod proof_tests;
mod ranker;
mod sets;
mod shown;
mod single;
mod sparse;
mod target;
#[cfg(test)]
mod tests;

pub use asked::{Filters, Lists};
pub use key::{position_of, score_of};
pub use plan::{Choice, Path};
pub use ranker::{Head, People, Plan, Ranker};
pub use sets::Sets;
pub use shown::{Link, Shown};
pub use target::Target;
