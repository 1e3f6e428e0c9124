//! Folding in a bare history as a user: its vector, and its weights for the item-item part of a score.
//!
//! ```text
//! p_u  = Σ_j r_j τ_uj v_j / ‖Σ_j r_j τ_uj v_j‖     r_j: attention prior of the item, τ_uj: recency
//! w_uj = n_u^-½ τ_uj                                n_u: length of the history
//! m_uj                                              what j adds to itself, where repetitions count
//! ```
//!
//! The m are sources of their own behind the items: that of item j has the position `n_items` + j.

use crate::runtime::simd::Level;
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{dot, scale};

/// The unit vector of one history into `out`, which holds zeros; `recency` is τ.
pub fn user_vector(level: Level, history: &[u32], recency: &[f32], priors: &[f32], vectors: &[f32], out: &mut [f32]) {
    let weights: Vec<f32> = history.iter().zip(recency).map(|(&j, &recency)| priors[j as usize] * recency).collect();
    gather(level, history, &weights, vectors, out);
    let length = dot(level, out, out).sqrt();
    if length > 0.0 {
        scale(level, 1.0 / length, out);
    }
}

/// Appends the weights w of one history, and with `repeats` m of each of its items.
pub fn weigh_history(
    history: &[u32],
    recency: &[f32],
    repeats: Option<&[f32]>,
    n_items: usize,
    columns: &mut Vec<u32>,
    values: &mut Vec<f32>,
) {
    let scale = (1.0 / (history.len().max(1) as f64).sqrt()) as f32;
    columns.extend_from_slice(history);
    values.extend(recency.iter().map(|recency| scale * recency));
    if let Some(repeats) = repeats {
        columns.extend(history.iter().map(|&item| item + n_items as u32));
        values.extend_from_slice(repeats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_the_unit_vector_of_its_weighted_items() {
        let mut vector = [0.0; 2];
        user_vector(
            Level::Scalar,
            &[0, 2],
            &[1.0, 0.5],
            &[3.0, 9.0, 8.0],
            &[1.0, 0.0, 5.0, 5.0, 0.0, 1.0],
            &mut vector,
        );
        assert_eq!(vector, [0.6, 0.8]);
    }

    #[test]
    fn repetitions_follow_the_items() {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        weigh_history(&[], &[], None, 5, &mut columns, &mut values);
        weigh_history(&[0, 1, 2, 4], &[1.0, 0.5, 1.0, 1.0], Some(&[1.0, 3.0, 2.0, 1.0]), 5, &mut columns, &mut values);
        assert_eq!(columns, [0, 1, 2, 4, 5, 6, 7, 9]);
        assert_eq!(values, [0.5, 0.25, 0.5, 0.5, 1.0, 3.0, 2.0, 1.0]);
    }
}
