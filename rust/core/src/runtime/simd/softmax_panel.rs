//! The softmax of a panel of users: scores laid out as [negative][user], each user a lane, become exponentials and sums.

use super::exp::exp_body;
use super::level::Level;

/// Users side by side: whole tiles of every level, as rows and as lanes.
pub const LANES: usize = 48;

#[inline(always)]
fn exponentials_body(
    scores: &mut [f32],
    log_weights: &[f32],
    slope: f32,
    shifts: &[f32; LANES],
    sums: &mut [f32; LANES],
) {
    // The sum of this block first: fewer roundings at the size of the whole sum.
    let mut of_block = [0.0f32; LANES];
    for (row, &log_weight) in scores.as_chunks_mut::<LANES>().0.iter_mut().zip(log_weights) {
        for lane in 0..LANES {
            let e = exp_body(slope.mul_add(row[lane], log_weight - shifts[lane]));
            row[lane] = e;
            of_block[lane] += e;
        }
    }
    for lane in 0..LANES {
        sums[lane] += of_block[lane];
    }
}

/// score ← exp(slope · score + `log_weight` − shift) in each row of `LANES` scores, one log weight for each row; the
/// exponentials of a lane are added to its sum.
pub fn exponentials(
    level: Level,
    scores: &mut [f32],
    log_weights: &[f32],
    slope: f32,
    shifts: &[f32; LANES],
    sums: &mut [f32; LANES],
) {
    assert!(scores.len() == log_weights.len() * LANES);
    dispatch!(
        level,
        exponentials_body(
            scores: &mut [f32],
            log_weights: &[f32],
            slope: f32,
            shifts: &[f32; LANES],
            sums: &mut [f32; LANES],
        )
    );
}

#[inline(always)]
fn highest_body(scores: &[f32], log_weights: &[f32], slope: f32, highest: &mut [f32; LANES]) {
    for (row, &log_weight) in scores.as_chunks::<LANES>().0.iter().zip(log_weights) {
        for lane in 0..LANES {
            let logit = slope.mul_add(row[lane], log_weight);
            highest[lane] = if logit > highest[lane] { logit } else { highest[lane] };
        }
    }
}

/// Raises `highest` to each lane's highest slope · score + `log_weight`.
pub fn highest(level: Level, scores: &[f32], log_weights: &[f32], slope: f32, highest: &mut [f32; LANES]) {
    assert!(scores.len() == log_weights.len() * LANES);
    dispatch!(level, highest_body(scores: &[f32], log_weights: &[f32], slope: f32, highest: &mut [f32; LANES]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_gives_the_softmax() {
        let draws = Stream::new(8, 0);
        for n in [0, 1, 7, 96] {
            let scores: Vec<f32> = (0..n * LANES).map(|i| draws.normal(i as u64)).collect();
            let log_weights: Vec<f32> = (0..n).map(|i| draws.sub(1).normal(i as u64)).collect();
            let run = |level: Level| {
                let (mut shifts, mut sums) = ([-1e9; LANES], [1.0; LANES]);
                highest(level, &scores, &log_weights, 3.0, &mut shifts);
                let mut e = scores.clone();
                exponentials(level, &mut e, &log_weights, 3.0, &shifts, &mut sums);
                (shifts, e, sums)
            };
            let truth = run(Level::Scalar);
            for level in Level::available() {
                assert_eq!(run(level), truth, "{} {n}", level.name());
            }
            for lane in 0..LANES {
                let logits: Vec<f64> =
                    (0..n).map(|k| 3.0 * f64::from(scores[k * LANES + lane]) + f64::from(log_weights[k])).collect();
                let high = logits.iter().fold(-1e9, |high: f64, &x| high.max(x));
                let sum: f64 = logits.iter().map(|x| (x - high).exp()).sum();
                assert!((f64::from(truth.0[lane]) - high).abs() <= 1e-6 * high.abs());
                assert!((f64::from(truth.2[lane]) - 1.0 - sum).abs() < 1e-5 * (1.0 + sum), "{n} {lane}");
            }
        }
    }
}
