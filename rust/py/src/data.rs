//! Text tables and rows of events. Large arrays are NumPy's from the beginning: it asks for large pages, which make fresh
//! memory several times cheaper than the core's own allocations.

use ancf_core::Error;
use ancf_core::data::scan::{Scanner, Table};
use ancf_core::data::schema::{Kind, Target};
use ancf_core::data::{Column, events, texts};
use numpy::{Element, IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySlice};

use crate::enter::{Size, enter, to_python};

/// An array whose values do not matter yet.
fn empty<T: Element>(py: Python<'_>, n: usize) -> PyResult<Bound<'_, PyArray1<T>>> {
    Ok(py.import("numpy")?.call_method1("empty", (n, numpy::dtype::<T>(py)))?.cast_into()?)
}

/// The first `n` values: a copy where most of the array would be kept for nothing.
fn truncated<'py, T: Element>(array: &Bound<'py, PyArray1<T>>, n: usize) -> PyResult<Bound<'py, PyArray1<T>>> {
    let part = array.get_item(PySlice::new(array.py(), 0, n as isize, 1))?;
    let part = if n < array.len()? / 2 { part.call_method0("copy")? } else { part };
    Ok(part.cast_into()?)
}

/// A column's values: as many as there is room for.
enum Values {
    Codes(Py<PyArray1<i32>>),
    Numbers(Py<PyArray1<f64>>),
    Seconds(Py<PyArray1<i64>>),
}

/// The same, borrowed.
enum BorrowedColumn<'py> {
    Codes(PyReadwriteArray1<'py, i32>),
    Numbers(PyReadwriteArray1<'py, f64>),
    Seconds(PyReadwriteArray1<'py, i64>),
}

impl Values {
    fn new(py: Python<'_>, kind: Kind, n: usize) -> PyResult<Self> {
        Ok(match kind {
            Kind::Text => Self::Codes(empty(py, n)?.unbind()),
            Kind::Number => Self::Numbers(empty(py, n)?.unbind()),
            Kind::Timestamp => Self::Seconds(empty(py, n)?.unbind()),
        })
    }

    fn borrow<'py>(&self, py: Python<'py>) -> BorrowedColumn<'py> {
        match self {
            Self::Codes(array) => BorrowedColumn::Codes(array.bind(py).readwrite()),
            Self::Numbers(array) => BorrowedColumn::Numbers(array.bind(py).readwrite()),
            Self::Seconds(array) => BorrowedColumn::Seconds(array.bind(py).readwrite()),
        }
    }

    /// With room for `n`, the first `kept` values as they were.
    fn resized(&self, py: Python<'_>, n: usize, kept: usize) -> PyResult<Self> {
        fn copied<T: Element + Copy>(old: &Bound<'_, PyArray1<T>>, n: usize, kept: usize) -> PyResult<Py<PyArray1<T>>> {
            let new = empty(old.py(), n)?;
            new.readwrite().as_slice_mut()?[..kept].copy_from_slice(&old.readonly().as_slice()?[..kept]);
            Ok(new.unbind())
        }
        Ok(match self {
            Self::Codes(array) => Self::Codes(copied(array.bind(py), n, kept)?),
            Self::Numbers(array) => Self::Numbers(copied(array.bind(py), n, kept)?),
            Self::Seconds(array) => Self::Seconds(copied(array.bind(py), n, kept)?),
        })
    }
}

impl BorrowedColumn<'_> {
    fn target(&mut self) -> PyResult<Target<'_>> {
        Ok(match self {
            Self::Codes(array) => Target::Codes(array.as_slice_mut()?),
            Self::Numbers(array) => Target::Numbers(array.as_slice_mut()?),
            Self::Seconds(array) => Target::Seconds(array.as_slice_mut()?),
        })
    }
}

/// Does `work` on the columns, borrowed as targets for values.
fn with_targets<T>(
    py: Python<'_>,
    columns: &[Values],
    work: impl FnOnce(&mut [Target<'_>]) -> PyResult<T>,
) -> PyResult<T> {
    let mut borrowed: Vec<BorrowedColumn<'_>> = columns.iter().map(|values| values.borrow(py)).collect();
    let mut targets = borrowed.iter_mut().map(BorrowedColumn::target).collect::<PyResult<Vec<_>>>()?;
    work(&mut targets)
}

/// Scans delimited text, block after block. `wanted` names fields by position and what they hold: text, number,
/// timestamp.
///
/// `size`: bytes of the whole text where they are known, else 0; so that arrays need not grow.
#[pyclass(module = "ancf._core")]
struct TableScanner {
    scanner: Option<Scanner>,
    kinds: Vec<Kind>,
    columns: Vec<Values>,
    /// Rows that the columns have room for.
    room: usize,
    size: usize,
    seen: usize,
}

/// Bytes that tell how many rows there will be.
const ROW_ESTIMATE_BYTES: usize = 1 << 20;

fn finished(py: Python<'_>) -> PyErr {
    to_python(py, &Error::InvalidParameter("this scanner is finished; begin another.".into()))
}

#[pymethods]
impl TableScanner {
    #[new]
    #[pyo3(signature = (delimiter, n_fields, wanted, size=0, comment=None))]
    fn new(
        py: Python<'_>,
        delimiter: u8,
        n_fields: usize,
        wanted: Vec<(usize, String)>,
        size: usize,
        comment: Option<u8>,
    ) -> PyResult<Self> {
        let kinds = wanted.into_iter().map(|(field, kind)| match kind.as_str() {
            "text" => Ok((field, Kind::Text)),
            "number" => Ok((field, Kind::Number)),
            "timestamp" => Ok((field, Kind::Timestamp)),
            other => {
                Err(Error::InvalidParameter(format!("{other:?} is no kind of column: text, number or timestamp.")))
            }
        });
        let kinds = kinds.collect::<ancf_core::Result<Vec<_>>>().map_err(|e| to_python(py, &e))?;
        let columns = kinds.iter().map(|&(_, kind)| Values::new(py, kind, 0)).collect::<PyResult<_>>()?;
        let own_kinds = kinds.iter().map(|&(_, kind)| kind).collect();
        let scanner = Scanner::new(delimiter, n_fields, comment, kinds).map_err(|e| to_python(py, &e))?;
        Ok(Self { scanner: Some(scanner), kinds: own_kinds, columns, room: 0, size, seen: 0 })
    }

    /// Complete rows so far.
    #[getter]
    fn rows(&self) -> usize {
        self.scanner.as_ref().map_or(0, Scanner::rows)
    }

    /// Scans the rows that are complete with this block.
    #[pyo3(signature = (block, num_threads=None))]
    fn feed(&mut self, py: Python<'_>, block: &[u8], num_threads: Option<usize>) -> PyResult<()> {
        self.seen += block.len();
        let may_wait = self.room == 0 && self.seen < ROW_ESTIMATE_BYTES;
        self.scan(py, num_threads, may_wait, |scanner, context| scanner.feed(block, &context.cancel))
    }

    /// The number of rows, a dictionary of arrays per column, the rows with too many fields, the blank ones, the
    /// comments.
    #[pyo3(signature = (num_threads=None))]
    fn finish<'py>(&mut self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Scanned<'py>> {
        self.scan(py, num_threads, false, |scanner, context| scanner.end(&context.cancel))?;
        let scanner = self.scanner.take().ok_or_else(|| finished(py))?;
        self.finished(py, scanner, num_threads)
    }

    /// What `finish` returns, of the rows that are complete; those that follow are counted from 0 again.
    #[pyo3(signature = (num_threads=None))]
    fn take_rows<'py>(&mut self, py: Python<'py>, num_threads: Option<usize>) -> PyResult<Scanned<'py>> {
        self.scan(py, num_threads, false, |_, _| Ok(()))?;
        let scanner = self.scanner.as_mut().ok_or_else(|| finished(py))?.take_rows();
        let taken = self.finished(py, scanner, num_threads)?;
        (self.room, self.seen, self.size) = (0, 0, 0);
        self.columns = self.kinds.iter().map(|&kind| Values::new(py, kind, 0)).collect::<PyResult<_>>()?;
        Ok(taken)
    }
}

impl TableScanner {
    /// The rows of a scanner that are stored in the columns, which are given away.
    fn finished<'py>(
        &mut self,
        py: Python<'py>,
        scanner: Scanner,
        num_threads: Option<usize>,
    ) -> PyResult<Scanned<'py>> {
        let table = with_targets(py, &self.columns, |targets| {
            enter(py, Size::Large, num_threads, |context| scanner.finish(targets, &context.cancel))
        })?;
        let Table { rows, columns, long, blank, comments } = table;
        let values = std::mem::take(&mut self.columns);
        let columns = values.iter().zip(columns).map(|(values, column)| to_dict(py, values, rows, column));
        let columns = columns.collect::<PyResult<_>>()?;
        Ok((rows, columns, long.into_pyarray(py), blank.into_pyarray(py), comments.into_pyarray(py)))
    }

    /// Does `work`, and puts the rows it finds into the columns; or lets them wait where no column has room for any yet.
    fn scan<F>(&mut self, py: Python<'_>, num_threads: Option<usize>, may_wait: bool, work: F) -> PyResult<()>
    where
        F: FnOnce(&mut Scanner, &ancf_core::runtime::Context) -> ancf_core::Result<()> + Send,
    {
        let scanner = self.scanner.as_mut().ok_or_else(|| finished(py))?;
        let room = self.room;
        with_targets(py, &self.columns, |targets| {
            enter(py, Size::Large, num_threads, |context| {
                work(scanner, context)?;
                if scanner.rows() <= room {
                    scanner.store(targets);
                }
                Ok(())
            })
        })?;
        if scanner.rows() <= room || may_wait {
            return Ok(());
        }
        // A little more than the share of the text that was seen lets expect, but no less than twice as much.
        let share = if self.seen > 0 { self.size as f64 / self.seen as f64 } else { 0.0 };
        self.room = ((scanner.rows() as f64 * share * 1.02) as usize).max(2 * scanner.rows()).min(i32::MAX as usize);
        let resized = self.columns.iter().map(|values| values.resized(py, self.room, scanner.stored()));
        self.columns = resized.collect::<PyResult<_>>()?;
        with_targets(py, &self.columns, |targets| {
            enter(py, Size::Large, num_threads, |_| {
                scanner.store(targets);
                Ok(())
            })
        })
    }
}

type Rows<'py> = Bound<'py, PyArray1<i64>>;
type Scanned<'py> = (usize, Vec<Bound<'py, PyDict>>, Rows<'py>, Rows<'py>, Rows<'py>);

fn to_dict<'py>(py: Python<'py>, values: &Values, rows: usize, column: Column) -> PyResult<Bound<'py, PyDict>> {
    let result = PyDict::new(py);
    match values {
        Values::Codes(array) => result.set_item("codes", truncated(array.bind(py), rows)?)?,
        Values::Numbers(array) => result.set_item("numbers", truncated(array.bind(py), rows)?)?,
        Values::Seconds(array) => result.set_item("seconds", truncated(array.bind(py), rows)?)?,
    }
    result.set_item("unparsed_rows", column.unparsed_rows.into_pyarray(py))?;
    result.set_item("unparsed_codes", column.unparsed_codes.into_pyarray(py))?;
    result.set_item("texts", column.texts.into_pyarray(py))?;
    result.set_item("offsets", column.offsets.into_pyarray(py))?;
    Ok(result)
}

/// Gives the texts of a column of Arrow codes, array after array.
#[pyclass(module = "ancf._core")]
#[derive(Default)]
struct TextCoder {
    coder: texts::TextCoder,
}

type Ranked<'py> = (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i32>>);

#[pymethods]
impl TextCoder {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The codes of the texts between `offsets` in `joined`.
    fn add<'py>(
        &mut self,
        py: Python<'py>,
        offsets: PyReadonlyArray1<'py, i64>,
        joined: PyReadonlyArray1<'py, u8>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let (offsets, joined) = (offsets.as_slice()?, joined.as_slice()?);
        let codes = empty::<i32>(py, offsets.len().saturating_sub(1))?;
        {
            let mut codes = codes.readwrite();
            let codes = codes.as_slice_mut()?;
            let coder = &mut self.coder;
            enter(py, Size::Large, Some(1), |context| coder.add(offsets, joined, codes, &context.cancel))?;
        }
        Ok(codes)
    }

    /// The distinct texts ascending, a line feed after each, where each begins, and the place of each code among them.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Ranked<'py>> {
        let coder = &self.coder;
        let (column, places) = enter(py, Size::Large, None, |context| coder.finish(&context.cancel))?;
        Ok((column.texts.into_pyarray(py), column.offsets.into_pyarray(py), places.into_pyarray(py)))
    }
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
    let n = users.len();
    let (own_users, own_items, sums) = (empty::<i32>(py, n)?, empty::<i32>(py, n)?, empty::<f32>(py, n)?);
    let stamps = empty::<i64>(py, times.map_or(0, <[i64]>::len))?;
    let plan = enter(py, size, num_threads, |_| events::Plan::new(users, items, (n_users, n_items)))?;
    let work = empty::<u64>(py, plan.work_len())?;
    let sorted = {
        let (mut to_users, mut to_items, mut to_weights) =
            (own_users.readwrite(), own_items.readwrite(), sums.readwrite());
        let (mut to_times, mut work) = (stamps.readwrite(), work.readwrite());
        let out = events::EventColumns {
            users: to_users.as_slice_mut()?,
            items: to_items.as_slice_mut()?,
            weights: to_weights.as_slice_mut()?,
            times: to_times.as_slice_mut()?,
        };
        let work = work.as_slice_mut()?;
        let times = times.unwrap_or_default();
        enter(py, size, num_threads, |context| plan.events(weights, times, work, out, &context.cancel))?
    };
    Ok((
        truncated(&own_users, sorted.events)?,
        truncated(&own_items, sorted.events)?,
        truncated(&sums, sorted.events)?,
        times.map(|_| truncated(&stamps, sorted.events)).transpose()?,
        sorted.repeated.into_pyarray(py),
    ))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TableScanner>()?;
    module.add_class::<TextCoder>()?;
    module.add_function(wrap_pyfunction!(canonical_events, module)?)
}
