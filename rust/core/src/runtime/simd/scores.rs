//! Scores of pairs straight from the tables: what is gathered and multiplied stays in registers and the nearest cache,
//! and nothing is written but the scores.
//!
//! The tables are larger than the caches of a core, and the rows of a batch lie all over them. So rows are fetched
//! ahead of their use: those of a pair [`PAIRS_AHEAD`], those of a history in `sparse`. Without that a history of
//! 24 rows of 64 numbers took 260 ns, with it 184 (Zen 3, one thread, 2026-11-25).
//!
//! Same bits for every level: sums have [`LANES`] running sums, element k in sum k mod 16, added up by a fixed tree.

use super::Level;
use super::exp::exp_body;
use super::pairs::{weighted_dot, weighted_dot_body};
use super::sparse::{fetch, gather_body};
use super::vector::{LANES, dot, dot_body, halves, larger, tree};

/// Pairs between the fetch of their rows and their use.
const PAIRS_AHEAD: usize = 4;

/// What is made of the vectors p and q of a pair.
#[derive(Clone, Copy, Debug)]
pub enum Features<'a> {
    /// Σ p q.
    Inner,
    /// Σ h p q.
    Weighted(&'a [f32]),
    /// Σ h α p q with α = softmax(g ⊙ p ⊙ q).
    Attended {
        /// g.
        sharpness: &'a [f32],
        /// h, or nothing for ones.
        layer: &'a [f32],
    },
    /// ⟨h, [p; q]⟩.
    Joined(&'a [f32]),
}

/// Where the vectors of a pair come from, row-major; every position that is asked for is in range.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// Numbers in a vector.
    pub d: usize,
    /// Users' own vectors, or nothing where their histories say all.
    pub own: &'a [f32],
    /// Where each user's history begins, one more than there are users; nothing where histories do not count.
    pub offsets: &'a [usize],
    /// The items of the histories.
    pub columns: &'a [u32],
    /// Their attention weights.
    pub weights: &'a [f32],
    /// Items' vectors, of candidates and histories alike.
    pub items: &'a [f32],
}

impl<'a> Tables<'a> {
    #[inline(always)]
    fn row(&self, table: &'a [f32], at: u32) -> &'a [f32] {
        &table[at as usize * self.d..][..self.d]
    }

    #[inline(always)]
    fn history(&self, user: u32) -> (&'a [u32], &'a [f32]) {
        let part = self.offsets[user as usize]..self.offsets[user as usize + 1];
        (&self.columns[part.clone()], &self.weights[part])
    }
}

/// Room for one pair at a time, and the parameters of its features in whole blocks of [`LANES`].
#[derive(Debug)]
pub struct Scratch {
    /// p.
    vector: Vec<f32>,
    /// x = p ⊙ q.
    products: Vec<f32>,
    /// g; −∞ in the lanes that d leaves over, for an exponential of 0 whatever else is there.
    sharpness: Vec<f32>,
    /// h.
    layer: Vec<f32>,
    /// p and q in whole blocks.
    whole: [Vec<f32>; 2],
}

impl Scratch {
    /// For vectors of `d` numbers.
    pub fn new(features: Features<'_>, d: usize) -> Self {
        let whole = |numbers: &[f32], rest: f32| {
            let mut numbers = numbers.to_vec();
            numbers.resize(d.next_multiple_of(LANES), rest);
            numbers
        };
        let (sharpness, layer) = match features {
            Features::Attended { sharpness, layer: [] } => (whole(sharpness, f32::NEG_INFINITY), Vec::new()),
            Features::Attended { sharpness, layer } => (whole(sharpness, f32::NEG_INFINITY), whole(layer, 0.0)),
            _ => (Vec::new(), Vec::new()),
        };
        Self {
            vector: vec![0.0; d],
            products: whole(&[], 0.0),
            sharpness,
            layer,
            whole: [whole(&[], 1.0), whole(&[], 1.0)],
        }
    }
}

/// The score of one pair; `scratch` was made for these features.
pub fn one(level: Level, features: Features<'_>, p: &[f32], q: &[f32], scratch: &mut Scratch) -> f32 {
    match features {
        Features::Inner => dot(level, p, q),
        Features::Weighted(layer) => weighted_dot(level, layer, p, q),
        Features::Attended { .. } => {
            dispatch!(level, attended_body(p: &[f32], q: &[f32], scratch: &mut Scratch) -> f32)
        }
        Features::Joined(layer) => dot(level, &layer[..p.len()], p) + dot(level, &layer[p.len()..], q),
    }
}

/// The scores of pairs. Neighbours of the same user share its vector; `scratch` was made for these features.
pub fn scores(
    level: Level,
    tables: Tables<'_>,
    features: Features<'_>,
    users: &[u32],
    items: &[u32],
    scratch: &mut Scratch,
    scores: &mut [f32],
) {
    match features {
        Features::Attended { .. } => dispatch!(level, each::<ATTENDED>(
            tables: Tables<'_>, features: Features<'_>, users: &[u32], items: &[u32], scratch: &mut Scratch,
            scores: &mut [f32])),
        Features::Inner => dispatch!(level, each::<INNER>(
            tables: Tables<'_>, features: Features<'_>, users: &[u32], items: &[u32], scratch: &mut Scratch,
            scores: &mut [f32])),
        _ => dispatch!(level, each::<LINEAR>(
            tables: Tables<'_>, features: Features<'_>, users: &[u32], items: &[u32], scratch: &mut Scratch,
            scores: &mut [f32])),
    }
}

const INNER: u8 = 0;
const ATTENDED: u8 = 1;
const LINEAR: u8 = 2;

/// Each pair's vectors, and their score. A constant tells the heads apart: what a closure does would not be widened.
#[inline(always)]
fn each<const HEAD: u8>(
    tables: Tables<'_>,
    features: Features<'_>,
    users: &[u32],
    items: &[u32],
    scratch: &mut Scratch,
    scores: &mut [f32],
) {
    let n = scores.len();
    let (users, items) = (&users[..n], &items[..n]);
    let mut vector = std::mem::take(&mut scratch.vector);
    for at in 0..n {
        let q = tables.row(tables.items, items[at]);
        let p = if tables.offsets.is_empty() {
            if at + PAIRS_AHEAD < n {
                fetch(tables.own, users[at + PAIRS_AHEAD] as usize * tables.d, tables.d);
                fetch(tables.items, items[at + PAIRS_AHEAD] as usize * tables.d, tables.d);
            }
            tables.row(tables.own, users[at])
        } else {
            if at == 0 || users[at] != users[at - 1] {
                fetch(tables.items, items[at] as usize * tables.d, tables.d);
                if tables.own.is_empty() {
                    vector.fill(0.0);
                } else {
                    vector.copy_from_slice(tables.row(tables.own, users[at]));
                }
                let next = if at + 1 < n { tables.history(users[at + 1]).0 } else { &[] };
                let (columns, weights) = tables.history(users[at]);
                gather_body(columns, weights, next, tables.items, &mut vector);
            }
            &vector
        };
        scores[at] = match features {
            _ if HEAD == ATTENDED => attended_body(p, q, scratch),
            Features::Weighted(layer) if HEAD == LINEAR => weighted_dot_body(layer, p, q),
            Features::Joined(layer) if HEAD == LINEAR => {
                dot_body(&layer[..p.len()], p) + dot_body(&layer[p.len()..], q)
            }
            _ => dot_body(p, q),
        };
    }
    scratch.vector = vector;
}

/// Vectors that do not fill their last block are copied to where it is filled up: with 1, so that x is 1 there.
#[inline(always)]
fn attended_body(p: &[f32], q: &[f32], scratch: &mut Scratch) -> f32 {
    let Scratch { products, sharpness, layer, whole: [whole_p, whole_q], .. } = scratch;
    let (p, q) = if p.len() == products.len() {
        (p, q)
    } else {
        whole_p[..p.len()].copy_from_slice(p);
        whole_q[..q.len()].copy_from_slice(q);
        (whole_p.as_slice(), whole_q.as_slice())
    };
    attended_blocks(
        p.as_chunks().0,
        q.as_chunks().0,
        sharpness.as_chunks().0,
        layer.as_chunks().0,
        products.as_chunks_mut().0,
    )
}

/// Pass 1: x and the highest logit g x. Pass 2: Σ h e x / Σ e with e = exp(g x − highest).
#[inline(always)]
fn attended_blocks(
    p: &[[f32; LANES]],
    q: &[[f32; LANES]],
    sharpness: &[[f32; LANES]],
    layer: &[[f32; LANES]],
    products: &mut [[f32; LANES]],
) -> f32 {
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for ((x, p), q) in products.as_flattened_mut().iter_mut().zip(p.as_flattened()).zip(q.as_flattened()) {
        *x = p * q;
    }
    for (x, g) in products.iter().zip(sharpness) {
        for lane in 0..LANES {
            maxima[lane] = larger(g[lane] * x[lane], maxima[lane]);
        }
    }
    let highest = halves(maxima, larger);
    let (mut upper, mut lower) = ([0f32; LANES], [0f32; LANES]);
    if layer.is_empty() {
        for (x, g) in products.iter().zip(sharpness) {
            for lane in 0..LANES {
                let e = exp_body(g[lane].mul_add(x[lane], -highest));
                lower[lane] += e;
                upper[lane] = e.mul_add(x[lane], upper[lane]);
            }
        }
    } else {
        for ((x, g), h) in products.iter().zip(sharpness).zip(layer) {
            for lane in 0..LANES {
                let e = exp_body(g[lane].mul_add(x[lane], -highest));
                lower[lane] += e;
                upper[lane] = (e * h[lane]).mul_add(x[lane], upper[lane]);
            }
        }
    }
    tree(upper) / tree(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn numbers(n: usize, purpose: u64) -> Vec<f32> {
        (0..n).map(|i| Stream::new(5, purpose).normal(i as u64)).collect()
    }

    /// Five users with histories of 0, 1, 3, 20 and 40 items out of 50.
    fn offsets() -> (Vec<usize>, Vec<u32>) {
        let offsets = vec![0, 0, 1, 4, 24, 64];
        (offsets, (0..64u32).map(|at| at * 7 % 50).collect())
    }

    /// The formulas in f64, one number at a time.
    fn naive(tables: Tables<'_>, features: Features<'_>, user: usize, item: usize) -> f64 {
        let d = tables.d;
        let mut p: Vec<f64> = (0..d).map(|k| tables.own.get(user * d + k).map_or(0.0, |&z| f64::from(z))).collect();
        if !tables.offsets.is_empty() {
            for entry in tables.offsets[user]..tables.offsets[user + 1] {
                let row = tables.row(tables.items, tables.columns[entry]);
                for k in 0..d {
                    p[k] += f64::from(tables.weights[entry]) * f64::from(row[k]);
                }
            }
        }
        let q: Vec<f64> = tables.row(tables.items, item as u32).iter().map(|&q| f64::from(q)).collect();
        let x: Vec<f64> = p.iter().zip(&q).map(|(p, q)| p * q).collect();
        let weigh = |h: &[f32], x: &[f64]| -> f64 { h.iter().zip(x).map(|(h, x)| f64::from(*h) * x).sum() };
        match features {
            Features::Inner => x.iter().sum(),
            Features::Weighted(h) => weigh(h, &x),
            Features::Joined(h) => weigh(&h[..d], &p) + weigh(&h[d..], &q),
            Features::Attended { sharpness, layer } => {
                let e: Vec<f64> = sharpness.iter().zip(&x).map(|(g, x)| (f64::from(*g) * x).exp()).collect();
                let h = |k: usize| layer.get(k).map_or(1.0, |&h| f64::from(h));
                (0..d).map(|k| h(k) * e[k] * x[k]).sum::<f64>() / e.iter().sum::<f64>()
            }
        }
    }

    #[test]
    fn every_level_has_the_same_bits_and_they_are_the_formula() {
        let (offsets, columns) = offsets();
        for d in [1, 5, 15, 16, 17, 50, 64, 100, 128] {
            let (own, items, weights) = (numbers(5 * d, 1), numbers(50 * d, 2), numbers(64, 3));
            let (g, h, joined) = (numbers(d, 4), numbers(d, 5), numbers(2 * d, 6));
            let bare = Tables { d, own: &own, offsets: &[], columns: &[], weights: &[], items: &items };
            let both = Tables { offsets: &offsets, columns: &columns, weights: &weights, ..bare };
            let users: Vec<u32> = (0..33).map(|at| at / 3 % 5).collect();
            let asked: Vec<u32> = (0..33).map(|at| at * 11 % 50).collect();
            for tables in [bare, both, Tables { own: &[], ..both }] {
                for features in [
                    Features::Inner,
                    Features::Weighted(&h),
                    Features::Attended { sharpness: &g, layer: &[] },
                    Features::Attended { sharpness: &g, layer: &h },
                    Features::Joined(&joined),
                ] {
                    let run = |level| {
                        let mut found = vec![0.0; users.len()];
                        scores(level, tables, features, &users, &asked, &mut Scratch::new(features, d), &mut found);
                        found
                    };
                    let truth = run(Level::Scalar);
                    for level in Level::available() {
                        assert_eq!(run(level), truth, "{} {d}", level.name());
                    }
                    for (at, score) in truth.iter().enumerate() {
                        let plain = naive(tables, features, users[at] as usize, asked[at] as usize);
                        let scale = 1.0 + plain.abs() + d as f64;
                        assert!((f64::from(*score) - plain).abs() < 2e-5 * scale, "{d} {at}: {score} {plain}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_pair_by_itself_has_the_same_bits() {
        let d = 50;
        let (own, items, g) = (numbers(5 * d, 1), numbers(50 * d, 2), numbers(d, 4));
        let tables = Tables { d, own: &own, offsets: &[], columns: &[], weights: &[], items: &items };
        let features = Features::Attended { sharpness: &g, layer: &[] };
        let mut scratch = Scratch::new(features, d);
        for level in Level::available() {
            let mut found = vec![0.0; 9];
            let (users, asked) = ([0, 1, 2, 3, 4, 0, 0, 1, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1]);
            scores(level, tables, features, &users, &asked, &mut scratch, &mut found);
            for at in 0..9 {
                let (p, q) = (tables.row(&own, users[at]), tables.row(&items, asked[at]));
                assert_eq!(one(level, features, p, q, &mut scratch).to_bits(), found[at].to_bits());
            }
        }
    }
}
