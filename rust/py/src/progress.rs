//! What a trainer goes on from, as arrays by name.

use std::sync::{Mutex, PoisonError};

use ancf_core::train::progress::Resumable;
use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::enter::{Size, enter};

/// Arrays by name, and the steps taken.
pub type Progress<'py> = (Bound<'py, PyDict>, u64);

/// Copies of every number that an epoch changes.
pub fn progress<'py, T: Resumable + Send>(
    py: Python<'py>,
    trainer: &Mutex<T>,
    num_threads: Option<usize>,
) -> PyResult<Progress<'py>> {
    let (numbers, steps) = enter(py, Size::Large, num_threads, |context| {
        Ok(trainer.lock().unwrap_or_else(PoisonError::into_inner).progress(context))
    })?;
    let arrays = PyDict::new(py);
    for (name, numbers) in numbers {
        arrays.set_item(name, numbers.into_pyarray(py))?;
    }
    Ok((arrays, steps))
}

/// Makes a trainer go on from what `progress` gave.
pub fn resume<T: Resumable + Send>(
    py: Python<'_>,
    trainer: &Mutex<T>,
    numbers: &Bound<'_, PyDict>,
    steps: u64,
    num_threads: Option<usize>,
) -> PyResult<()> {
    let arrays: Vec<(String, PyReadonlyArray1<'_, f32>)> =
        numbers.iter().map(|(name, array)| Ok((name.extract()?, array.extract()?))).collect::<PyResult<_>>()?;
    let found =
        arrays.iter().map(|(name, array)| Ok((name.clone(), array.as_slice()?))).collect::<PyResult<Vec<_>>>()?;
    enter(py, Size::Large, num_threads, |context| {
        trainer.lock().unwrap_or_else(PoisonError::into_inner).resume(&found, steps, context)
    })
}
