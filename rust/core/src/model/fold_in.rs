//! Folding in a bare history as a user: its vector, and its weights for the item-item part of a score.
//!
//! ```text
//! p_u  = Σ_j r_j τ_uj v_j / ‖Σ_j r_j τ_uj v_j‖     r_j: attention prior of the item, τ_uj: recency
//! τ_uj = 2^(−age_uj / half_life)                    age_uj: days before the newest purchase of the history
//! w_uj = n_u^-½ τ_uj                                n_u: length of the history
//! m_uj                                              what j adds to itself, where repetitions count
//! ```
//!
//! The m are sources of their own behind the items: that of item j has the position `n_items` + j.

use crate::runtime::simd::Level;
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{dot, scale};

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Beyond so many half-lives a purchase fades no more.
const MOST_HALVINGS: f64 = 60.0;

/// One person's history, by items that rise.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// Positions.
    pub items: &'a [u32],
    /// How often, or how much, each was had; `None`: once.
    pub weights: Option<&'a [f32]>,
    /// When each was had last, in seconds; `None`: all of them just now.
    pub times: Option<&'a [i64]>,
}

/// How a model folds a history in.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// One for each item.
    pub priors: &'a [f32],
    /// In days; `None`: nothing fades.
    pub half_life: Option<f64>,
    /// The same of what an item adds to itself.
    pub repeat_half_life: Option<f64>,
}

/// τ of each entry of one history; 1 where there are no times or no half-life.
pub fn recency(n: usize, times: Option<&[i64]>, half_life: Option<f64>) -> Vec<f32> {
    let (Some(times), Some(half_life)) = (times, half_life) else { return vec![1.0; n] };
    let newest = times.iter().copied().max().unwrap_or_default();
    let age_days = |&time: &i64| newest.saturating_sub(time) as f64 / SECONDS_PER_DAY;
    times.iter().map(|time| halve(age_days(time) / half_life) as f32).collect()
}

/// 2^−x for x ≥ 0: whole powers of two, and Horner's rule on the series for the rest, the same bits anywhere.
fn halve(halvings: f64) -> f64 {
    let halvings = halvings.min(MOST_HALVINGS);
    let whole = halvings.floor();
    let x = (halvings - whole) * -std::f64::consts::LN_2;
    let series = (1..=14).rev().fold(1.0, |series, k| 1.0 + series * x / f64::from(k));
    series * f64::from_bits((1023 - whole as u64) << 52)
}

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
    fn a_purchase_fades_by_half_with_each_half_life() {
        let days = |days: i64| days * 86_400;
        assert_eq!(
            recency(4, Some(&[days(40), days(30), days(35), i64::MIN / 2]), Some(10.0)),
            [1.0, 0.5, 0.5f64.sqrt() as f32, 2f32.powi(-60)]
        );
        assert_eq!(recency(2, Some(&[0, days(30)]), None), [1.0, 1.0]);
        assert_eq!(recency(2, None, Some(10.0)), [1.0, 1.0]);
        assert!(recency(0, Some(&[]), Some(10.0)).is_empty());
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
