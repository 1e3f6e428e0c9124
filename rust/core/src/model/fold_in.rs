//! A bare history as a user: the vector that its items make, and what it tells the item-item weights.
//!
//! `p_u` = Σ_j `r_j` `τ_uj` `v_j` divided by its length, `r_j` the attention prior of an item; and `w_uj` = `n_u^-½` `τ_uj`,
//! followed, where repetitions count, by `m_uj` = `n_uj` `τ_uj` on rows of their own, `n_items` further down.

use crate::runtime::simd::Level;
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{dot, scale};

/// The unit vector of one history into `out`, which holds zeros; `recent` is τ.
pub fn user_vector(level: Level, history: &[u32], recent: &[f32], priors: &[f32], vectors: &[f32], out: &mut [f32]) {
    let weights: Vec<f32> = history.iter().zip(recent).map(|(&j, &recent)| priors[j as usize] * recent).collect();
    gather(level, history, &weights, vectors, out);
    let length = dot(level, out, out).sqrt();
    if length > 0.0 {
        scale(level, 1.0 / length, out);
    }
}

/// Appends the weighted history of one user; `counts` is how often each item was bought, where that counts.
pub fn speak(
    history: &[u32],
    recent: &[f32],
    counts: Option<&[f32]>,
    n_items: usize,
    columns: &mut Vec<u32>,
    values: &mut Vec<f32>,
) {
    let share = (1.0 / (history.len().max(1) as f64).sqrt()) as f32;
    columns.extend_from_slice(history);
    values.extend(recent.iter().map(|recent| share * recent));
    if let Some(counts) = counts {
        columns.extend(history.iter().map(|&item| item + n_items as u32));
        values.extend(counts.iter().zip(recent).map(|(count, recent)| count * recent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_its_weighted_items_at_length_one() {
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
    fn repetitions_stand_behind_the_items() {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        speak(&[], &[], None, 5, &mut columns, &mut values);
        speak(&[0, 1, 2, 4], &[1.0, 0.5, 1.0, 1.0], Some(&[1.0, 3.0, 2.0, 1.0]), 5, &mut columns, &mut values);
        assert_eq!(columns, [0, 1, 2, 4, 5, 6, 7, 9]);
        assert_eq!(values, [0.5, 0.25, 0.5, 0.5, 1.0, 1.5, 2.0, 1.0]);
    }
}
