//! EASE: dense item-item weights in closed form (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019).
//!
//! ```text
//! G = Xᵀ X + λ I          P = G⁻¹          B_ji = −P_ji / P_ii,  B_ii = 0          score(u, i) = Σ_j x_uj B_ji
//! ```
//!
//! G is inverted in place by the blocked sweep operator (Goodnight 1979; Gauss-Jordan on blocks), in n³ multiply-adds,
//! half of what an inverse by LU needs. With the pivot block k, D = A_kk⁻¹ and W_i = A_ik D:
//!
//! ```text
//! A_ij ← A_ij − W_i A_kj        A_ik ← W_i        A_kk ← −D              after all blocks: A = −G⁻¹
//! ```
//!
//! A stays symmetric, so only the tiles on and above the diagonal are held. Pivot blocks are inverted in f64, everything
//! else is f32: half the memory of f64 and twice the speed. λ keeps G well conditioned, (λ + largest eigenvalue) / λ, some
//! 10³ for the λ that rank best. That it was enough is not hoped for but checked: P G x must be x for a random x.
//!
//! A number of a tile is a chain of fused multiply-adds over the rows of all pivot blocks in order, by whatever thread:
//! same bits for every number of threads and every level.

use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::invert::invert;
use crate::{Error, Result};

/// Rows and columns of a tile: 230 KB, which the level-2 cache holds, and no power of two, whose rows would share a few
/// lines of the level-1 cache.
const SIZE: usize = 240;
const AREA: usize = SIZE * SIZE;

/// How far P G x may be from x, of numbers that are ±1. Lists hardly differ from those of f64 at a tenth of that.
const MAX_ERROR: f64 = 1e-2;

/// EASE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ease {
    /// λ, in purchases.
    pub regularization: f64,
}

impl Ease {
    /// B row by row (`n_items` × `n_items`, row j: what a purchase of j adds to each item), from who has what.
    pub fn fit(&self, interactions: &Csr, context: &Context) -> Result<Vec<f32>> {
        let lambda = self.regularization;
        if !(lambda > 0.0 && lambda.is_finite()) {
            return Err(Error::InvalidParameter(format!(
                "regularization is {lambda}; it must be a finite number above 0."
            )));
        }
        let by_item = interactions.transpose();
        let mut tiles = Tiles::gram(interactions, &by_item, lambda as f32, context)?;
        let too_small = || {
            Error::InvalidParameter(format!(
                "regularization={lambda} is too small for this table: its matrix cannot be inverted in float32. Use a \
                 larger one, such as {}.",
                lambda * 10.0
            ))
        };
        for pivot in 0..tiles.n {
            if !tiles.sweep(pivot, context)? {
                return Err(too_small());
            }
        }
        let (weights, diagonal) = tiles.weights(by_item.n_rows(), context)?;
        drop(tiles);
        if error(&weights, &diagonal, interactions, lambda, context)? > MAX_ERROR {
            return Err(too_small());
        }
        Ok(weights)
    }
}

/// A symmetric matrix as tiles; row I of tiles holds those of the columns I, I + 1, …
struct Tiles {
    /// Rows of tiles.
    n: usize,
    rows: Vec<Vec<f32>>,
}

impl Tiles {
    /// Xᵀ X + λ I; the rows that fill up the last tile have a 1 on the diagonal and touch nothing.
    fn gram(by_user: &Csr, by_item: &Csr, lambda: f32, context: &Context) -> Result<Self> {
        let n_items = by_item.n_rows();
        let n = n_items.div_ceil(SIZE);
        let mut rows: Vec<Vec<f32>> = vec![Vec::new(); n];
        let fill = |(): &mut (), (block, row): (usize, &mut Vec<f32>)| {
            row.resize((n - block) * AREA, 0.0);
            for at in 0..SIZE {
                context.cancel.check()?;
                let item = block * SIZE + at;
                if item >= n_items {
                    row[at * SIZE + at] = 1.0;
                    continue;
                }
                for (&user, &weight) in by_item.row(item).iter().zip(by_item.row_values(item)) {
                    let (items, weights) = (by_user.row(user as usize), by_user.row_values(user as usize));
                    let first = items.partition_point(|&other| (other as usize) < block * SIZE);
                    for (&other, &other_weight) in items[first..].iter().zip(&weights[first..]) {
                        let other = other as usize - block * SIZE;
                        row[other / SIZE * AREA + at * SIZE + other % SIZE] += weight * other_weight;
                    }
                }
                row[at * SIZE + at] += lambda;
            }
            Ok(())
        };
        context.try_for_each_task(rows.iter_mut().enumerate(), || (), fill)?;
        Ok(Self { n, rows })
    }

    /// The tile of a row and a column at or right of it.
    fn tile(&self, row: usize, column: usize) -> &[f32] {
        &self.rows[row][(column - row) * AREA..][..AREA]
    }

    /// All tiles with their row and column.
    fn tiles_mut(&mut self) -> Vec<(usize, usize, &mut [f32])> {
        let rows = self.rows.iter_mut().enumerate();
        rows.flat_map(|(row, tiles)| {
            tiles.chunks_exact_mut(AREA).enumerate().map(move |(at, tile)| (row, row + at, tile))
        })
        .collect()
    }

    /// One pivot block; false where it is not positive definite.
    fn sweep(&mut self, pivot: usize, context: &Context) -> Result<bool> {
        let level = context.level;
        // 1. D.
        let block = self.tile(pivot, pivot);
        let mut wide: Vec<f64> = (0..AREA)
            .map(|at| f64::from(block[(at / SIZE).min(at % SIZE) * SIZE + (at / SIZE).max(at % SIZE)]))
            .collect();
        if !invert(level, &mut wide, SIZE) {
            return Ok(false);
        }
        let inverse: Vec<f32> = wide.iter().map(|&value| value as f32).collect();
        if !inverse.iter().all(|value| value.is_finite()) {
            return Ok(false);
        }
        // 2. The rows A_k of the block, A_kj = A_jkᵀ, and −W_j = −A_jk D.
        let mut across = vec![0f32; self.n * AREA];
        let mut minus = vec![0f32; self.n * AREA];
        let parts = across.chunks_exact_mut(AREA).zip(minus.chunks_exact_mut(AREA)).enumerate();
        context.try_for_each_task(
            parts,
            || (),
            |(), (other, (across, minus))| {
                context.cancel.check()?;
                if other < pivot {
                    transpose(self.tile(other, pivot), across);
                } else {
                    across.copy_from_slice(self.tile(pivot, other));
                }
                multiply(level, minus, SIZE, View::transposed(across, SIZE), 0, &inverse, SIZE);
                for value in minus {
                    *value = -*value;
                }
                Ok(())
            },
        )?;
        // 3. All other tiles, and those of the block.
        context.try_for_each_task(
            self.tiles_mut().into_iter(),
            || (),
            |(), (row, column, tile)| {
                context.cancel.check()?;
                let part = |of: usize| of * AREA..(of + 1) * AREA;
                if row == pivot && column == pivot {
                    tile.iter_mut().zip(&inverse).for_each(|(value, inverse)| *value = -inverse);
                } else if column == pivot {
                    tile.iter_mut().zip(&minus[part(row)]).for_each(|(value, minus)| *value = -minus);
                } else if row == pivot {
                    transpose(&minus[part(column)], tile);
                    for value in tile {
                        *value = -*value;
                    }
                } else {
                    multiply_add(
                        level,
                        tile,
                        SIZE,
                        View::rows(&minus[part(row)], SIZE),
                        0,
                        &across[part(column)],
                        SIZE,
                    );
                }
                Ok(())
            },
        )?;
        Ok(true)
    }

    /// B, and the diagonal of P, of tiles that hold −P.
    fn weights(&self, n_items: usize, context: &Context) -> Result<(Vec<f32>, Vec<f32>)> {
        let diagonal: Vec<f32> =
            (0..n_items).map(|item| -self.tile(item / SIZE, item / SIZE)[item % SIZE * (SIZE + 1)]).collect();
        let mut weights = vec![0f32; n_items * n_items];
        let fill = |(): &mut (), (block, rows): (usize, &mut [f32])| {
            context.cancel.check()?;
            for (at, out) in rows.chunks_exact_mut(n_items).enumerate() {
                let source = block * SIZE + at;
                for (other, out) in out.chunks_mut(SIZE).enumerate() {
                    for (column, out) in out.iter_mut().enumerate() {
                        let target = other * SIZE + column;
                        let negative = if target >= source {
                            self.tile(block, other)[at * SIZE + column]
                        } else {
                            self.tile(other, block)[column * SIZE + at]
                        };
                        *out = if target == source { 0.0 } else { negative / diagonal[target] };
                    }
                }
            }
            Ok(())
        };
        if n_items > 0 {
            context.try_for_each_task(weights.chunks_mut(SIZE * n_items).enumerate(), || (), fill)?;
        }
        Ok((weights, diagonal))
    }
}

fn transpose(from: &[f32], to: &mut [f32]) {
    for (row, out) in to.chunks_exact_mut(SIZE).enumerate() {
        for (column, out) in out.iter_mut().enumerate() {
            *out = from[column * SIZE + row];
        }
    }
}

/// The largest |P G x − x| for a random x of ±1.
fn error(weights: &[f32], diagonal: &[f32], interactions: &Csr, lambda: f64, context: &Context) -> Result<f64> {
    let n_items = diagonal.len();
    let draws = Stream::new(0, 0);
    let x: Vec<f64> = (0..n_items).map(|item| if draws.u64(item as u64) & 1 == 1 { 1.0 } else { -1.0 }).collect();
    let mut product: Vec<f64> = x.iter().map(|value| lambda * value).collect();
    for user in 0..interactions.n_rows() {
        let entries = || interactions.row(user).iter().zip(interactions.row_values(user));
        let sum: f64 = entries().map(|(&item, &weight)| f64::from(weight) * x[item as usize]).sum();
        for (&item, &weight) in entries() {
            product[item as usize] += f64::from(weight) * sum;
        }
    }
    // P_ji = −B_ji P_ii.
    let scaled: Vec<f64> = product.iter().zip(diagonal).map(|(value, &p)| value * f64::from(p)).collect();
    let mut errors = vec![0f64; n_items];
    let rows = |(): &mut (), (chunk, errors): (usize, &mut [f64])| {
        context.cancel.check()?;
        for (at, error) in errors.iter_mut().enumerate() {
            let source = chunk * SIZE + at;
            let row = &weights[source * n_items..(source + 1) * n_items];
            let others: f64 = row.iter().zip(&scaled).map(|(&b, value)| f64::from(b) * value).sum();
            *error = (scaled[source] - others - x[source]).abs();
        }
        Ok(())
    };
    context.try_for_each_task(errors.chunks_mut(SIZE).enumerate(), || (), rows)?;
    Ok(errors.iter().fold(0.0, |largest, &error| if error > largest || error.is_nan() { error } else { largest }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::simd::Level;

    fn table(n_users: usize, n_items: usize) -> Csr {
        let draws = Stream::new(7, 3);
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for user in 0..n_users {
            for item in 0..n_items {
                let chance = if item % 5 == user % 5 { 0.3 } else { 0.03 };
                if draws.f32((user * n_items + item) as u64) < chance {
                    columns.push(item as u32);
                }
            }
            offsets.push(columns.len());
        }
        let values = vec![1.0; columns.len()];
        Csr::new(offsets, columns, values, n_items).unwrap()
    }

    /// The specification: G inverted in f64 by plain Gauss-Jordan.
    fn naive(data: &Csr, lambda: f64) -> Vec<f64> {
        let n = data.n_columns();
        let mut g = vec![0.0; n * n];
        for user in 0..data.n_rows() {
            for &i in data.row(user) {
                for &j in data.row(user) {
                    g[i as usize * n + j as usize] += 1.0;
                }
            }
        }
        (0..n).for_each(|i| g[i * n + i] += lambda);
        assert!(invert(Level::Scalar, &mut g, n));
        (0..n * n).map(|at| if at / n == at % n { 0.0 } else { -g[at] / g[at % n * (n + 1)] }).collect()
    }

    #[test]
    fn the_weights_are_those_of_the_closed_form() {
        for (n_users, n_items, lambda) in [(60, 1, 1.0), (200, 37, 5.0), (600, 240, 20.0), (700, 500, 20.0)] {
            let data = table(n_users, n_items);
            let found = Ease { regularization: lambda }.fit(&data, &Context::new(Some(2)).unwrap()).unwrap();
            for (at, (found, exact)) in found.iter().zip(naive(&data, lambda)).enumerate() {
                assert!((f64::from(*found) - exact).abs() < 1e-5, "{n_items} {at}: {found} and {exact}");
            }
        }
    }

    #[test]
    fn threads_and_levels_give_the_same_bits() {
        let data = table(300, 490);
        let truth =
            Ease { regularization: 9.0 }.fit(&data, &Context::new(Some(1)).unwrap().with_level(Level::Scalar)).unwrap();
        for threads in [2, 5] {
            for level in Level::available() {
                let context = Context::new(Some(threads)).unwrap().with_level(level);
                assert!(Ease { regularization: 9.0 }.fit(&data, &context).unwrap() == truth, "{threads}");
            }
        }
    }

    #[test]
    fn what_cannot_be_inverted_is_refused() {
        let context = Context::new(Some(1)).unwrap();
        for lambda in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Ease { regularization: lambda }.fit(&table(9, 9), &context).is_err());
        }
        // More items than users: without λ there is no inverse, and 1e-7 drowns in the rounding of float32.
        let refused = Ease { regularization: 1e-7 }.fit(&table(20, 60), &context);
        assert!(matches!(refused, Err(Error::InvalidParameter(message)) if message.contains("too small")));
        assert!(Ease { regularization: 1.0 }.fit(&Csr::empty(2, 0), &context).unwrap().is_empty());
    }
}
