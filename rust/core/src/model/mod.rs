//! The formulas of the models: attention over histories, item vectors, item-item weights, layers.

pub mod als;
mod als_steps;
pub mod attention;
mod co_purchase_rows;
pub mod ease;
pub mod eigen;
pub mod fold_in;
pub mod item_knn;
pub mod layers;
pub mod replaced_weights;
pub mod ridge;
pub mod ridge_targets;
pub mod score_scales;
mod shared_pairs;
pub mod slim;
pub mod spectral;
pub mod user_knn;
pub mod weighting;
