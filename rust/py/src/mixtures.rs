//! `_core.mixed_top_n`: lists of the same users by many mixtures.

use ancf_core::rank::{Mixture, Parts};
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, to_csr};
use crate::enter::{Size, enter};
use crate::rank::{ListsResult, to_arrays};
use crate::sets::{SetArrays, to_sets};

/// The factors of all items on both parts of a score.
type Factors<'py> = (PyReadonlyArray1<'py, f32>, PyReadonlyArray1<'py, f32>);

/// The n best items of each user that are not in `seen`, by the scores a_i ⟨p_u, q_i⟩ + b_i Σ_j w_uj c_ji, for each (a, b) of
/// `mixtures`, both (n_items,): p are `user_vectors`, q `item_vectors`, w the histories and c the neighbors of `weights`.
/// For each mixture (items (m, n), scores (m, n), counts (m,)).
#[pyfunction]
#[pyo3(signature = (user_vectors, item_vectors, weights, seen, mixtures, n, num_threads=None))]
fn mixed_top_n<'py>(
    py: Python<'py>,
    user_vectors: PyReadonlyArray2<'py, f32>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    weights: Option<(CsrArrays<'py>, CsrArrays<'py>)>,
    seen: SetArrays<'py>,
    mixtures: Vec<Factors<'py>>,
    n: usize,
    num_threads: Option<usize>,
) -> PyResult<Vec<ListsResult<'py>>> {
    let (n_items, factors) = (item_vectors.shape()[0], item_vectors.shape()[1]);
    let weights = match &weights {
        Some((histories, rows)) => Some((to_csr(py, histories, n_items)?, to_csr(py, rows, n_items)?)),
        None => None,
    };
    let seen = to_sets(py, &seen, n_items)?;
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
    let lists = enter(py, Size::Large, num_threads, |context| parts.top_n(&mixtures, n, context))?;
    lists.into_iter().map(|lists| to_arrays(py, lists)).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(mixed_top_n, module)?)
}
