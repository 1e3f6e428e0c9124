//! The trainer of item vectors by one softmax row per user.

use std::sync::{Mutex, PoisonError};

use ancf_core::Result;
use ancf_core::train::softmax::{Options, Trainer};
use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{CsrArrays, to_csr, to_rows};
use crate::enter::{Size, enter, to_python};
use crate::histories::prior;
use crate::progress::{Progress, progress, resume};

/// The options of training, by name.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct SoftmaxOptions {
    pub factors: usize,
    epochs: usize,
    batch_size: Option<usize>,
    attention: String,
    attention_exponent: f32,
    item_attention: bool,
    temperature: f32,
    negatives: usize,
    negative_exponent: f32,
    learning_rate: f32,
    regularization: f32,
    spectral_start: bool,
    seed: u64,
}

impl SoftmaxOptions {
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            factors: self.factors,
            epochs: self.epochs,
            batch_size: self.batch_size,
            prior: prior(&self.attention)?,
            attention_exponent: self.attention_exponent,
            item_attention: self.item_attention,
            temperature: self.temperature,
            negatives: self.negatives,
            negative_exponent: self.negative_exponent,
            learning_rate: self.learning_rate,
            regularization: self.regularization,
            spectral_start: self.spectral_start,
            seed: self.seed,
        })
    }
}

/// Trains item vectors by one softmax row per user; see `ancf.ANCF`.
#[pyclass(frozen, module = "ancf._core")]
pub struct SoftmaxTrainer {
    model: Mutex<Trainer>,
    factors: usize,
    n_items: usize,
}

#[pymethods]
impl SoftmaxTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, options, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        options: SoftmaxOptions,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let factors = options.factors;
        let options = options.options().map_err(|e| to_python(py, &e))?;
        let model = enter(py, Size::Large, num_threads, |context| Trainer::new(&interactions, options, context))?;
        Ok(Self { model: Mutex::new(model), factors, n_items })
    }

    /// Users of one step.
    #[getter]
    fn batch_size(&self) -> usize {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).batch_size()
    }

    /// Seconds of all threads in each part of the steps so far, by name.
    fn phase_times(&self) -> Vec<(&'static str, f64)> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).phase_times().to_vec()
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

    /// One pass over all users; the mean loss per interaction.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(epoch, context)
        })
    }

    /// The mean loss of held-out pairs: (indptr, items, values) by the users of training.
    #[pyo3(signature = (targets, num_threads=None))]
    fn validation_loss(&self, py: Python<'_>, targets: CsrArrays<'_>, num_threads: Option<usize>) -> PyResult<f64> {
        let targets = to_csr(py, &targets, self.n_items)?;
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).validation_loss(&targets, context)
        })
    }

    /// Item vectors as they stand, float32 (n_items, factors).
    #[pyo3(signature = (num_threads=None))]
    fn item_vectors<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let vectors = enter(py, Size::Large, num_threads, |context| {
            Ok(self.model.lock().unwrap_or_else(PoisonError::into_inner).item_vectors(context))
        })?;
        to_rows(py, vectors, self.factors)
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SoftmaxTrainer>()
}
