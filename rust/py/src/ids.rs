//! Ids: where each stands.

use ancf_core::data::id_index::{IdIndex as Index, are_utf8};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString};

use crate::enter::{Size, enter};
use crate::file_bytes::Given;

/// Ids from which the GIL is released while they are taken in.
const LARGE: usize = 1 << 14;

/// The position of each of many ids of one kind.
#[pyclass(module = "ancf._core", frozen)]
pub struct IdIndex {
    index: Index,
    /// Whether bytes stand for text.
    has_texts: bool,
    is_utf8: bool,
}

fn size_of(n: usize) -> Size {
    if n < LARGE { Size::Small } else { Size::Large }
}

impl IdIndex {
    /// Where the id stands that a text says (`IdMap.parse`), or -1; None where that must look at the text.
    pub fn parse_and_find(&self, text: &str) -> Option<i64> {
        if !self.index.has_numbers() {
            return self.has_texts.then(|| self.index.position_of_text(text.as_bytes()));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = (1..20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Numbers of more than 64 bits are no ids.
        is_number.then(|| text.parse().map_or(-1, |number| self.index.position_of_number(number)))
    }

    /// Where an id stands, or -1.
    pub fn find(&self, id: &Bound<'_, PyAny>) -> PyResult<i64> {
        if self.index.has_numbers() {
            let number = if id.is_instance_of::<PyInt>() { id.extract::<i64>().ok() } else { None };
            return Ok(number.map_or(-1, |number| self.index.position_of_number(number)));
        }
        if let (true, Ok(text)) = (self.has_texts, id.cast::<PyString>()) {
            return match text.to_str() {
                Ok(text) => Ok(self.index.position_of_text(text.as_bytes())),
                // Lone surrogates, as they stand in the bytes.
                Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(id.py()) => {
                    let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
                    Ok(self.index.position_of_text(bytes.cast::<PyBytes>()?.as_bytes()))
                }
                Err(error) => Err(error),
            };
        }
        Ok(match (self.has_texts, id.cast::<PyBytes>()) {
            (false, Ok(bytes)) => self.index.position_of_text(bytes.as_bytes()),
            _ => -1,
        })
    }
}

#[pymethods]
impl IdIndex {
    /// Of ids whose bytes stand between `offsets` in `joined`; text (UTF-8, with lone surrogates) or bytes.
    #[staticmethod]
    fn of_texts(
        py: Python<'_>,
        offsets: PyReadonlyArray1<'_, i64>,
        joined: PyReadonlyArray1<'_, u8>,
        has_texts: bool,
    ) -> PyResult<Self> {
        let (places, bytes) = (Given::of(&offsets)?, Given::of(&joined)?);
        let (offsets, joined) = (offsets.as_slice()?, joined.as_slice()?);
        enter(py, size_of(offsets.len()), Some(1), |context| {
            // A negative offset becomes one far out of range, which the index refuses.
            let places = places.into_numbers(|offset: i64| offset as usize);
            let index = Index::of_texts(places, bytes.into_numbers(|byte: u8| byte), &context.cancel)?;
            Ok(Self { index, has_texts, is_utf8: has_texts && are_utf8(offsets, joined) })
        })
    }

    /// Of numbers.
    #[staticmethod]
    fn of_numbers(py: Python<'_>, values: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let values = Given::of(&values)?;
        enter(py, size_of(values.len()), Some(1), |context| {
            let values = values.into_numbers(|value: i64| value);
            Ok(Self { index: Index::of_numbers(values, &context.cancel)?, has_texts: false, is_utf8: false })
        })
    }

    /// Whether no id stands twice.
    #[getter]
    fn is_distinct(&self) -> bool {
        self.index.is_distinct()
    }

    /// Whether all are text without lone surrogates.
    #[getter]
    fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// Where an id stands, or -1.
    fn position(&self, raw: &Bound<'_, PyAny>) -> PyResult<i64> {
        self.find(raw)
    }

    /// Where each stands, or -1.
    fn positions<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let found = ids.iter().map(|id| self.find(&id)).collect::<PyResult<Vec<_>>>()?;
        Ok(found.into_pyarray(py))
    }

    /// The same for numbers.
    fn positions_of_numbers<'py>(
        &self,
        py: Python<'py>,
        values: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let values = values.as_slice()?;
        let found = enter(py, size_of(values.len()), Some(1), |_| {
            Ok(values.iter().map(|&value| self.index.position_of_number(value)).collect::<Vec<_>>())
        })?;
        Ok(found.into_pyarray(py))
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<IdIndex>()
}
