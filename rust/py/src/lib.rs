//! `ancf._core`: checks, converts, releases the GIL, maps errors. Nothing else.

#![forbid(unsafe_code)]

mod convert;
mod enter;
mod measure;
mod neighbours;
mod ridge;
mod system;
mod table;

use pyo3::prelude::*;

/// The Rust core of ancf. Use it through `ancf`, not directly.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    measure::register(module)?;
    neighbours::register(module)?;
    ridge::register(module)?;
    system::register(module)?;
    table::register(module)?;
    Ok(())
}
