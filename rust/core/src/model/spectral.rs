//! A start for item vectors: the leading right singular vectors of the degree-normalized interactions.
//!
//! Subspace iteration on ÃᵀÃ, Ã = `D_u^-½ R D_i^-½`: Y ← Ãᵀ(Ã Y), orthonormalized by Cholesky of YᵀY in f64, then the
//! Rayleigh-Ritz step with Jacobi rotations (Halko, Martinsson, Tropp: Finding Structure with Randomness, SIAM Review
//! 2011). Fixed iterations, fixed order of sums: the same bits for every thread count.

use crate::Result;
use crate::data::Csr;
use crate::model::attention::propagate;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::vector::count_power;

/// Extra directions beyond the requested ones; they make the last ones converge.
const OVERSAMPLING: usize = 8;
/// Rounds of Ãᵀ Ã. After four the trained quality is that of the exact vectors (Last.fm, 2026-11-24).
const ITERATIONS: usize = 4;

/// Rows of a chunk of a Gram matrix.
pub const GRAM_ROWS: usize = 2048;

/// Item vectors (`n_items` × `d`) V Σ^½, scaled to a mean squared length of one. Directions that the data does not have
/// (fewer users or items than `d`) are small random numbers.
pub fn item_vectors(interactions: &Csr, d: usize, draws: Stream, context: &Context) -> Result<Vec<f32>> {
    let items = interactions.transpose_on(context);
    let (n_users, n_items) = (interactions.n_rows(), items.n_rows());
    let by_user = normalized(interactions, &items);
    let by_item = normalized(&items, interactions);
    let (mut y, width) = begin(n_users, n_items, d, draws);
    let mut users = vec![0.0f32; n_users * width];
    let mut spectrum = (vec![0.0f64; width], vec![0.0f64; width * width]);
    for round in 0..ITERATIONS {
        context.cancel.check()?;
        orthonormalize(&mut y, width, context);
        users.fill(0.0);
        propagate(context, width, interactions, &by_user, &y, &mut users);
        if round + 1 == ITERATIONS {
            spectrum = jacobi(gram(&users, width, context), width);
        } else {
            y.fill(0.0);
            propagate(context, width, &items, &by_item, &users, &mut y);
        }
    }
    Ok(rotated(&y, spectrum, d, draws, n_items, context))
}

/// V Σ^½ of the last directions and their spectrum.
fn rotated(
    y: &[f32],
    spectrum: (Vec<f64>, Vec<f64>),
    d: usize,
    draws: Stream,
    n_items: usize,
    context: &Context,
) -> Vec<f32> {
    let width = spectrum.0.len();
    // V Σ^½: rotate by the eigenvectors, largest first, times the square root of the singular value.
    let (values, vectors) = spectrum;
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    let mut rotation = vec![0.0f32; width * d];
    for (column, &k) in order.iter().take(d).enumerate() {
        let scale = values[k].max(0.0).sqrt().sqrt();
        for row in 0..width {
            rotation[row * d + column] = (vectors[row * width + k] * scale) as f32;
        }
    }
    let mut vectors = vec![0.0f32; n_items * d];
    multiply_rows(&mut vectors, d, y, &rotation, width, context);
    let squares: f64 = vectors.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let factor = if squares > 0.0 { (n_items as f64 / squares).sqrt() as f32 } else { 1.0 };
    let noise = draws.sub(1);
    for (i, x) in vectors.iter_mut().enumerate() {
        *x *= factor;
        if i % d >= width {
            *x = 0.01 * noise.normal(i as u64);
        }
    }
    vectors
}

/// Directions to begin with (`n_items` × width), and their number.
fn begin(n_users: usize, n_items: usize, d: usize, draws: Stream) -> (Vec<f32>, usize) {
    let width = (d + OVERSAMPLING).min(n_users).min(n_items);
    ((0..n_items * width).map(|i| draws.normal(i as u64)).collect(), width)
}

/// The same start where the users are spread over workers, who make the products: the directions to begin with.
pub fn begin_spread(n_users: usize, n_items: usize, d: usize, draws: Stream) -> Vec<f32> {
    begin(n_users, n_items, d, draws).0
}

/// Directions made orthonormal, as each round begins with them.
pub fn orthonormal(mut y: Vec<f32>, width: usize, context: &Context) -> Vec<f32> {
    orthonormalize(&mut y, width, context);
    y
}

/// Item vectors of the last directions and the products of the users' numbers that they gave.
pub fn finish_spread(y: &[f32], gram: Vec<f64>, width: usize, d: usize, draws: Stream, context: &Context) -> Vec<f32> {
    rotated(y, jacobi(gram, width), d, draws, y.len() / width.max(1), context)
}

/// Rounds of products.
pub const fn rounds() -> usize {
    ITERATIONS
}

/// The values of Ã by user and by item of some users, whose items have `counts` users in all.
pub fn weights(users: &Csr, items: &Csr, counts: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let scale = |n: usize| count_power(n, -0.5);
    let of_items: Vec<f32> = counts.iter().map(|&n| scale(n)).collect();
    let of_users: Vec<f32> = (0..users.n_rows()).map(|row| scale(users.row(row).len())).collect();
    let by = |rows: &Csr, own: &[f32], others: &[f32]| {
        let row = |row: usize| rows.row(row).iter().map(move |&column| own[row] * others[column as usize]);
        (0..rows.n_rows()).flat_map(row).collect()
    };
    (by(users, &of_users, &of_items), by(items, &of_items, &of_users))
}

/// Goes on with [`gram`] over the rows from `first` on of `n_rows`: `part` is the chunk that is not full yet.
pub fn carry_gram(
    y: &[f32],
    width: usize,
    first: usize,
    n_rows: usize,
    part: &mut [f32],
    sum: &mut [f64],
    context: &Context,
) {
    let (mut at, end) = (first, first + y.len() / width.max(1));
    while at < end {
        let until = (at / GRAM_ROWS * GRAM_ROWS + GRAM_ROWS).min(end);
        let rows = &y[(at - first) * width..(until - first) * width];
        multiply_add(context.level, part, width, View::transposed(rows, width), 0, rows, until - at);
        if until.is_multiple_of(GRAM_ROWS) || until == n_rows {
            for (sum, part) in sum.iter_mut().zip(part.iter_mut()) {
                *sum += f64::from(*part);
                *part = 0.0;
            }
        }
        at = until;
    }
}

fn normalized(rows: &Csr, columns: &Csr) -> Vec<f32> {
    let scale = |n: usize| count_power(n, -0.5);
    let column_scales: Vec<f32> = (0..columns.n_rows()).map(|c| scale(columns.row(c).len())).collect();
    let mut values = Vec::with_capacity(rows.len());
    for row in 0..rows.n_rows() {
        let row_scale = scale(rows.row(row).len());
        values.extend(rows.row(row).iter().map(|&c| row_scale * column_scales[c as usize]));
    }
    values
}

/// out (rows × n) = a (rows × k) · b (k × n), rows over the threads.
fn multiply_rows(out: &mut [f32], n: usize, a: &[f32], b: &[f32], k: usize, context: &Context) {
    const ROWS: usize = 240;
    context.for_each_task(
        out.chunks_mut(ROWS * n).enumerate(),
        || (),
        |(), (task, out)| {
            multiply(context.level, out, n, View::rows(a, k), task * ROWS, b, k);
        },
    );
}

/// YᵀY (`width` × `width`) in f64, summed over fixed chunks of rows in order.
pub fn gram(y: &[f32], width: usize, context: &Context) -> Vec<f64> {
    sum_of_parts(&gram_parts(y, width, context), width)
}

/// YᵀY of each chunk of [`GRAM_ROWS`] rows, one after the other.
pub fn gram_parts(y: &[f32], width: usize, context: &Context) -> Vec<f32> {
    let mut parts = vec![0.0f32; y.len().div_ceil(GRAM_ROWS * width) * width * width];
    context.for_each_task(
        parts.chunks_mut(width * width).zip(y.chunks(GRAM_ROWS * width)),
        || (),
        |(), (part, rows)| {
            multiply(context.level, part, width, View::transposed(rows, width), 0, rows, rows.len() / width);
        },
    );
    parts
}

/// What [`gram_parts`] found, summed in f64 and in order.
pub fn sum_of_parts(parts: &[f32], width: usize) -> Vec<f64> {
    let mut sum = vec![0.0f64; width * width];
    for part in parts.chunks_exact(width * width) {
        for (s, p) in sum.iter_mut().zip(part) {
            *s += f64::from(*p);
        }
    }
    sum
}

/// Y ← Y L⁻ᵀ with YᵀY = L Lᵀ. A direction without length becomes zero.
fn orthonormalize(y: &mut Vec<f32>, width: usize, context: &Context) {
    let mut l = gram(y, width, context);
    let trace: f64 = (0..width).map(|i| l[i * width + i]).sum();
    let floor = 1e-12 * trace.max(f64::MIN_POSITIVE);
    // 1. Cholesky; `live` says which directions have length left.
    let mut live = vec![true; width];
    for j in 0..width {
        for k in 0..j {
            let factor = l[j * width + k];
            for i in j..width {
                l[i * width + j] -= l[i * width + k] * factor;
            }
        }
        let diagonal = l[j * width + j];
        live[j] = diagonal > floor;
        let inverse = if live[j] { 1.0 / diagonal.sqrt() } else { 0.0 };
        for i in j..width {
            l[i * width + j] *= inverse;
        }
    }
    // 2. L⁻ᵀ, upper triangular, column by column.
    let mut inverse = vec![0.0f64; width * width];
    for j in (0..width).filter(|&j| live[j]) {
        inverse[j * width + j] = 1.0 / l[j * width + j];
        for i in j + 1..width {
            if live[i] {
                let sum: f64 = (j..i).map(|k| l[i * width + k] * inverse[j * width + k]).sum();
                inverse[j * width + i] = -sum / l[i * width + i];
            }
        }
    }
    let right: Vec<f32> = inverse.iter().map(|&x| x as f32).collect();
    let mut out = vec![0.0f32; y.len()];
    multiply_rows(&mut out, width, y, &right, width, context);
    *y = out;
}

/// Eigenvalues and eigenvectors (in columns) of a symmetric matrix, by cyclic Jacobi rotations.
fn jacobi(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0f64; n * n];
    for i in 0..n {
        vectors[i * n + i] = 1.0;
    }
    for _sweep in 0..12 {
        let off: f64 = (0..n).map(|i| (0..i).map(|j| a[i * n + j] * a[i * n + j]).sum::<f64>()).sum();
        let on: f64 = (0..n).map(|i| a[i * n + i] * a[i * n + i]).sum();
        if off <= 1e-24 * on {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p * n + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                // Rows p and q, then columns; the rows are contiguous and vectors are kept transposed for the same reason.
                rotate(&mut a, n, p, q, c, s);
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                rotate(&mut vectors, n, p, q, c, s);
            }
        }
    }
    let values = (0..n).map(|i| a[i * n + i]).collect();
    let mut columns = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            columns[j * n + i] = vectors[i * n + j];
        }
    }
    (values, columns)
}

fn rotate(matrix: &mut [f64], n: usize, p: usize, q: usize, c: f64, s: f64) {
    let (upper, lower) = matrix.split_at_mut(q * n);
    for (x, y) in upper[p * n..p * n + n].iter_mut().zip(&mut lower[..n]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jacobi_finds_the_eigenvectors() {
        let n = 6;
        let draws = Stream::new(1, 1);
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                a[i * n + j] = f64::from(draws.normal((i * n + j) as u64));
                a[j * n + i] = a[i * n + j];
            }
        }
        let (values, vectors) = jacobi(a.clone(), n);
        for k in 0..n {
            for i in 0..n {
                let left: f64 = (0..n).map(|j| a[i * n + j] * vectors[j * n + k]).sum();
                assert!((left - values[k] * vectors[i * n + k]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn two_tastes_are_found_and_threads_do_not_matter() {
        let (n_users, n_items) = (60, 20);
        let mut offsets = vec![0];
        let mut columns = Vec::new();
        for user in 0..n_users {
            columns.extend(
                (0..n_items as u32)
                    .filter(|item| item % 2 == user as u32 % 2 && !(item + user as u32).is_multiple_of(3)),
            );
            offsets.push(columns.len());
        }
        let data = Csr::new(offsets, columns.clone(), vec![1.0; columns.len()], n_items).unwrap();
        let run = |threads| item_vectors(&data, 2, Stream::new(0, 0), &Context::new(Some(threads)).unwrap()).unwrap();
        let v = run(1);
        assert_eq!(v, run(3));
        let dot = |i: usize, j: usize| v[2 * i] * v[2 * j] + v[2 * i + 1] * v[2 * j + 1];
        assert!(dot(0, 2) > 0.5 && dot(1, 3) > 0.5 && dot(0, 1).abs() < 0.1);
    }

    #[test]
    fn more_factors_than_the_data_has_are_filled_up() {
        let data = Csr::new(vec![0, 1, 2], vec![0, 1], vec![1.0; 2], 3).unwrap();
        let v = item_vectors(&data, 8, Stream::new(0, 0), &Context::new(Some(1)).unwrap()).unwrap();
        assert!(v.len() == 24 && v.iter().all(|x| x.is_finite()));
    }
}
