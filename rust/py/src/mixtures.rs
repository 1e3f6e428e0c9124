//! `_core.mixed_ndcg`: what many mixtures are worth to the same users.

use ancf_core::rank::{Mixture, Parts};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, to_csr};
use crate::enter::{Size, enter};
use crate::sets::{SetArrays, to_sets};

/// The factors of all items on both parts of a score.
type Factors<'py> = (PyReadonlyArray1<'py, f32>, PyReadonlyArray1<'py, f32>);

/// NDCG@n of what each user wants, by the scores a_i ⟨p_u, q_i⟩ + b_i Σ_j w_uj c_ji of all items that are not in `seen`, for
/// each (a, b) of `mixtures`, both (n_items,): p are `user_vectors`, q `item_vectors`, w the histories and c the neighbors of
/// `weights`. For each mixture (m,).
#[pyfunction]
#[pyo3(signature = (user_vectors, item_vectors, weights, seen, wanted, mixtures, n, num_threads=None))]
fn mixed_ndcg<'py>(
    py: Python<'py>,
    user_vectors: PyReadonlyArray2<'py, f32>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    weights: Option<(CsrArrays<'py>, CsrArrays<'py>)>,
    seen: SetArrays<'py>,
    wanted: SetArrays<'py>,
    mixtures: Vec<Factors<'py>>,
    n: usize,
    num_threads: Option<usize>,
) -> PyResult<Vec<Bound<'py, PyArray1<f64>>>> {
    let (n_items, factors) = (item_vectors.shape()[0], item_vectors.shape()[1]);
    let weights = match &weights {
        Some((histories, rows)) => Some((to_csr(py, histories, n_items)?, to_csr(py, rows, n_items)?)),
        None => None,
    };
    let (seen, wanted) = (to_sets(py, &seen, n_items)?, to_sets(py, &wanted, n_items)?);
    let parts = Parts {
        users: user_vectors.as_slice()?,
        items: item_vectors.as_slice()?,
        factors,
        neighbors: weights.as_ref().map(|(histories, rows)| (histories, rows)),
        seen: &seen,
    };
    let mixtures: Vec<Mixture<'_>> = mixtures
        .iter()
        .map(|(vectors, neighbors)| Ok(Mixture { vectors: vectors.as_slice()?, neighbors: neighbors.as_slice()? }))
        .collect::<PyResult<_>>()?;
    let found = enter(py, Size::Large, num_threads, |context| parts.ndcg(&mixtures, &wanted, n, context))?;
    Ok(found.into_iter().map(|of_users| of_users.into_pyarray(py)).collect())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(mixed_ndcg, module)?)
}
