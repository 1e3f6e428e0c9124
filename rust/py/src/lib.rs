//! `ancf._core`: checks, converts, releases the GIL, maps errors. Nothing else.

#![forbid(unsafe_code)]
// PyO3 extracts arguments by value.
#![allow(clippy::needless_pass_by_value)]

mod convert;
mod enter;
mod measure;
mod neighbours;
mod network;
mod rank;
mod ranking;
mod ridge;
mod store;
mod system;
mod table;

use pyo3::prelude::*;

/// The Rust core of ancf. Use it through `ancf`, not directly.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    measure::register(module)?;
    neighbours::register(module)?;
    network::register(module)?;
    rank::register(module)?;
    ranking::register(module)?;
    ridge::register(module)?;
    store::register(module)?;
    system::register(module)?;
    table::register(module)?;
    Ok(())
}
