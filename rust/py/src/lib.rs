//! `ancf._core`: checks, converts, releases the GIL, maps errors. Nothing else.

#![forbid(unsafe_code)]
// PyO3 extracts arguments by value.
#![allow(clippy::needless_pass_by_value)]

mod convert;
mod data;
mod enter;
mod file_bytes;
mod freed_beside;
mod heads;
mod histories;
mod ids;
mod item_weights;
mod list_maker;
mod lists;
mod metrics;
mod mixtures;
mod progress;
mod rank;
mod rules;
mod score_scales;
mod sets;
mod store;
mod system;
mod train_factors;
mod train_lightgcn;
mod train_network;
mod train_neural;
mod train_shard;
mod train_softmax;

use pyo3::prelude::*;

/// The Rust core of ancf. Use it through `ancf`, not directly.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    data::register(module)?;
    file_bytes::register(module)?;
    histories::register(module)?;
    ids::register(module)?;
    item_weights::register(module)?;
    list_maker::register(module)?;
    metrics::register(module)?;
    mixtures::register(module)?;
    rank::register(module)?;
    rules::register(module)?;
    score_scales::register(module)?;
    sets::register(module)?;
    store::register(module)?;
    system::register(module)?;
    train_factors::register(module)?;
    train_lightgcn::register(module)?;
    train_network::register(module)?;
    train_neural::register(module)?;
    train_shard::register(module)?;
    train_softmax::register(module)?;
    Ok(())
}
