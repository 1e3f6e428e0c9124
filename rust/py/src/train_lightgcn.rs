//! The trainer of embeddings that are propagated over the graph of purchases.

use std::sync::{Mutex, PoisonError};

use ancf_core::train::lightgcn::{Options, Trainer};
use numpy::{PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{CsrArrays, to_csr, to_positions, to_rows};
use crate::enter::{Size, enter};
use crate::progress::{Progress, progress, resume};

/// User vectors, item vectors, and what an item adds to a user.
type Vectors<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>);

/// LightGCN; see `ancf.LightGCN`.
#[pyclass(frozen, module = "ancf._core")]
pub struct LightGcnTrainer {
    model: Mutex<Trainer>,
    factors: usize,
}

#[pymethods]
impl LightGcnTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, *, factors, n_layers, epochs, batch_size, learning_rate, regularization, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        factors: usize,
        n_layers: usize,
        epochs: usize,
        batch_size: usize,
        learning_rate: f32,
        regularization: f32,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let options = Options { factors, n_layers, epochs, batch_size, learning_rate, regularization, seed };
        let model = enter(py, Size::Large, num_threads, |_| Trainer::new(&interactions, options))?;
        Ok(Self { model: Mutex::new(model), factors })
    }

    /// Every number that an epoch changes, by name, and the steps taken.
    #[pyo3(signature = (num_threads=None))]
    fn progress<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Progress<'py>> {
        progress(py, &self.model, num_threads)
    }

    /// Goes on from what `progress` gave.
    #[pyo3(signature = (numbers, steps, num_threads=None))]
    fn resume(
        &self,
        py: Python<'_>,
        numbers: Bound<'_, PyDict>,
        steps: u64,
        num_threads: Option<usize>,
    ) -> PyResult<()> {
        resume(py, &self.model, &numbers, steps, num_threads)
    }

    /// One pass over all purchases; the mean of −ln σ.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(epoch, context)
        })
    }

    /// User vectors (n_users, factors) and item vectors (n_items, factors), whose inner products are the scores, and what
    /// each item adds to a user who has it, times the root of how many they have (n_items, factors).
    #[pyo3(signature = (num_threads=None))]
    fn state<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Vectors<'py>> {
        let state = enter(py, Size::Large, num_threads, |context| {
            Ok(self.model.lock().unwrap_or_else(PoisonError::into_inner).state(context))
        })?;
        let rows = |numbers| to_rows(py, numbers, self.factors);
        Ok((rows(state.vectors.users)?, rows(state.vectors.items)?, rows(state.contributions)?))
    }

    /// Embeddings of users and items, and the slopes of the loss by them, of purchases: a user, an item they have and one
    /// they do not have, each by position; and the summed loss without the penalty.
    fn gradients<'py>(
        &self,
        py: Python<'py>,
        users: PyReadonlyArray1<'py, i64>,
        items: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<([Bound<'py, PyArray2<f32>>; 4], f64)> {
        let (users, items) = (to_positions(&users)?, to_positions(&items)?);
        let (slopes, loss, embeddings) = enter(py, Size::Large, Some(1), |context| {
            let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            let (slopes, loss) = model.sample_gradients(&users, &items, context)?;
            Ok((slopes, loss, model.embeddings().clone()))
        })?;
        let rows = |numbers| to_rows(py, numbers, self.factors);
        Ok(([rows(embeddings.users)?, rows(embeddings.items)?, rows(slopes.users)?, rows(slopes.items)?], loss))
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LightGcnTrainer>()
}
