//! What this machine offers: threads and instruction sets.

use ancf_core::Error;
use ancf_core::runtime::{
    pool,
    simd::{Level, roofline},
};
use pyo3::prelude::*;

use rayon::prelude::*;

use crate::enter::{Size, enter, enter_inline, to_python};

/// The threads a call would use: `num_threads` as asked, else `ANCF_NUM_THREADS`, else the processors available.
#[pyfunction]
#[pyo3(signature = (num_threads=None))]
fn resolve_num_threads(py: Python<'_>, num_threads: Option<usize>) -> PyResult<usize> {
    pool::resolve_num_threads(num_threads).map_err(|e| to_python(py, &e))
}

/// The instruction set a call would use, and all that this processor has, slowest first.
#[pyfunction]
fn simd_levels(py: Python<'_>) -> PyResult<(&'static str, Vec<&'static str>)> {
    let chosen = Level::detect().map_err(|e| to_python(py, &e))?;
    Ok((chosen.name(), Level::available().iter().map(|level| level.name()).collect()))
}

/// What the machine can do at most with these threads, measured: (10⁹ f32 operations a second, 10⁹ bytes read a second).
#[pyfunction]
#[pyo3(signature = (num_threads=None, rounds=5))]
fn measure_roofline(py: Python<'_>, num_threads: Option<usize>, rounds: usize) -> PyResult<(f64, f64)> {
    enter(py, Size::Large, num_threads, |context| Ok(roofline::measure(context.level, context.pool(), rounds)))
}

/// Panics inside the core, for the tests of how a defect is reported: "at once", "small", "large", or in a task of the
/// pool ("task").
#[pyfunction]
#[pyo3(signature = (place, num_threads=None))]
fn _panic_for_tests(py: Python<'_>, place: &str, num_threads: Option<usize>) -> PyResult<()> {
    let panic = || -> ancf_core::Result<()> { panic!("asked for by a test ({place})") };
    match place {
        "at once" => enter_inline(py, panic),
        "small" => enter(py, Size::Small, num_threads, |_| panic()),
        "large" => enter(py, Size::Large, num_threads, |_| panic()),
        "task" => enter(py, Size::Large, num_threads, |context| {
            context.install(|| (0..1000).into_par_iter().try_for_each(|at| if at == 777 { panic() } else { Ok(()) }))
        }),
        other => Err(to_python(py, &Error::InvalidParameter(format!("place is {other:?}; there is no such place.")))),
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(resolve_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(measure_roofline, module)?)?;
    module.add_function(wrap_pyfunction!(_panic_for_tests, module)?)?;
    module.add_function(wrap_pyfunction!(simd_levels, module)?)
}
