//! Steps of stochastic gradient descent on the factors of a user and of one or two items, one sample after the other.
//!
//! Rows are padded with zeros to a multiple of [`LANES`]; the steps leave zeros what they are. Each sample sees what those
//! before it have changed, so the order of the samples is part of the result. The rows of the samples to come are
//! prefetched meanwhile.

use super::exp::{exp_body, ln_body};
use super::level::Level;
use super::sparse::fetch;
use super::vector::{LANES, dot_body, tree};

/// Samples between the prefetch of a row and its use.
const SAMPLES_AHEAD: usize = 6;

/// Factors of the users or items that the samples name: rows of `width` numbers, and a bias for each.
pub struct Block<'a> {
    /// Rows of `width` numbers.
    pub vectors: &'a mut [f32],
    /// One number for each row.
    pub biases: &'a mut [f32],
}

impl Block<'_> {
    /// The same block, lent for a shorter time.
    pub fn reborrow(&mut self) -> Block<'_> {
        Block { vectors: self.vectors, biases: self.biases }
    }
}

/// A user, an item, and the number that goes with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// The row of the user's block.
    pub user: u32,
    /// The row of the item's block.
    pub item: u32,
    /// What the score should be.
    pub value: f32,
}

/// How far a step goes, and how much it shrinks what it touches.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The learning rate.
    pub rate: f32,
    /// L2 penalty of the vectors.
    pub regularization: f32,
    /// L2 penalty of the biases.
    pub bias_regularization: f32,
}

#[inline(always)]
fn two_rows(vectors: &mut [f32], width: usize, a: usize, b: usize) -> (&mut [f32], &mut [f32]) {
    let (a, b) = (a * width, b * width);
    if a < b {
        let (head, tail) = vectors.split_at_mut(b);
        (&mut head[a..a + width], &mut tail[..width])
    } else {
        let (head, tail) = vectors.split_at_mut(a);
        (&mut tail[..width], &mut head[b..b + width])
    }
}

#[inline(always)]
fn bpr_body(
    width: usize,
    step: Step,
    samples: &[[u32; 3]],
    users: &mut [f32],
    items: &mut [f32],
    biases: &mut [f32],
) -> f64 {
    let mut loss = 0.0f64;
    let shrink = 1.0 - step.rate * step.regularization;
    let shrink_bias = 1.0 - step.rate * step.bias_regularization;
    for (at, sample) in samples.iter().enumerate() {
        if let Some(next) = samples.get(at + SAMPLES_AHEAD) {
            fetch(users, next[0] as usize * width, width);
            fetch(items, next[1] as usize * width, width);
            fetch(items, next[2] as usize * width, width);
        }
        let [user, positive, negative] = sample.map(|position| position as usize);
        let p = &mut users[user * width..][..width];
        let (q, r) = two_rows(items, width, positive, negative);
        let (p, q, r) = (p.as_chunks_mut::<LANES>().0, q.as_chunks_mut::<LANES>().0, r.as_chunks_mut::<LANES>().0);
        // 1. How much higher the positive stands.
        let mut sums = [0.0f32; LANES];
        for ((p, q), r) in p.iter().zip(&*q).zip(&*r) {
            for lane in 0..LANES {
                sums[lane] = p[lane].mul_add(q[lane] - r[lane], sums[lane]);
            }
        }
        let margin = tree(sums) + (biases[positive] - biases[negative]);
        // 2. σ(−x) and −ln σ(x), both of e^−|x|.
        let small = exp_body(-margin.abs());
        let slope = if margin > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
        loss += f64::from(ln_body(1.0 + small) + if margin < 0.0 { -margin } else { 0.0 });
        // 3. The step.
        let rate = step.rate * slope;
        for ((p, q), r) in p.iter_mut().zip(q).zip(r) {
            for lane in 0..LANES {
                let (user, positive, negative) = (p[lane], q[lane], r[lane]);
                p[lane] = shrink.mul_add(user, rate * (positive - negative));
                q[lane] = shrink.mul_add(positive, rate * user);
                r[lane] = shrink.mul_add(negative, -(rate * user));
            }
        }
        biases[positive] = shrink_bias.mul_add(biases[positive], rate);
        biases[negative] = shrink_bias.mul_add(biases[negative], -rate);
    }
    loss
}

/// Steps of Bayesian personalized ranking: samples are (user, positive, negative), the two items distinct. The loss −ln σ(x̂)
/// of each before its step, summed.
pub fn bpr(level: Level, width: usize, step: Step, samples: &[[u32; 3]], users: &mut [f32], items: Block<'_>) -> f64 {
    assert!(width.is_multiple_of(LANES), "rows are padded");
    let (items, biases) = (items.vectors, items.biases);
    dispatch!(level, bpr_body(
        width: usize, step: Step, samples: &[[u32; 3]], users: &mut [f32], items: &mut [f32], biases: &mut [f32]) -> f64)
}

#[inline(always)]
fn rated_body(
    width: usize,
    step: Step,
    mean: f32,
    samples: &[Rating],
    users: &mut [f32],
    user_biases: &mut [f32],
    items: &mut [f32],
    item_biases: &mut [f32],
) -> f64 {
    let mut loss = 0.0f64;
    let shrink = 1.0 - step.rate * step.regularization;
    let shrink_bias = 1.0 - step.rate * step.bias_regularization;
    for (at, sample) in samples.iter().enumerate() {
        if let Some(next) = samples.get(at + SAMPLES_AHEAD) {
            fetch(users, next.user as usize * width, width);
            fetch(items, next.item as usize * width, width);
        }
        let (user, item) = (sample.user as usize, sample.item as usize);
        let (p, q) = (&mut users[user * width..][..width], &mut items[item * width..][..width]);
        let score = mean + user_biases[user] + item_biases[item] + dot_body(p, q);
        let error = sample.value - score;
        loss += f64::from(error) * f64::from(error);
        let rate = step.rate * error;
        for (p, q) in p.as_chunks_mut::<LANES>().0.iter_mut().zip(q.as_chunks_mut::<LANES>().0) {
            for lane in 0..LANES {
                let (user, item) = (p[lane], q[lane]);
                p[lane] = shrink.mul_add(user, rate * item);
                q[lane] = shrink.mul_add(item, rate * user);
            }
        }
        user_biases[user] = shrink_bias.mul_add(user_biases[user], rate);
        item_biases[item] = shrink_bias.mul_add(item_biases[item], rate);
    }
    loss
}

/// Steps of biased matrix factorization. The squared error of each before its
/// step, summed.
pub fn rated(
    level: Level,
    width: usize,
    step: Step,
    mean: f32,
    samples: &[Rating],
    users: Block<'_>,
    items: Block<'_>,
) -> f64 {
    assert!(width.is_multiple_of(LANES), "rows are padded");
    let (users, user_biases) = (users.vectors, users.biases);
    let (items, item_biases) = (items.vectors, items.biases);
    dispatch!(level, rated_body(
        width: usize, step: Step, mean: f32, samples: &[Rating],
        users: &mut [f32], user_biases: &mut [f32], items: &mut [f32], item_biases: &mut [f32]) -> f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    const WIDTH: usize = 32;
    const STEP: Step = Step { rate: 0.05, regularization: 0.02, bias_regularization: 0.1 };

    fn numbers(n: usize, purpose: u64) -> Vec<f32> {
        (0..n).map(|i| 0.3 * Stream::new(8, purpose).normal(i as u64)).collect()
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Tables {
        users: Vec<f32>,
        items: Vec<f32>,
        user_biases: Vec<f32>,
        item_biases: Vec<f32>,
    }

    fn tables() -> Tables {
        Tables {
            users: numbers(3 * WIDTH, 1),
            items: numbers(5 * WIDTH, 2),
            user_biases: numbers(3, 3),
            item_biases: numbers(5, 4),
        }
    }

    fn bpr_on(level: Level, samples: &[[u32; 3]], t: &mut Tables) -> f64 {
        let items = Block { vectors: &mut t.items, biases: &mut t.item_biases };
        bpr(level, WIDTH, STEP, samples, &mut t.users, items)
    }

    fn rated_on(level: Level, samples: &[Rating], t: &mut Tables) -> f64 {
        let users = Block { vectors: &mut t.users, biases: &mut t.user_biases };
        let items = Block { vectors: &mut t.items, biases: &mut t.item_biases };
        rated(level, WIDTH, STEP, 3.5, samples, users, items)
    }

    /// Every number of the tables, one after the other.
    fn each(t: &mut Tables) -> Vec<&mut f32> {
        let Tables { users, items, user_biases, item_biases } = t;
        users.iter_mut().chain(items).chain(user_biases).chain(item_biases).collect()
    }

    /// The step is −rate times the slope of `loss`, by central differences.
    fn follows_the_slope(loss: impl Fn(&Tables) -> f64, stepped: &Tables) {
        let before = tables();
        let n = each(&mut before.clone()).len();
        for at in 0..n {
            let shifted = |by: f32| {
                let mut t = before.clone();
                *each(&mut t)[at] += by;
                loss(&t)
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            let (old, new) = (*each(&mut before.clone())[at], *each(&mut stepped.clone())[at]);
            let moved = f64::from(new - old);
            assert!((moved + f64::from(STEP.rate) * slope).abs() < 2e-3, "{at}: {moved} for a slope of {slope}");
        }
    }

    fn squares(x: &[f32]) -> f64 {
        0.5 * x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()
    }

    fn inner(t: &Tables, user: usize, item: usize) -> f64 {
        let (p, q) = (&t.users[user * WIDTH..][..WIDTH], &t.items[item * WIDTH..][..WIDTH]);
        p.iter().zip(q).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum()
    }

    #[test]
    fn a_ranking_step_goes_down_the_slope_of_its_loss() {
        let (user, positive, negative) = (1, 4, 2);
        let rows = [positive, negative];
        let loss = |t: &Tables| {
            let bias = |item: usize| f64::from(t.item_biases[item]);
            let margin = inner(t, user, positive) - inner(t, user, negative) + bias(positive) - bias(negative);
            let held = squares(&t.users[user * WIDTH..][..WIDTH])
                + rows.map(|row| squares(&t.items[row * WIDTH..][..WIDTH])).iter().sum::<f64>();
            let biases = rows.map(|row| squares(&[t.item_biases[row]])).iter().sum::<f64>();
            (-margin).exp().ln_1p()
                + f64::from(STEP.regularization) * held
                + f64::from(STEP.bias_regularization) * biases
        };
        let mut stepped = tables();
        bpr_on(Level::Scalar, &[[user as u32, positive as u32, negative as u32]], &mut stepped);
        follows_the_slope(loss, &stepped);
    }

    #[test]
    fn a_rating_step_goes_down_the_slope_of_half_its_loss() {
        let (user, item, target) = (2, 3, 4.0);
        let loss = |t: &Tables| {
            let biases = [t.user_biases[user], t.item_biases[item]];
            let score = 3.5 + f64::from(biases[0]) + f64::from(biases[1]) + inner(t, user, item);
            let held = squares(&t.users[user * WIDTH..][..WIDTH]) + squares(&t.items[item * WIDTH..][..WIDTH]);
            0.5 * (target - score).powi(2)
                + f64::from(STEP.regularization) * held
                + f64::from(STEP.bias_regularization) * squares(&biases)
        };
        let mut stepped = tables();
        rated_on(Level::Scalar, &[Rating { user: user as u32, item: item as u32, value: target as f32 }], &mut stepped);
        follows_the_slope(loss, &stepped);
    }

    #[test]
    fn every_level_has_the_same_bits() {
        let draws = Stream::new(2, 0);
        let triples: Vec<[u32; 3]> = (0..60)
            .map(|at| {
                let positive = draws.below(2 * at, 5) as u32;
                [draws.below(2 * at + 1, 3) as u32, positive, (positive + 1 + at as u32 % 4) % 5]
            })
            .collect();
        let value = |at: usize| (at % 5) as f32;
        let ratings: Vec<Rating> =
            triples.iter().enumerate().map(|(at, t)| Rating { user: t[0], item: t[1], value: value(at) }).collect();
        let run = |level| {
            let (mut ranked, mut rated) = (tables(), tables());
            let losses =
                [bpr_on(level, &triples, &mut ranked), rated_on(level, &ratings, &mut rated)].map(f64::to_bits);
            (ranked, rated, losses)
        };
        for level in Level::available() {
            assert_eq!(run(level), run(Level::Scalar), "{}", level.name());
        }
    }
}
