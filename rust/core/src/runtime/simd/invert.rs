//! The inverse of one small symmetric positive definite matrix in place, in f64: Gauss-Jordan, row by row.
//!
//! Only lane-wise operations along rows are used, so every level has the same bits.

use super::level::Level;

/// Replaces a symmetric positive definite A (`n` × `n`, row-major) by its inverse. False when a pivot is not positive.
pub fn invert(level: Level, a: &mut [f64], n: usize) -> bool {
    dispatch!(level, invert_body(a: &mut [f64], n: usize) -> bool)
}

#[inline(always)]
fn invert_body(a: &mut [f64], n: usize) -> bool {
    let mut pivot_row = vec![0.0; n];
    for pivot in 0..n {
        let diagonal = a[pivot * n + pivot];
        if diagonal <= 0.0 || !diagonal.is_finite() {
            return false;
        }
        let inverse = 1.0 / diagonal;
        let row = &mut a[pivot * n..(pivot + 1) * n];
        row[pivot] = 1.0;
        for value in row.iter_mut() {
            *value *= inverse;
        }
        pivot_row.copy_from_slice(row);
        for (at, row) in a.chunks_exact_mut(n).enumerate() {
            if at != pivot {
                let factor = -std::mem::replace(&mut row[pivot], 0.0);
                for (value, &source) in row.iter_mut().zip(&pivot_row) {
                    *value = factor.mul_add(source, *value);
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn matrix(n: usize) -> Vec<f64> {
        let draws = Stream::new(n as u64, 1);
        let factor: Vec<f64> = (0..n * n).map(|i| f64::from(draws.normal(i as u64))).collect();
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                a[i * n + j] = (0..n).map(|k| factor[i * n + k] * factor[j * n + k]).sum::<f64>() / n as f64;
            }
            a[i * n + i] += 1.0;
        }
        a
    }

    #[test]
    fn a_matrix_times_its_inverse_is_the_identity_and_every_level_has_the_same_bits() {
        for n in [1, 2, 3, 8, 33, 100] {
            let a = matrix(n);
            let inverted = |level| {
                let mut work = a.clone();
                assert!(invert(level, &mut work, n));
                work
            };
            let truth = inverted(Level::Scalar);
            for i in 0..n {
                for j in 0..n {
                    let product: f64 = (0..n).map(|k| a[i * n + k] * truth[k * n + j]).sum();
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-10, "{n} {i} {j}: {product}");
                }
            }
            for level in Level::available() {
                assert_eq!(inverted(level), truth, "{} {n}", level.name());
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        assert!(!invert(Level::Scalar, &mut [0.0], 1));
        assert!(!invert(Level::Scalar, &mut [1.0, 2.0, 2.0, 1.0], 2));
    }
}
