//! Item-item weights by local ridge regression.

use ancf_core::model::ridge::Ridge;
use pyo3::prelude::*;

use crate::convert::{CsrArrays, CsrResult, from_csr, to_csr};
use crate::enter::{Size, enter};

/// Sparse item-item weights by local ridge regression; see `ancf.models.ridge`.
///
/// `interactions`: (indptr i64, indices i32, values f32) of users × items; the values do not count, the pairs do.
/// Returns the weights as (indptr, indices, values), one row for each source item.
#[pyfunction]
#[pyo3(signature = (interactions, n_items, *, candidates, neighbours, shrinkage, user_power, source_power, num_threads=None))]
fn ridge_neighbours<'py>(
    py: Python<'py>,
    interactions: CsrArrays<'py>,
    n_items: usize,
    candidates: usize,
    neighbours: usize,
    shrinkage: f32,
    user_power: f32,
    source_power: f32,
    num_threads: Option<usize>,
) -> PyResult<CsrResult<'py>> {
    let interactions = to_csr(py, &interactions, n_items)?;
    let ridge = Ridge { candidates, neighbors: neighbours, shrinkage, user_power, source_power };
    let weights = enter(py, Size::Large, num_threads, |context| ridge.fit(&interactions, context))?;
    Ok(from_csr(py, &weights))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ridge_neighbours, module)?)
}
