//! Trainers of factor models: alternating least squares.

use std::sync::{Mutex, PoisonError};

use ancf_core::model::als::{Fixed, Penalty, solve};
use ancf_core::train::als;
use ancf_core::{Error, Result};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::convert::{CsrArrays, to_csr, to_rows};
use crate::enter::{Size, enter, to_python};

/// Entries up to which histories are folded in on the calling thread.
const FEW_ENTRIES: usize = 2000;

/// User vectors, item vectors, and the diagonal of the items' Gramian.
type AlsState<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

/// Alternating least squares; see `ancf.ALS`.
#[pyclass(frozen, module = "ancf._core")]
pub struct AlsTrainer {
    model: Mutex<als::Trainer>,
    factors: usize,
}

#[pymethods]
impl AlsTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, *, factors, unobserved_weight, regularization, regularization_exponent, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        factors: usize,
        unobserved_weight: f32,
        regularization: f32,
        regularization_exponent: f32,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let penalty = Penalty { unobserved_weight, regularization, exponent: regularization_exponent };
        let model =
            enter(py, Size::Large, num_threads, |_| als::Trainer::new(&interactions, factors, penalty, seed))?;
        Ok(Self { model: Mutex::new(model), factors })
    }

    /// Items given users, then users given items; the loss divided by the number of interactions.
    #[pyo3(signature = (num_threads=None))]
    fn epoch(&self, py: Python<'_>, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(context)
        })
    }

    /// User vectors (n_users, factors), item vectors (n_items, factors), and the diagonal of the items' Gramian.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<AlsState<'py>> {
        let [users, items, gramian] =
            self.model.lock().unwrap_or_else(PoisonError::into_inner).state().map(<[f32]>::to_vec);
        Ok((to_rows(py, users, self.factors)?, to_rows(py, items, self.factors)?, gramian.into_pyarray(py)))
    }
}

/// Users for histories (indptr, item positions, weights > 0) by one exact solution each, float32 (n, factors).
/// `gramian` is the diagonal of the Gramian of the item vectors, which has nothing beside it.
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, gramian, *, unobserved_weight, regularization, regularization_exponent, num_threads=None))]
fn als_user_vectors<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    gramian: PyReadonlyArray1<'py, f32>,
    unobserved_weight: f32,
    regularization: f32,
    regularization_exponent: f32,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let (items, gramian) = (item_vectors.as_slice()?, gramian.as_slice()?);
    if gramian.len() != d {
        return Err(to_python(py, &Error::InvalidData(format!("{} Gramian numbers for {d} factors.", gramian.len()))));
    }
    let penalty = Penalty { unobserved_weight, regularization, exponent: regularization_exponent };
    let size = if histories.len() > FEW_ENTRIES { Size::Large } else { Size::Small };
    let vectors = enter(py, size, num_threads, |context| -> Result<Vec<f32>> {
        let mut out = vec![0.0; histories.n_rows() * d];
        solve(&histories, &Fixed::diagonal(items, gramian), penalty, &mut out, context)?;
        Ok(out)
    })?;
    to_rows(py, vectors, d)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AlsTrainer>()?;
    module.add_function(wrap_pyfunction!(als_user_vectors, module)?)
}
