//! Sets of positions, row by row, and the ids that they are made of.

use ancf_core::rank::Sets;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyString, PyTuple};

use crate::enter::to_python;
use crate::file_bytes::Given;

/// Row offsets and positions as they come from Python.
pub type SetArrays<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i32>);

/// The same as they are handed to Python.
type SetsResult<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>);

/// Ids one after the other, and how many each row has.
type JoinedIds<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>);

/// Checks the two arrays once.
pub fn to_sets(py: Python<'_>, (offsets, items): &SetArrays<'_>, n_items: usize) -> PyResult<Sets> {
    // A negative number becomes a position far out of range, which `Sets` refuses.
    let offsets = Given::of(offsets)?.into_numbers(|o: i64| o as usize);
    let items = Given::of(items)?.into_numbers(|i: i32| i as u32);
    Sets::of_numbers(offsets, items, n_items).map_err(|e| to_python(py, &e))
}

fn from_sets(py: Python<'_>, sets: Sets) -> SetsResult<'_> {
    let (offsets, items) = sets.into_parts();
    let offsets: Vec<i64> = offsets.into_iter().map(|o| o as i64).collect();
    let items: Vec<i32> = items.into_iter().map(|i| i as i32).collect();
    (offsets.into_pyarray(py), items.into_pyarray(py))
}

/// Ids of one kind, the first of which says which.
enum Ids<'py> {
    None,
    Numbers(Vec<i64>),
    Texts(Vec<Bound<'py, PyAny>>),
}

impl<'py> Ids<'py> {
    /// Takes those of one row; whether they are of the kind of all others.
    fn extend(&mut self, mut row: impl Iterator<Item = Bound<'py, PyAny>>, total: usize) -> bool {
        if let Self::None = self {
            let Some(id) = row.next() else { return true };
            if id.is_exact_instance_of::<PyInt>() {
                *self = Self::Numbers(Vec::with_capacity(total));
            } else {
                *self = Self::Texts(Vec::with_capacity(total));
            }
            return self.extend(std::iter::once(id), total) && self.extend(row, total);
        }
        match self {
            Self::Numbers(numbers) => row.all(|id| {
                id.is_exact_instance_of::<PyInt>() && id.extract().map(|number| numbers.push(number)).is_ok()
            }),
            Self::Texts(texts) => row.all(|id| {
                let is_text = id.is_exact_instance_of::<PyString>();
                texts.push(id);
                is_text
            }),
            Self::None => true,
        }
    }
}

/// The ids of lists and tuples one after the other, as an array of int64 or a list of texts, and how many each has (int64);
/// None where there is anything else than lists or tuples of plain `int` below 64 bits or of plain `str` alone.
#[pyfunction]
fn join_ids<'py>(py: Python<'py>, rows: &Bound<'py, PyList>) -> PyResult<Option<JoinedIds<'py>>> {
    let mut lengths = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        lengths.push(match (row.cast_exact::<PyList>(), row.cast_exact::<PyTuple>()) {
            (Ok(list), _) => list.len() as i64,
            (_, Ok(tuple)) => tuple.len() as i64,
            _ => return Ok(None),
        });
    }
    let total = lengths.iter().sum::<i64>() as usize;
    let mut ids = Ids::None;
    for row in rows.iter() {
        let plain = match row.cast_into_exact::<PyList>() {
            Ok(list) => ids.extend(list.iter(), total),
            Err(row) => ids.extend(row.into_inner().cast_into_exact::<PyTuple>()?.iter(), total),
        };
        if !plain {
            return Ok(None);
        }
    }
    let joined = match ids {
        Ids::None => return Ok(None),
        Ids::Numbers(numbers) => numbers.into_pyarray(py).into_any(),
        Ids::Texts(texts) => PyList::new(py, texts)?.into_any(),
    };
    Ok(Some((joined, lengths.into_pyarray(py))))
}

/// The distinct ones of positions (k,) row by row, of which row r has `lengths[r]`: (offsets, items), and where they are
/// `counted` how often each stands in its row, int64. Negative ones are left out.
#[pyfunction]
fn sets_of_rows<'py>(
    py: Python<'py>,
    lengths: PyReadonlyArray1<'py, i64>,
    positions: PyReadonlyArray1<'py, i64>,
    n_items: usize,
    counted: bool,
) -> PyResult<(SetsResult<'py>, Option<Bound<'py, PyArray1<i64>>>)> {
    // A negative length becomes one that no number of positions fits.
    let lengths: Vec<usize> = lengths.as_slice()?.iter().map(|&length| length as usize).collect();
    let mut counts = counted.then(Vec::new);
    let sets =
        Sets::of_rows(&lengths, positions.as_slice()?, n_items, counts.as_mut()).map_err(|e| to_python(py, &e))?;
    let counts = counts.map(|counts| PyArray1::from_iter(py, counts.into_iter().map(i64::from)));
    Ok((from_sets(py, sets), counts))
}

/// Row by row what either of two sets holds: (offsets, items).
#[pyfunction]
fn union_of_sets<'py>(py: Python<'py>, one: SetArrays<'py>, other: SetArrays<'py>) -> PyResult<SetsResult<'py>> {
    let [one, other] = [one, other].map(|sets| to_sets(py, &sets, u32::MAX as usize));
    Ok(from_sets(py, one?.union(&other?).map_err(|e| to_python(py, &e))?))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(join_ids, module)?)?;
    module.add_function(wrap_pyfunction!(sets_of_rows, module)?)?;
    module.add_function(wrap_pyfunction!(union_of_sets, module)?)
}
