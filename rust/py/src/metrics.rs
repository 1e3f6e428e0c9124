//! Ranking metrics of ready lists.

use ancf_core::Error;
use ancf_core::metrics::{self, Lists, NAMES, Relevant};
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::enter::{Size, enter, to_python};

/// Below so many list places a hand-off to the pool costs more than the work.
const MAX_INLINE_COST: usize = 20_000;

/// Metrics of the lists `items` (m, n), of which row u holds `counts[u]` positions, against `truth` (indptr, items rising
/// within a row), at every cut-off of `ks`: per user "ndcg@k", "recall@k", "precision@k", "map@k", "mrr@k", "hit@k" (float64, (m,)),
/// and "coverage@k", one number each. A position of -1 holds a place and is no hit. `n_truth`: how many items each user
/// wanted, unknown ones included; `n_catalogue`: how many of the `n_items` positions count for the coverage, all if not given.
#[pyfunction]
#[pyo3(signature = (items, counts, truth, gains, ks, n_items, *, n_truth=None, n_catalogue=None, num_threads=None))]
fn ranking_metrics<'py>(
    py: Python<'py>,
    items: PyReadonlyArray2<'py, i32>,
    counts: PyReadonlyArray1<'py, i32>,
    truth: (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i32>),
    gains: Option<PyReadonlyArray1<'py, f32>>,
    ks: Vec<usize>,
    n_items: usize,
    n_truth: Option<PyReadonlyArray1<'py, i64>>,
    n_catalogue: Option<usize>,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let contiguous = |what: &str| to_python(py, &Error::InvalidData(format!("{what} must be contiguous.")));
    let width = items.shape()[1];
    let lists = Lists {
        items: items.as_slice().map_err(|_| contiguous("items"))?,
        counts: counts.as_slice().map_err(|_| contiguous("counts"))?,
        width,
    };
    let relevant = Relevant {
        offsets: truth.0.as_slice().map_err(|_| contiguous("truth"))?,
        items: truth.1.as_slice().map_err(|_| contiguous("truth"))?,
        gains: gains.as_ref().map(|g| g.as_slice()).transpose().map_err(|_| contiguous("gains"))?,
        totals: n_truth.as_ref().map(|t| t.as_slice()).transpose().map_err(|_| contiguous("n_truth"))?,
    };
    let size = if lists.items.len() < MAX_INLINE_COST { Size::Small } else { Size::Large };
    let catalogue = n_catalogue.unwrap_or(n_items);
    let metrics = enter(py, size, num_threads, |context| {
        metrics::ranking_metrics(lists, relevant, &ks, n_items, catalogue, context)
    })?;
    let result = PyDict::new(py);
    let mut values = metrics.values.into_iter();
    for (&k, coverage) in ks.iter().zip(metrics.coverage) {
        for (name, column) in NAMES.iter().zip(&mut values) {
            result.set_item(format!("{name}@{k}"), PyArray1::from_vec(py, column))?;
        }
        result.set_item(format!("coverage@{k}"), coverage)?;
    }
    Ok(result)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ranking_metrics, module)?)
}
