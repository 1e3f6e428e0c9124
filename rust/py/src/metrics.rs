//! Ranking metrics of ready lists.

use ancf_core::Error;
use ancf_core::metrics::{self, ItemFacts, Lists, NAMES, PROPERTIES, Relevant, Rows};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
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

/// Sets of positions as they come from Python: row offsets, positions.
type RowArrays<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i32>);

/// The same as it is handed to Python.
type RowsResult<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>);

fn rows<'a>(py: Python<'_>, arrays: &'a RowArrays<'_>, n_columns: usize, what: &str) -> PyResult<Rows<'a>> {
    Rows::new(arrays.0.as_slice()?, arrays.1.as_slice()?, n_columns, what).map_err(|e| to_python(py, &e))
}

/// Properties of the lists `items` (m, n), -1 for no item, at every cut-off of `ks`: per user "novelty@k", "popularity@k",
/// "serendipity@k" (against `truth`) and, with `item_users` (the users of each item, `n_users` in all), "diversity@k".
/// `information`, `popularity` and `expected` have a number for each item; `n_catalogue` is the size of the catalogue.
#[pyfunction]
#[pyo3(signature = (items, counts, truth, ks, information, popularity, expected, n_catalogue, *, item_users=None, n_users=0, num_threads=None))]
fn list_properties<'py>(
    py: Python<'py>,
    items: PyReadonlyArray2<'py, i32>,
    counts: PyReadonlyArray1<'py, i32>,
    truth: RowArrays<'py>,
    ks: Vec<usize>,
    information: PyReadonlyArray1<'py, f64>,
    popularity: PyReadonlyArray1<'py, f64>,
    expected: PyReadonlyArray1<'py, f64>,
    n_catalogue: usize,
    item_users: Option<RowArrays<'py>>,
    n_users: usize,
    num_threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let lists = Lists { items: items.as_slice()?, counts: counts.as_slice()?, width: items.shape()[1] };
    let information = information.as_slice()?;
    let relevant = rows(py, &truth, information.len(), "the relevant items")?;
    let users = item_users.as_ref().map(|each| rows(py, each, n_users, "the users of the items")).transpose()?;
    let facts = ItemFacts {
        information,
        popularity: popularity.as_slice()?,
        expected: expected.as_slice()?,
        users: users.map(|each| (each, n_users)),
        n_catalogue,
    };
    let columns =
        enter(py, Size::Large, num_threads, |context| metrics::list_properties(lists, relevant, &ks, facts, context))?;
    let result = PyDict::new(py);
    let mut columns = columns.into_iter();
    for &k in &ks {
        for (name, column) in PROPERTIES.iter().zip(&mut columns) {
            if *name != "diversity" || facts.users.is_some() {
                result.set_item(format!("{name}@{k}"), PyArray1::from_vec(py, column))?;
            }
        }
    }
    Ok(result)
}

/// The area under the ROC curve for each of the whole rankings `items` (m, n) with descending `scores`; NaN where nothing or
/// everything is relevant.
#[pyfunction]
fn auc<'py>(
    py: Python<'py>,
    items: PyReadonlyArray2<'py, i32>,
    scores: PyReadonlyArray2<'py, f32>,
    counts: PyReadonlyArray1<'py, i32>,
    truth: RowArrays<'py>,
    n_items: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let lists = Lists { items: items.as_slice()?, counts: counts.as_slice()?, width: items.shape()[1] };
    let (scores, relevant) = (scores.as_slice()?, rows(py, &truth, n_items, "the relevant items")?);
    let values = enter(py, Size::Large, Some(1), |_| metrics::auc(lists, scores, relevant))?;
    Ok(PyArray1::from_vec(py, values))
}

/// For each user `n` items of `n_items` outside their row of `excluded`, ascending: offsets and positions. `users` are the
/// numbers that tell their draws apart.
#[pyfunction]
#[pyo3(signature = (seed, users, excluded, n_items, n, *, num_threads=None))]
fn sample_negatives<'py>(
    py: Python<'py>,
    seed: u64,
    users: PyReadonlyArray1<'py, i64>,
    excluded: RowArrays<'py>,
    n_items: usize,
    n: usize,
    num_threads: Option<usize>,
) -> PyResult<RowsResult<'py>> {
    let (users, excluded) = (users.as_slice()?, rows(py, &excluded, n_items, "the items left out")?);
    let sampled = enter(py, Size::Large, num_threads, |context| {
        metrics::sample_negatives(seed, users, excluded, n_items, n, context)
    })?;
    let mut offsets = vec![0];
    for row in &sampled {
        offsets.push(offsets[offsets.len() - 1] + row.len() as i64);
    }
    Ok((offsets.into_pyarray(py), sampled.concat().into_pyarray(py)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(auc, module)?)?;
    module.add_function(wrap_pyfunction!(list_properties, module)?)?;
    module.add_function(wrap_pyfunction!(sample_negatives, module)?)?;
    module.add_function(wrap_pyfunction!(ranking_metrics, module)?)
}
