//! How good it is - ranking metrics.

mod ranking;

pub use ranking::{Lists, NAMES, Ranking, Wanted, ranking_metrics};
