//! The scales of the two parts of a score: ⟨p̂_u, q_i⟩ of the vectors and `n_u^-½` Σ_j `c_ji` of the item-item weights.
//!
//! Both are divided by their root mean square over users × items, so that with a weight of one both contribute as much. The
//! vectors' side is exact and costs two Gram matrices: Σ_ui ⟨p_u, q_i⟩² = tr(PᵀP QᵀQ). The other side is summed over at
//! most [`SAMPLED_USERS`] users, evenly spaced, which keeps it linear in the items.

use crate::data::Csr;
use crate::model::spectral::{gram, sum_of_parts};
use crate::runtime::Context;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::vector::{count_power, dot};

/// Users that the item-item side's scale is measured on.
const SAMPLED_USERS: usize = 1024;

/// Users whose squares are summed one after the other.
const USERS_PER_TASK: usize = 128;

/// Items of one task.
const ITEMS_PER_TASK: usize = 512;

/// Root mean square of ⟨p_u, q_i⟩ over all users and items.
pub fn vector_scale(users: &[f32], items: &[f32], d: usize, context: &Context) -> f64 {
    let (p, q) = (gram(users, d, context), gram(items, d, context));
    let sum: f64 = p.iter().zip(&q).map(|(x, y)| x * y).sum();
    let pairs = (users.len() / d) as f64 * (items.len() / d) as f64;
    (sum / pairs.max(1.0)).max(0.0).sqrt()
}

/// The part of each item in the mean square of ⟨p_u, q_i⟩ over all users and items, `q_iᵀ` PᵀP `q_i`, where PᵀP is known by
/// `parts`, as [`gram_parts`](super::spectral::gram_parts) gives them.
pub fn vector_mean_squares(parts: &[f32], n_users: usize, items: &[f32], d: usize, context: &Context) -> Vec<f64> {
    let p: Vec<f32> = sum_of_parts(parts, d).into_iter().map(|number| number as f32).collect();
    let mut means = vec![0.0; items.len() / d];
    let pairs = (n_users as f64 * means.len() as f64).max(1.0);
    let tasks = means.chunks_mut(ITEMS_PER_TASK).zip(items.chunks(ITEMS_PER_TASK * d));
    context.for_each_task(
        tasks,
        || (),
        |(), (means, items)| {
            let mut products = vec![0.0; items.len()];
            multiply_add(context.level, &mut products, d, View::rows(items, d), 0, &p, d);
            for (mean, (item, product)) in means.iter_mut().zip(items.chunks_exact(d).zip(products.chunks_exact(d))) {
                *mean = f64::from(dot(context.level, item, product)).max(0.0) / pairs;
            }
        },
    );
    means
}

/// Root mean square of `n_u^-½` Σ_{j∈N(u)} `c_ji` over users with a history and all items.
pub fn neighbor_scale(interactions: &Csr, weights: &Csr, context: &Context) -> f64 {
    neighbor_mean_squares(interactions, weights, context).iter().sum::<f64>().sqrt()
}

/// The part of each item in the mean square of `n_u^-½` Σ_{j∈N(u)} `c_ji` over users with a history and all items.
pub fn neighbor_mean_squares(interactions: &Csr, weights: &Csr, context: &Context) -> Vec<f64> {
    let active: Vec<usize> = (0..interactions.n_rows()).filter(|&u| !interactions.row(u).is_empty()).collect();
    let step = active.len().div_ceil(SAMPLED_USERS).max(1);
    let sampled: Vec<usize> = active.into_iter().step_by(step).collect();
    let n_items = weights.n_columns();
    let mut squares = vec![Vec::new(); sampled.len().div_ceil(USERS_PER_TASK)];
    context.for_each_task(
        sampled.chunks(USERS_PER_TASK).zip(&mut squares),
        || (),
        |(), (users, squares)| {
            *squares = sum_squares(interactions, weights, users);
        },
    );
    let pairs = sampled.len() as f64 * n_items as f64;
    let mut means = vec![0.0; n_items];
    for squares in squares {
        means.iter_mut().zip(squares).for_each(|(mean, square)| *mean += square / pairs);
    }
    means
}

/// The squares of each item, summed over some users.
fn sum_squares(interactions: &Csr, weights: &Csr, users: &[usize]) -> Vec<f64> {
    let n_items = weights.n_columns();
    let (mut sums, mut nonzero) = (vec![0.0f32; n_items], Vec::new());
    let mut squares = vec![0.0; n_items];
    for &user in users {
        for &source in interactions.row(user) {
            let source = source as usize;
            for (&target, &weight) in weights.row(source).iter().zip(weights.row_values(source)) {
                let sum = &mut sums[target as usize];
                if *sum == 0.0 {
                    nonzero.push(target as usize);
                }
                *sum += weight;
            }
        }
        let factor = f64::from(count_power(interactions.row(user).len(), -0.5));
        for target in nonzero.drain(..) {
            let sum = factor * f64::from(std::mem::take(&mut sums[target]));
            squares[target] += sum * sum;
        }
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spectral::gram_parts;

    #[test]
    fn scales_are_root_mean_squares() {
        let context = Context::new(Some(2)).unwrap();
        let users = [1.0f32, 0.0, 0.5, 0.5];
        let items = [1.0f32, 2.0, 0.0, 4.0, -1.0, 1.0];
        let scores = [1.0f64, 0.0, -1.0, 1.5, 2.0, 0.0];
        let truth = (scores.iter().map(|x| x * x).sum::<f64>() / 6.0).sqrt();
        assert!((vector_scale(&users, &items, 2, &context) - truth).abs() < 1e-6);
        let history = Csr::new(vec![0, 2, 2], vec![0, 1], vec![1.0; 2], 3).unwrap();
        let weights = Csr::new(vec![0, 1, 2, 2], vec![2, 2], vec![0.5, 1.5], 3).unwrap();
        assert!((neighbor_scale(&history, &weights, &context) - (2.0f64 / 3.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_parts_of_the_items_add_up_to_the_mean_square() {
        let context = Context::new(Some(2)).unwrap();
        let users = [1.0f32, 0.0, 0.5, 0.5];
        let items = [1.0f32, 2.0, 0.0, 4.0, -1.0, 1.0];
        let means = vector_mean_squares(&gram_parts(&users, 2, &context), 2, &items, 2, &context);
        for (mean, scores) in means.iter().zip([[1.0, 1.5], [0.0, 2.0], [-1.0, 0.0]]) {
            let truth: f64 = scores.iter().map(|score: &f64| score * score / 6.0).sum();
            assert!((mean - truth).abs() < 1e-6, "{mean} {truth}");
        }
        let history = Csr::new(vec![0, 2, 3], vec![0, 1, 1], vec![1.0; 3], 3).unwrap();
        let weights = Csr::new(vec![0, 1, 3, 3], vec![2, 1, 2], vec![0.5, 3.0, 1.5], 3).unwrap();
        // The first user has n = 2: (0, 3, 2) / √2; the second (0, 3, 1.5).
        let means = neighbor_mean_squares(&history, &weights, &context);
        for (mean, truth) in means.iter().zip([0.0, (4.5 + 9.0) / 6.0, (2.0 + 2.25) / 6.0]) {
            assert!((mean - truth).abs() < 1e-6, "{mean} {truth}");
        }
    }
}
