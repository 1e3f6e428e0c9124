//! Eigenvalues and eigenvectors of a small symmetric positive semidefinite matrix, by one-sided Jacobi rotations.
//!
//! The columns of G are rotated in pairs until they are orthogonal: G W = U Λ, so their lengths are the eigenvalues and
//! their directions the eigenvectors (Hestenes, Inversion of Matrices by Biorthogonalization, 1958). Only whole columns are
//! read and written, in f64 and in a fixed order. A matrix that is nearly diagonal, as the Gramian of factors from one
//! epoch to the next is, takes two or three sweeps instead of eight.

use crate::Result;
use crate::runtime::cancel::Cancel;

/// Cosines of the angle between two columns below this count as a right angle: far below what f32 factors show.
const ORTHOGONAL: f64 = 1e-11;
/// Columns shorter than this part of the longest are rounding noise.
const NEGLIGIBLE: f64 = 1e-13;
/// Convergence is quadratic; a matrix that needs more sweeps has not been seen.
const MAX_SWEEPS: usize = 30;

/// Eigenvalues and, as rows, the eigenvectors of `g` (`n` × `n`). An eigenvalue of nothing but rounding has a vector of zeros.
pub fn symmetric(mut g: Vec<f64>, n: usize, cancel: &Cancel) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut squares: Vec<f64> = g.chunks_exact(n).map(|column| dot(column, column)).collect();
    let negligible = NEGLIGIBLE * NEGLIGIBLE * squares.iter().copied().fold(0.0, f64::max);
    for _ in 0..MAX_SWEEPS {
        let mut rotations = 0;
        for p in 0..n {
            cancel.check()?;
            for q in p + 1..n {
                let (head, tail) = g.split_at_mut(q * n);
                rotations += usize::from(orthogonalize(
                    &mut head[p * n..p * n + n],
                    &mut tail[..n],
                    &mut squares,
                    [p, q],
                    negligible,
                ));
            }
        }
        if rotations == 0 {
            break;
        }
    }
    let mut values = Vec::with_capacity(n);
    for column in g.chunks_exact_mut(n) {
        let square = dot(column, column);
        let length = square.sqrt();
        let inverse = if square > negligible { 1.0 / length } else { 0.0 };
        for x in column.iter_mut() {
            *x *= inverse;
        }
        values.push(if square > negligible { length } else { 0.0 });
    }
    Ok((values, g))
}

/// Rotates two columns so that they are orthogonal; false where they were.
fn orthogonalize(a: &mut [f64], b: &mut [f64], squares: &mut [f64], [p, q]: [usize; 2], negligible: f64) -> bool {
    if squares[p] <= negligible || squares[q] <= negligible {
        return false;
    }
    let inner = dot(a, b);
    if inner * inner <= ORTHOGONAL * ORTHOGONAL * squares[p] * squares[q] {
        return false;
    }
    let theta = (squares[q] - squares[p]) / (2.0 * inner);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for (x, y) in a.iter_mut().zip(&mut *b) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
    squares[p] = dot(a, a);
    squares[q] = dot(b, b);
    true
}

/// ⟨a, b⟩ by eight running sums, added up in a fixed order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const SUMS: usize = 8;
    let mut sums = [0.0f64; SUMS];
    let (blocks, rest) = a.as_chunks::<SUMS>();
    let (other_blocks, other_rest) = b.as_chunks::<SUMS>();
    for (x, y) in blocks.iter().zip(other_blocks) {
        for lane in 0..SUMS {
            sums[lane] += x[lane] * y[lane];
        }
    }
    for (sum, (x, y)) in sums.iter_mut().zip(rest.iter().zip(other_rest)) {
        *sum += x * y;
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    /// A Gramian of rank `rank`.
    fn gramian(n: usize, rank: usize) -> Vec<f64> {
        let draws = Stream::new(n as u64, 0);
        let factor: Vec<f64> = (0..n * rank).map(|i| f64::from(draws.normal(i as u64))).collect();
        let mut g = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                g[i * n + j] = (0..rank).map(|k| factor[i * rank + k] * factor[j * rank + k]).sum();
            }
        }
        g
    }

    #[test]
    fn vectors_times_values_give_the_matrix_back() {
        for (n, rank) in [(1, 1), (2, 2), (7, 7), (33, 33), (64, 64), (20, 6), (5, 0)] {
            let g = gramian(n, rank);
            let (values, vectors) = symmetric(g.clone(), n, &Cancel::default()).unwrap();
            assert_eq!(values.iter().filter(|&&value| value > 0.0).count(), rank, "{n} {rank}");
            for i in 0..n {
                for j in 0..n {
                    let sum: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                    assert!((sum - g[i * n + j]).abs() < 1e-8, "{n} {rank}: {sum} for {}", g[i * n + j]);
                    let inner = dot(&vectors[i * n..i * n + n], &vectors[j * n..j * n + n]);
                    let length = f64::from(u8::from(i == j && values[i] > 0.0));
                    assert!((inner - length).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn a_diagonal_matrix_is_its_own_answer() {
        let (values, vectors) = symmetric(vec![2.0, 0.0, 0.0, 3.0], 2, &Cancel::default()).unwrap();
        assert_eq!((values, vectors), (vec![2.0, 3.0], vec![1.0, 0.0, 0.0, 1.0]));
    }
}
