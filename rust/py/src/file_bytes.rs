//! The bytes of a model file, which stand in memory once: NumPy's arrays and the tables of the core look into them.

use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::Deref;
use std::sync::Arc;

use ancf_core::data::Numbers;
use bytemuck::Pod;
use numpy::ndarray::Dimension;
use numpy::{AsSliceError, Element, PyReadonlyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::enter::LARGE;

/// What a file held. NumPy sees it as an array that nobody can write to (``numpy.asarray``).
#[pyclass(module = "ancf._core", frozen)]
pub struct FileBytes(Arc<FreedBeside>);

impl FileBytes {
    /// Of the bytes of a file.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(FreedBeside(bytes)))
    }
}

#[pymethods]
impl FileBytes {
    /// Where the bytes are and that they are only read, by NumPy's array interface (version 3).
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("shape", (self.0.len(),))?;
        interface.set_item("data", (self.0.as_ptr() as usize, true))?;
        Ok(interface)
    }
}

/// Bytes whose memory goes back to the system beside whoever lets go of them: 300 MB take 60 ms, for which no other
/// Python thread should wait.
struct FreedBeside(Vec<u8>);

impl Deref for FreedBeside {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for FreedBeside {
    fn drop(&mut self) {
        if self.0.len() >= size_of::<f32>() * LARGE {
            let bytes = std::mem::take(&mut self.0);
            // Where no thread can be started, the closure is dropped here.
            let _ = std::thread::Builder::new().name("ancf-free".into()).spawn(|| drop(bytes));
        }
    }
}

/// Numbers within the bytes of a file.
struct Part<T> {
    bytes: Arc<FreedBeside>,
    start: usize,
    n_bytes: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> AsRef<[T]> for Part<T> {
    fn as_ref(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes[self.start..self.start + self.n_bytes])
    }
}

/// The numbers of an array on their way into the core, which keeps those of a model file where they are and copies all
/// others, as somebody may write to them. `T` and `U` are the same but for the sign.
pub enum Given<'a, T, U> {
    /// In an array.
    Array(&'a [T]),
    /// In the bytes of a file.
    File(Numbers<U>),
}

impl<'a, T, U> Given<'a, T, U>
where
    T: Element + Pod,
    U: Pod + Send + Sync,
{
    /// Those of an array.
    pub fn of<D: Dimension>(array: &'a PyReadonlyArray<'_, T, D>) -> Result<Self, AsSliceError> {
        let values = array.as_slice()?;
        Ok(match within_file(array.as_any(), values) {
            Some(part) => Self::File(Numbers::Shared(Arc::new(part))),
            None => Self::Array(values),
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Array(values) => values.len(),
            Self::File(numbers) => numbers.len(),
        }
    }

    /// As the core takes them.
    pub fn into_numbers(self, convert: impl Fn(T) -> U) -> Numbers<U> {
        match self {
            Self::Array(values) => values.iter().map(|&value| convert(value)).collect::<Vec<_>>().into(),
            Self::File(numbers) => numbers,
        }
    }
}

/// The same numbers within the bytes of the file that an array looks into, if it does.
fn within_file<T: Pod, U: Pod>(array: &Bound<'_, PyAny>, values: &[T]) -> Option<Part<U>> {
    let mut base = array.getattr("base").ok()?;
    // An array that looks into another one is rarely more than two steps away.
    while base.cast::<FileBytes>().is_err() {
        base = base.getattr("base").ok()?;
    }
    let bytes = base.cast::<FileBytes>().ok()?.get().0.clone();
    let (start, n_bytes) = ((values.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?, size_of_val(values));
    let found = bytes.get(start..start.checked_add(n_bytes)?)?;
    let fits = size_of::<T>() == size_of::<U>() && bytemuck::try_cast_slice::<u8, U>(found).is_ok();
    fits.then_some(Part { bytes, start, n_bytes, numbers: PhantomData })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<FileBytes>()
}
