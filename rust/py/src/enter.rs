//! The one way from Python into the core.
//!
//! [`enter`] releases the GIL, picks the pool, looks for Ctrl-C every 10 ms while the work runs, turns a panic into
//! `InternalError` and maps the core's errors once. Small work runs on the calling thread, without a hand-off;
//! [`enter_inline`] is for work so short that even releasing the GIL would be noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use ancf_core::data::Numbers;
use ancf_core::runtime::Context;
use ancf_core::runtime::simd::Level;
use ancf_core::{Error, Result};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rayon::prelude::*;

use crate::file_bytes::Given;

/// How a call is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Microseconds to a few milliseconds: on the calling thread.
    Small,
    /// Up to some ten milliseconds: on the calling thread, which may share it with those of the pool.
    Short,
    /// Anything longer: in the pool, while the calling thread watches for Ctrl-C.
    Large,
}

const SIGNAL_INTERVAL: Duration = Duration::from_millis(10);

/// Runs `work` in the core. `num_threads`: as asked, else `ANCF_NUM_THREADS`, else what the machine offers.
pub fn enter<T, F>(py: Python<'_>, size: Size, num_threads: Option<usize>, work: F) -> PyResult<T>
where
    T: Send,
    F: FnOnce(&Context) -> Result<T> + Send,
{
    let context =
        if size == Size::Small { Level::detect().map(Context::single_threaded) } else { Context::new(num_threads) };
    let context = context.map_err(|e| to_python(py, &e))?;
    let outcome = match size {
        Size::Small | Size::Short => py.detach(|| catch_panics(|| work(&context))),
        Size::Large => run_with_signals(py, &context, work)?,
    };
    outcome.map_err(|error| to_python(py, &error))
}

/// Runs work of microseconds on the calling thread, with the GIL held: building a scorer, one person's list.
pub fn enter_inline<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    catch_panics(work).map_err(|error| to_python(py, &error))
}

/// Numbers from which a table is copied and checked in the pool, where Ctrl-C is heard.
pub const LARGE: usize = 1 << 22;

/// Numbers copied between two looks at whether the caller wants to stop.
const PIECE: usize = 1 << 24;

/// Runs `work` on a table, or on a copy of one that somebody may write to: at once where it is small, else watching for
/// Ctrl-C.
pub fn with_table<T, F>(py: Python<'_>, table: Given<'_, f32, f32>, work: F) -> PyResult<T>
where
    T: Send,
    F: FnOnce(Numbers<f32>) -> Result<T> + Send,
{
    if table.len() < LARGE {
        return enter_inline(py, || work(table.into_numbers(|value| value)));
    }
    enter(py, Size::Large, None, |context| {
        let numbers = match table {
            Given::File(numbers) => numbers,
            Given::Array(values) => {
                let mut copy = Vec::with_capacity(values.len());
                for piece in values.chunks(PIECE) {
                    context.cancel.check()?;
                    // Most of it is the system's work to find the memory, which threads share.
                    copy.par_extend(piece.par_iter().copied());
                }
                copy.into()
            }
        };
        context.cancel.check()?;
        work(numbers)
    })
}

/// Runs `work` in the pool; this thread waits, and every 10 ms lets Python look at its signals.
fn run_with_signals<T, F>(py: Python<'_>, context: &Context, work: F) -> PyResult<Result<T>>
where
    T: Send,
    F: FnOnce(&Context) -> Result<T> + Send,
{
    let mut signal = None;
    let outcome = py.detach(|| {
        context.pool().in_place_scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            scope.spawn(move |_| {
                // The receiver lives until this message has arrived.
                let _ = sender.send(catch_panics(|| work(context)));
            });
            loop {
                match receiver.recv_timeout(SIGNAL_INTERVAL) {
                    Ok(outcome) => return outcome,
                    Err(mpsc::RecvTimeoutError::Timeout) if signal.is_none() => {
                        #[allow(
                            clippy::redundant_closure_for_method_calls,
                            reason = "the method's lifetime is too narrow"
                        )]
                        if let Err(raised) = Python::attach(|py| py.check_signals()) {
                            context.cancel.cancel();
                            signal = Some(raised);
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        return Err(Error::Internal("the work ended without a result.".into()));
                    }
                }
            }
        })
    });
    match signal {
        Some(raised) => Err(raised),
        None => Ok(outcome),
    }
}

fn catch_panics<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let reason = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".into());
        Err(Error::Internal(format!(
            "a defect in ancf's core: {reason}. Please report it with the steps that led here."
        )))
    })
}

/// The one map from the core's errors to Python's exceptions.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let name = match error {
        Error::InvalidData(_) => "InvalidDataError",
        Error::InvalidParameter(_) => "InvalidParameterError",
        Error::Diverged(_) => "DivergedError",
        Error::ModelFile(_) => "ModelFileError",
        Error::Io(..) => "OSError",
        Error::Internal(_) => "InternalError",
        Error::Cancelled => return PyKeyboardInterrupt::new_err(()),
    };
    let built = || -> PyResult<PyErr> {
        let module = if name == "OSError" { "builtins" } else { "ancf.errors" };
        let class = py.import(module)?.getattr(name)?;
        let instance = match error {
            Error::Io(Some(number), message) => class.call1(PyTuple::new(
                py,
                [number.into_pyobject(py)?.into_any(), message.into_pyobject(py)?.into_any()],
            )?)?,
            other => class.call1((other.to_string(),))?,
        };
        Ok(PyErr::from_value(instance))
    };
    built().unwrap_or_else(|failure| failure)
}
