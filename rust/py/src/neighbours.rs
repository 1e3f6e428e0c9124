//! Sparse item-item similarity.

use ancf_core::model::item_knn::ItemKnn;
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use crate::convert::{CsrArrays, CsrResult, from_csr, to_csr};
use crate::enter::{Size, enter};

/// The `k` strongest targets i of every source item j as (indptr, items rising within a row, values):
/// `c_ji` = `P_ji` / (`D_j^source_power` · `D_i^target_power` + shrinkage), `P_ji` = Σ_u `w_uj` `w_ui` / `D_u^user_power`, D = Σ w².
#[pyfunction]
#[pyo3(signature = (indptr, indices, values, n_items, k, *, user_power=0.0, source_power=0.5, target_power=0.5,
                    shrinkage=0.0, keep_diagonal=false, num_threads=None))]
fn item_neighbours<'py>(
    py: Python<'py>,
    indptr: PyReadonlyArray1<'py, i64>,
    indices: PyReadonlyArray1<'py, i32>,
    values: PyReadonlyArray1<'py, f32>,
    n_items: usize,
    k: usize,
    user_power: f32,
    source_power: f32,
    target_power: f32,
    shrinkage: f32,
    keep_diagonal: bool,
    num_threads: Option<usize>,
) -> PyResult<CsrResult<'py>> {
    let arrays: CsrArrays<'py> = (indptr, indices, values);
    let interactions = to_csr(py, &arrays, n_items)?;
    let options = ItemKnn { neighbors: k, user_power, source_power, target_power, shrinkage, keep_diagonal };
    let rows = enter(py, Size::Large, num_threads, |context| options.fit(&interactions, context))?;
    Ok(from_csr(py, &rows))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(item_neighbours, module)?)
}
