//! Metrics of recommendation lists.

mod ranking;

pub use ranking::{Lists, NAMES, NO_ITEM, RankingMetrics, Relevant, ranking_metrics};
