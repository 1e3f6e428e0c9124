//! Scores of pairs computed directly from the tables: what is gathered and multiplied stays in registers and the nearest
//! cache, and nothing is written but the scores.
//!
//! The tables are larger than the caches of a core, and the rows of a batch lie all over them. So rows are prefetched:
//! those of a pair [`PAIRS_AHEAD`] pairs before their use, those of a history as `sparse` does. Without that a history of
//! 24 rows of 64 numbers took 260 ns, with it 184 (Zen 3, one thread, 2026-11-25).
//!
//! Same bits for every level: sums have [`LANES`] running sums, element k in sum k mod 16, added up by a fixed tree.

use super::exp::exp_body;
use super::level::Level;
use super::pairs::{weighted_dot, weighted_dot_body};
use super::reduce::{self, GROUP, Lanes};
use super::sparse::{ROWS_AHEAD, fetch, gather_body};
use super::vector::{LANES, dot, dot_body, larger};

/// Pairs between the prefetch of their rows, or of their histories, and their use.
const PAIRS_AHEAD: usize = 4;

/// How the vectors p and q of a pair become its score.
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
    Concat(&'a [f32]),
}

/// Where the vectors of a pair come from, row-major; the caller has checked that every position is in range.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// Numbers in a vector.
    pub d: usize,
    /// Users' own vectors; empty where a user is its history alone.
    pub own: &'a [f32],
    /// Where each user's history begins, one more than there are users; empty where histories do not count.
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

    /// Prefetches what the first pairs will need.
    #[inline(always)]
    fn prefetch_first(&self, users: &[u32], items: &[u32]) {
        if !self.offsets.is_empty() {
            users.iter().take(2 * PAIRS_AHEAD).for_each(|&user| fetch(self.offsets, user as usize, 2));
        }
        (0..PAIRS_AHEAD).for_each(|at| self.prefetch(users, items, at));
        if let (Some(&user), false) = (users.first(), self.offsets.is_empty()) {
            for &column in self.history(user).0.iter().take(ROWS_AHEAD) {
                fetch(self.items, column as usize * self.d, self.d);
            }
        }
    }

    /// Prefetches what the pair at `at`, if there is one, will need apart from the rows of its history.
    #[inline(always)]
    fn prefetch(&self, users: &[u32], items: &[u32], at: usize) {
        let Some((&user, &item)) = users.get(at).zip(items.get(at)) else { return };
        fetch(self.items, item as usize * self.d, self.d);
        if at > 0 && users[at - 1] == user {
            return;
        }
        if !self.own.is_empty() {
            fetch(self.own, user as usize * self.d, self.d);
        }
        if !self.offsets.is_empty() {
            let (columns, weights) = self.history(user);
            fetch(columns, 0, columns.len());
            fetch(weights, 0, weights.len());
        }
    }
}

/// Memory for a pair's vectors and a group's features, and the parameters of these in whole blocks of [`LANES`].
#[derive(Debug)]
pub struct Scratch {
    /// p.
    vector: Vec<f32>,
    /// x = p ⊙ q of each pair of a group.
    products: Vec<f32>,
    /// e of each, and then h e.
    weights: Vec<f32>,
    /// The highest logits of each, in running maxima.
    highest: Lanes,
    /// Σ h e x and Σ e of each, in running sums.
    sums: [Lanes; 2],
    /// g; −∞ in the lanes beyond d, for an exponential of 0 whatever else is there.
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
        // Other features need no memory between their passes.
        let group = if matches!(features, Features::Attended { .. }) { GROUP * d.next_multiple_of(LANES) } else { 0 };
        let (sharpness, layer) = match features {
            Features::Attended { sharpness, layer: [] } => (whole(sharpness, f32::NEG_INFINITY), Vec::new()),
            Features::Attended { sharpness, layer } => (whole(sharpness, f32::NEG_INFINITY), whole(layer, 0.0)),
            _ => (Vec::new(), Vec::new()),
        };
        Self {
            vector: vec![0.0; d],
            products: vec![0.0; group],
            weights: vec![0.0; group],
            highest: [[0.0; LANES]; GROUP],
            sums: [[[0.0; LANES]; GROUP]; 2],
            sharpness,
            layer,
            whole: [(); 2].map(|()| vec![1.0; group / GROUP]),
        }
    }
}

/// The score of one pair; `scratch` was made for these features.
pub fn one(level: Level, features: Features<'_>, p: &[f32], q: &[f32], scratch: &mut Scratch) -> f32 {
    match features {
        Features::Inner => dot(level, p, q),
        Features::Weighted(layer) => weighted_dot(level, layer, p, q),
        Features::Attended { .. } => {
            let (place, mut score) = (0, [0.0]);
            dispatch!(level, multiply(p: &[f32], q: &[f32], scratch: &mut Scratch, place: usize));
            attend(level, scratch, &mut score);
            score[0]
        }
        Features::Concat(layer) => dot(level, &layer[..p.len()], p) + dot(level, &layer[p.len()..], q),
    }
}

/// The scores of pairs. Consecutive pairs of the same user share its vector; `scratch` was made for these features.
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
            level: Level, tables: Tables<'_>, features: Features<'_>, users: &[u32], items: &[u32],
            scratch: &mut Scratch, scores: &mut [f32])),
        Features::Inner => dispatch!(level, each::<INNER>(
            level: Level, tables: Tables<'_>, features: Features<'_>, users: &[u32], items: &[u32],
            scratch: &mut Scratch, scores: &mut [f32])),
        _ => dispatch!(level, each::<LINEAR>(
            level: Level, tables: Tables<'_>, features: Features<'_>, users: &[u32], items: &[u32],
            scratch: &mut Scratch, scores: &mut [f32])),
    }
}

const INNER: u8 = 0;
const ATTENDED: u8 = 1;
const LINEAR: u8 = 2;

/// Each pair's vectors, and their score. The head is a constant, since a closure would not be widened to the level's
/// registers.
#[inline(always)]
fn each<const HEAD: u8>(
    level: Level,
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
    tables.prefetch_first(users, items);
    for at in 0..n {
        tables.prefetch(users, items, at + PAIRS_AHEAD);
        let q = tables.row(tables.items, items[at]);
        let p = if tables.offsets.is_empty() {
            tables.row(tables.own, users[at])
        } else {
            if let Some(&user) = users.get(at + 2 * PAIRS_AHEAD) {
                fetch(tables.offsets, user as usize, 2);
            }
            if at == 0 || users[at] != users[at - 1] {
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
        if HEAD == ATTENDED {
            let place = at % GROUP;
            multiply(p, q, scratch, place);
            if place + 1 == GROUP || at + 1 == n {
                attend(level, scratch, &mut scores[at - place..=at]);
            }
            continue;
        }
        scores[at] = match features {
            Features::Weighted(layer) if HEAD == LINEAR => weighted_dot_body(layer, p, q),
            Features::Concat(layer) if HEAD == LINEAR => {
                dot_body(&layer[..p.len()], p) + dot_body(&layer[p.len()..], q)
            }
            _ => dot_body(p, q),
        };
    }
    scratch.vector = vector;
}

/// Pass 1 of a pair: x, and the highest logits g x. Vectors that do not fill their last block are copied and
/// padded with 1, so that x is 1 there.
#[inline(always)]
fn multiply(p: &[f32], q: &[f32], scratch: &mut Scratch, place: usize) {
    let Scratch { products, highest, sharpness, whole: [whole_p, whole_q], .. } = scratch;
    let width = sharpness.len();
    let (p, q) = if p.len() == width {
        (p, q)
    } else {
        whole_p[..p.len()].copy_from_slice(p);
        whole_q[..q.len()].copy_from_slice(q);
        (whole_p.as_slice(), whole_q.as_slice())
    };
    let products = products[place * width..][..width].as_chunks_mut::<LANES>().0;
    let (p, q) = (&p.as_chunks::<LANES>().0[..products.len()], &q.as_chunks::<LANES>().0[..products.len()]);
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for (at, (products, g)) in products.iter_mut().zip(sharpness.as_chunks::<LANES>().0).enumerate() {
        let (p, q, g, mut x) = (p[at], q[at], *g, [0f32; LANES]);
        for lane in 0..LANES {
            x[lane] = p[lane] * q[lane];
        }
        for lane in 0..LANES {
            maxima[lane] = larger(g[lane] * x[lane], maxima[lane]);
        }
        *products = x;
    }
    highest[place] = maxima;
}

/// The scores of the first pairs of a group, whose exponentials are taken together in a function of their own: inlined
/// into everything else, the constants of an exponential would be loaded again for every eight numbers.
fn attend(level: Level, scratch: &mut Scratch, scores: &mut [f32]) {
    let highest = reduce::maxima(level, &scratch.highest);
    let highest = &highest[..scores.len()];
    dispatch!(level, attend_body(scratch: &mut Scratch, highest: &[f32]));
    let [upper, lower] = [0, 1].map(|at| reduce::sums(level, &scratch.sums[at]));
    for (score, (upper, lower)) in scores.iter_mut().zip(upper.into_iter().zip(lower)) {
        *score = upper / lower;
    }
}

/// Pass 2 of a group: e = exp(g x − highest). Pass 3: Σ h e x and Σ e.
#[inline(always)]
fn attend_body(scratch: &mut Scratch, highest: &[f32]) {
    let Scratch { products, weights, sums: [upper, lower], sharpness, layer, .. } = scratch;
    let width = sharpness.len();
    let weights = &mut weights[..highest.len() * width];
    for ((e, x), highest) in weights.chunks_exact_mut(width).zip(products.chunks_exact(width)).zip(highest) {
        for ((e, x), g) in e.iter_mut().zip(x).zip(&*sharpness) {
            *e = g.mul_add(*x, -*highest);
        }
    }
    for e in &mut *weights {
        *e = exp_body(*e);
    }
    let pairs = weights.chunks_exact_mut(width).zip(products.chunks_exact(width));
    for ((e, x), (above, below)) in pairs.zip(upper.iter_mut().zip(lower)) {
        let (mut upper, mut lower) = ([0f32; LANES], [0f32; LANES]);
        for e in e.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                lower[lane] += e[lane];
            }
        }
        for (e, h) in e.iter_mut().zip(&*layer) {
            *e *= h;
        }
        for (x, e) in x.as_chunks::<LANES>().0.iter().zip(e.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                upper[lane] = e[lane].mul_add(x[lane], upper[lane]);
            }
        }
        (*above, *below) = (upper, lower);
    }
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
            Features::Concat(h) => weigh(&h[..d], &p) + weigh(&h[d..], &q),
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
            let (g, h, concat) = (numbers(d, 4), numbers(d, 5), numbers(2 * d, 6));
            let bare = Tables { d, own: &own, offsets: &[], columns: &[], weights: &[], items: &items };
            let both = Tables { offsets: &offsets, columns: &columns, weights: &weights, ..bare };
            let users: Vec<u32> = (0..33).map(|at| at / 3 % 5).collect();
            let candidates: Vec<u32> = (0..33).map(|at| at * 11 % 50).collect();
            for tables in [bare, both, Tables { own: &[], ..both }] {
                for features in [
                    Features::Inner,
                    Features::Weighted(&h),
                    Features::Attended { sharpness: &g, layer: &[] },
                    Features::Attended { sharpness: &g, layer: &h },
                    Features::Concat(&concat),
                ] {
                    let run = |level| {
                        let mut found = vec![0.0; users.len()];
                        scores(
                            level,
                            tables,
                            features,
                            &users,
                            &candidates,
                            &mut Scratch::new(features, d),
                            &mut found,
                        );
                        found
                    };
                    let truth = run(Level::Scalar);
                    for level in Level::available() {
                        assert_eq!(run(level), truth, "{} {d}", level.name());
                    }
                    for (at, score) in truth.iter().enumerate() {
                        let plain = naive(tables, features, users[at] as usize, candidates[at] as usize);
                        let scale = 1.0 + plain.abs() + d as f64;
                        assert!((f64::from(*score) - plain).abs() < 2e-5 * scale, "{d} {at}: {score} {plain}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_single_pair_has_the_same_bits() {
        let d = 50;
        let (own, items, g) = (numbers(5 * d, 1), numbers(50 * d, 2), numbers(d, 4));
        let tables = Tables { d, own: &own, offsets: &[], columns: &[], weights: &[], items: &items };
        let features = Features::Attended { sharpness: &g, layer: &[] };
        let mut scratch = Scratch::new(features, d);
        for level in Level::available() {
            let mut found = vec![0.0; 9];
            let (users, candidates) = ([0, 1, 2, 3, 4, 0, 0, 1, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1]);
            scores(level, tables, features, &users, &candidates, &mut scratch, &mut found);
            for at in 0..9 {
                let (p, q) = (tables.row(&own, users[at]), tables.row(&items, candidates[at]));
                assert_eq!(one(level, features, p, q, &mut scratch).to_bits(), found[at].to_bits());
            }
        }
    }
}
