//! The scales of the two parts of a score: ⟨p̂_u, q_i⟩ of the vectors and `n_u^-½` Σ_j `c_ji` of the item-item weights.
//!
//! Both are divided by their root mean square over users × items, so that with a weight of one both contribute as much. The
//! vectors' side is exact and costs two Gram matrices: Σ_ui ⟨p_u, q_i⟩² = tr(PᵀP QᵀQ). The other side is summed over at
//! most [`SAMPLED_USERS`] users, evenly spaced, which keeps it linear in the items.

use rayon::prelude::*;

use crate::data::Csr;
use crate::model::spectral::{gram, gram_parts, sum_of_parts};
use crate::runtime::Context;
use crate::runtime::simd::vector::count_power;

/// Users that the item-item side's scale is measured on.
const SAMPLED_USERS: usize = 1024;

/// Root mean square of ⟨p_u, q_i⟩ over all users and items.
pub fn vector_scale(users: &[f32], items: &[f32], d: usize, context: &Context) -> f64 {
    vector_scale_of_parts(&gram_parts(users, d, context), users.len() / d, items, d, context)
}

/// The same where only `parts` of PᵀP are known, as [`gram_parts`] gives them.
pub fn vector_scale_of_parts(parts: &[f32], n_users: usize, items: &[f32], d: usize, context: &Context) -> f64 {
    let (p, q) = (sum_of_parts(parts, d), gram(items, d, context));
    let sum: f64 = p.iter().zip(&q).map(|(x, y)| x * y).sum();
    let pairs = n_users as f64 * (items.len() / d) as f64;
    (sum / pairs.max(1.0)).max(0.0).sqrt()
}

/// Root mean square of `n_u^-½` Σ_{j∈N(u)} `c_ji` over users with a history and all items.
pub fn neighbor_scale(interactions: &Csr, weights: &Csr, context: &Context) -> f64 {
    let active: Vec<usize> = (0..interactions.n_rows()).filter(|&u| !interactions.row(u).is_empty()).collect();
    let step = active.len().div_ceil(SAMPLED_USERS).max(1);
    let sampled: Vec<usize> = active.into_iter().step_by(step).collect();
    let n_items = weights.n_columns();
    let squares: Vec<f64> = context.install(|| {
        sampled
            .par_iter()
            .with_min_len(16)
            .map_init(
                || (vec![0.0f32; n_items], Vec::new()),
                |(sums, nonzero), &user| {
                    for &source in interactions.row(user) {
                        let source = source as usize;
                        for (&target, &weight) in weights.row(source).iter().zip(weights.row_values(source)) {
                            let sum = &mut sums[target as usize];
                            if *sum == 0.0 {
                                nonzero.push(target);
                            }
                            *sum += weight;
                        }
                    }
                    let factor = f64::from(count_power(interactions.row(user).len(), -0.5));
                    let mut square = 0.0;
                    for target in nonzero.drain(..) {
                        let sum = factor * f64::from(std::mem::take(&mut sums[target as usize]));
                        square += sum * sum;
                    }
                    square
                },
            )
            .collect()
    });
    let pairs = sampled.len() as f64 * n_items as f64;
    (squares.iter().sum::<f64>() / pairs.max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
