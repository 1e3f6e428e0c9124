//! Metrics of recommendation lists: of their hits (`ranking`), beyond them (`properties`), of whole rankings (`auc`), and
//! the candidates that rankings may be restricted to (`negatives`).

mod auc;
mod negatives;
mod properties;
mod ranking;
mod rows;

pub use auc::auc;
pub use negatives::sample_negatives;
pub use properties::{ItemFacts, PROPERTIES, list_properties};
pub use ranking::{Lists, NAMES, NO_ITEM, RankingMetrics, Relevant, ranking_metrics};
pub use rows::Rows;
