//! What this machine offers: threads and instruction sets.

use ancf_core::runtime::{pool, simd::Level};
use pyo3::prelude::*;

use crate::enter::to_python;

/// The threads a call would use: `num_threads` as asked, else `ANCF_NUM_THREADS`, else the processors available.
#[pyfunction]
#[pyo3(signature = (num_threads=None))]
fn resolve_num_threads(py: Python<'_>, num_threads: Option<usize>) -> PyResult<usize> {
    pool::resolve_num_threads(num_threads).map_err(|e| to_python(py, &e))
}

/// The instruction set a call would use, and all that this processor has, slowest first.
#[pyfunction]
fn simd_levels(py: Python<'_>) -> PyResult<(&'static str, Vec<&'static str>)> {
    let chosen = Level::detect().map_err(|e| to_python(py, &e))?;
    Ok((chosen.name(), Level::available().iter().map(|level| level.name()).collect()))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(resolve_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(simd_levels, module)?)
}
