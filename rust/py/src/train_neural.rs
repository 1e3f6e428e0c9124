//! The trainer of products of embeddings and layers over them, and users folded into what it learned.

use std::sync::{Mutex, PoisonError};

use ancf_core::Error;
use ancf_core::train::neural::{FoldIn, FoldInScratch, Options, Prior, Trainer};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{CsrArrays, LayerArrays, to_csr, to_layers, to_positions, to_rows};
use crate::enter::{Size, enter, to_python};
use crate::progress::{Progress, progress, resume};

/// Entries up to which histories are folded in on the calling thread.
const FEW_ENTRIES: usize = 20;

/// User vectors, item vectors, the numbers of the layers.
type Served<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>);

/// GMF, MLP and NeuMF; see `ancf.NeuMF`.
#[pyclass(frozen, module = "ancf._core")]
pub struct NeuralTrainer {
    model: Mutex<Trainer>,
    width: usize,
}

#[pymethods]
impl NeuralTrainer {
    #[new]
    #[pyo3(signature = (interactions, n_items, *, product, embedding, widths, epochs, batch_size, negatives, learning_rate, regularization, dropout, seed, num_threads=None))]
    fn new(
        py: Python<'_>,
        interactions: CsrArrays<'_>,
        n_items: usize,
        product: usize,
        embedding: usize,
        widths: Vec<usize>,
        epochs: usize,
        batch_size: usize,
        negatives: usize,
        learning_rate: f32,
        regularization: f32,
        dropout: f32,
        seed: u64,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        let interactions = to_csr(py, &interactions, n_items)?;
        let options = Options {
            product,
            embedding,
            widths,
            epochs,
            batch_size,
            negatives,
            learning_rate,
            regularization,
            dropout,
            seed,
        };
        let model = enter(py, Size::Large, num_threads, |_| Trainer::new(&interactions, options))?;
        Ok(Self { model: Mutex::new(model), width: product + embedding })
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

    /// One pass over all purchases; the mean cross-entropy of a sample.
    #[pyo3(signature = (epoch, num_threads=None))]
    fn epoch(&self, py: Python<'_>, epoch: usize, num_threads: Option<usize>) -> PyResult<f64> {
        enter(py, Size::Large, num_threads, |context| {
            self.model.lock().unwrap_or_else(PoisonError::into_inner).epoch(epoch, context)
        })
    }

    /// User vectors and item vectors as the ranker reads them, and the numbers of the layers; without layers the inner product
    /// of the vectors is the score.
    #[pyo3(signature = (num_threads=None))]
    fn state<'py>(&self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Served<'py>> {
        let state = enter(py, Size::Large, num_threads, |context| {
            Ok(self.model.lock().unwrap_or_else(PoisonError::into_inner).state(context))
        })?;
        let (d, layers) = (state.factors, state.layers);
        Ok((to_rows(py, state.users, d)?, to_rows(py, state.items, d)?, layers.into_pyarray(py)))
    }

    /// Embeddings of users and of items, and all other weights, as they stand.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Served<'py>> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let [users, items, weights] = model.parameters().map(<[f32]>::to_vec);
        Ok((to_rows(py, users, self.width)?, to_rows(py, items, self.width)?, weights.into_pyarray(py)))
    }

    /// The slopes of the mean cross-entropy of samples by the parameters, and that loss. Each user has as many items, one
    /// after the other, with a label each.
    fn gradients<'py>(
        &self,
        py: Python<'py>,
        users: PyReadonlyArray1<'py, i64>,
        items: PyReadonlyArray1<'py, i64>,
        labels: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<(Served<'py>, f64)> {
        let (users, items, labels) = (to_positions(&users)?, to_positions(&items)?, labels.as_slice()?);
        let ([users, items, weights], loss) = enter(py, Size::Large, Some(1), |context| {
            let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            model.sample_gradients(&users, &items, labels, context)
        })?;
        let slopes = (to_rows(py, users, self.width)?, to_rows(py, items, self.width)?, weights.into_pyarray(py));
        Ok((slopes, loss))
    }
}

/// Users for histories (indptr, item positions, any values) with the items and layers held fixed: float32 (n, d). `mean` and
/// `deviation` (d,) are those of the users of training; `negatives` items are drawn against each of a history.
#[pyfunction]
#[pyo3(signature = (histories, item_vectors, mean, deviation, *, negatives, seed, layers=None, num_threads=None))]
fn neural_user_vectors<'py>(
    py: Python<'py>,
    histories: CsrArrays<'py>,
    item_vectors: PyReadonlyArray2<'py, f32>,
    mean: PyReadonlyArray1<'py, f32>,
    deviation: PyReadonlyArray1<'py, f32>,
    negatives: usize,
    seed: u64,
    layers: Option<LayerArrays<'py>>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (n_items, d) = (item_vectors.as_array().nrows(), item_vectors.as_array().ncols());
    let histories = to_csr(py, &histories, n_items)?;
    let layers = layers.map(|layers| to_layers(py, &layers)).transpose()?;
    let (items, mean, deviation) = (item_vectors.as_slice()?, mean.as_slice()?, deviation.as_slice()?);
    if mean.len() != d || deviation.len() != d || layers.as_ref().is_some_and(|layers| layers.factors() != d) {
        let message = format!("mean, deviation and layers must be those of vectors with {d} numbers.");
        return Err(to_python(py, &Error::InvalidData(message)));
    }
    let fold_in = FoldIn::new(items, layers.as_ref(), Prior { mean, deviation }, negatives, seed);
    let size = if histories.len() > FEW_ENTRIES { Size::Large } else { Size::Small };
    let vectors = enter(py, size, num_threads, |context| {
        let mut out = vec![0.0; histories.n_rows() * d];
        let rows = out.chunks_exact_mut(d.max(1)).enumerate();
        context.try_for_each_task(rows, FoldInScratch::default, |scratch, (row, out)| {
            context.cancel.check()?;
            fold_in.user(context.level, histories.row(row), scratch, out);
            Ok(())
        })?;
        Ok(out)
    })?;
    to_rows(py, vectors, d)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<NeuralTrainer>()?;
    module.add_function(wrap_pyfunction!(neural_user_vectors, module)?)
}
