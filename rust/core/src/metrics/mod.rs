//! Metrics of recommendation lists.

mod ranking;

pub use ranking::{Lists, NAMES, RankingMetrics, Relevant, ranking_metrics};
