//! Text tables and rows of events.

use ancf_core::Error;
use ancf_core::data::events;
use ancf_core::data::scan::{Column, Kind, Scanner, Table};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::enter::{Size, enter, to_python};

/// Scans delimited text, block after block. `wanted` names fields by position and what they hold: text, number, moment.
#[pyclass(module = "ancf._core")]
struct TableScanner {
    scanner: Option<Scanner>,
}

fn finished(py: Python<'_>) -> PyErr {
    to_python(py, &Error::InvalidParameter("this scanner is finished; begin another.".into()))
}

#[pymethods]
impl TableScanner {
    #[new]
    fn new(py: Python<'_>, delimiter: u8, n_fields: usize, wanted: Vec<(usize, String)>) -> PyResult<Self> {
        let kinds = wanted.into_iter().map(|(field, kind)| match kind.as_str() {
            "text" => Ok((field, Kind::Text)),
            "number" => Ok((field, Kind::Number)),
            "moment" => Ok((field, Kind::Moment)),
            other => Err(Error::InvalidParameter(format!("{other:?} is no kind of column: text, number or moment."))),
        });
        let built =
            kinds.collect::<ancf_core::Result<Vec<_>>>().and_then(|kinds| Scanner::new(delimiter, n_fields, kinds));
        Ok(Self { scanner: Some(built.map_err(|e| to_python(py, &e))?) })
    }

    /// Complete rows so far.
    #[getter]
    fn rows(&self) -> usize {
        self.scanner.as_ref().map_or(0, Scanner::rows)
    }

    /// Scans the rows that are complete with this block.
    #[pyo3(signature = (block, num_threads=None))]
    fn feed(&mut self, py: Python<'_>, block: &[u8], num_threads: Option<usize>) -> PyResult<()> {
        let scanner = self.scanner.as_mut().ok_or_else(|| finished(py))?;
        enter(py, Size::Large, num_threads, |context| scanner.feed(block, &context.cancel))
    }

    /// The number of rows, a dictionary of arrays per column, the rows with too many fields, the blank ones.
    #[pyo3(signature = (num_threads=None))]
    fn finish<'py>(&mut self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Scanned<'py>> {
        let scanner = self.scanner.take().ok_or_else(|| finished(py))?;
        let table = enter(py, Size::Large, num_threads, move |context| scanner.finish(&context.cancel))?;
        let Table { rows, columns, long, blank } = table;
        let columns = columns.into_iter().map(|column| to_dict(py, column)).collect::<PyResult<_>>()?;
        Ok((rows, columns, long.into_pyarray(py), blank.into_pyarray(py)))
    }
}

type Scanned<'py> = (usize, Vec<Bound<'py, PyDict>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>);

fn to_dict(py: Python<'_>, column: Column) -> PyResult<Bound<'_, PyDict>> {
    let result = PyDict::new(py);
    result.set_item("codes", column.codes.into_pyarray(py))?;
    result.set_item("numbers", column.numbers.into_pyarray(py))?;
    result.set_item("seconds", column.seconds.into_pyarray(py))?;
    result.set_item("odd_rows", column.odd_rows.into_pyarray(py))?;
    result.set_item("odd_codes", column.odd_codes.into_pyarray(py))?;
    result.set_item("texts", column.texts.into_pyarray(py))?;
    result.set_item("offsets", column.offsets.into_pyarray(py))?;
    Ok(result)
}

type Canonical<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f32>>,
    Option<Bound<'py, PyArray1<i64>>>,
    Bound<'py, PyArray1<i64>>,
);

/// Rows as events sorted by user, item and time, equal ones summed; and the rows that were summed into an earlier one.
#[pyfunction]
#[pyo3(signature = (users, items, weights, times, n_users, n_items, num_threads=None))]
fn canonical_events<'py>(
    py: Python<'py>,
    users: PyReadonlyArray1<'py, i32>,
    items: PyReadonlyArray1<'py, i32>,
    weights: PyReadonlyArray1<'py, f64>,
    times: Option<PyReadonlyArray1<'py, i64>>,
    n_users: usize,
    n_items: usize,
    num_threads: Option<usize>,
) -> PyResult<Canonical<'py>> {
    let (users, items, weights) = (users.as_slice()?, items.as_slice()?, weights.as_slice()?);
    let times = times.as_ref().map(|times| times.as_slice()).transpose()?;
    let size = if users.len() < 10_000 { Size::Small } else { Size::Large };
    let sorted = enter(py, size, num_threads, |context| {
        events::canonical(users, items, weights, times.unwrap_or_default(), (n_users, n_items), &context.cancel)
    })?;
    Ok((
        sorted.users.into_pyarray(py),
        sorted.items.into_pyarray(py),
        sorted.weights.into_pyarray(py),
        times.map(|_| sorted.times.into_pyarray(py)),
        sorted.repeated.into_pyarray(py),
    ))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TableScanner>()?;
    module.add_function(wrap_pyfunction!(canonical_events, module)?)
}
