//! Random models of every kind, and the specification of their lists: `Case::naive`, a full sort of all scores, computed one
//! by one with `f32::mul_add`.

use super::key::{key, position_of, score_of};
use super::*;
use crate::data::Csr;
use crate::model::layers::{Layers, Shape};
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;

/// A random model: everything that a list depends on.
pub struct Case {
    pub n_users: usize,
    pub n_items: usize,
    pub d: usize,
    pub users: Vec<f32>,
    pub items: Vec<f32>,
    pub neighbors: Option<Csr>,
    pub history: Option<Csr>,
    pub seen: Option<Sets>,
    pub head: Head,
    pub link: Link,
    pub shift: Option<Vec<f32>>,
}

/// What the numbers of a case look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Random normal.
    Normal,
    /// Small whole numbers: many equal scores.
    Ties,
    /// Everything zero, some of it negative zero.
    Zeros,
    /// Norms that fall off steeply, as trained factors have.
    Skewed,
    /// Subnormal products.
    Tiny,
    /// Products near the end of the range of f32; sums beyond it are refused when the users come in.
    Huge,
    /// All magnitudes at once.
    Wild,
}

pub const KINDS: [Kind; 7] = [Kind::Normal, Kind::Ties, Kind::Zeros, Kind::Skewed, Kind::Tiny, Kind::Huge, Kind::Wild];

fn numbers(kind: Kind, n: usize, d: usize, stream: Stream) -> Vec<f32> {
    (0..n * d)
        .map(|at| {
            let (c, draw) = (at as u64, stream.normal(at as u64));
            let row = (at / d.max(1)) as u64;
            match kind {
                Kind::Normal => draw,
                Kind::Ties => (stream.below(c, 5) as f32) - 2.0,
                Kind::Zeros => [0.0, -0.0][(stream.u64(c) & 1) as usize],
                Kind::Skewed => draw * 2f32.powi(-(stream.sub(9).below(row, 6) as i32)),
                Kind::Tiny => draw * 1e-22,
                Kind::Huge => draw * 1e17,
                Kind::Wild => draw * 10f32.powi(stream.sub(9).below(c, 58) as i32 - 40),
            }
        })
        .collect()
}

/// Rows of distinct rising positions.
fn rows(n_rows: usize, n_columns: usize, most: u64, stream: Stream) -> (Vec<usize>, Vec<u32>) {
    let (mut offsets, mut items) = (vec![0], Vec::new());
    for row in 0..n_rows {
        let draws = stream.sub(row as u64);
        let mut part: Vec<u32> =
            (0..draws.below(0, most + 1)).map(|at| draws.below(at + 1, n_columns.max(1) as u64) as u32).collect();
        part.sort_unstable();
        part.dedup();
        if n_columns > 0 {
            items.extend(part);
        }
        offsets.push(items.len());
    }
    (offsets, items)
}

impl Case {
    pub fn new(kind: Kind, n_users: usize, n_items: usize, d: usize, hybrid: bool, seed: u64) -> Self {
        let stream = Stream::new(seed, kind as u64);
        let sparse = |n: usize, most: u64, part: u64| {
            let (offsets, columns) = rows(n, n_items, most, stream.sub(part));
            let kind = if kind == Kind::Ties { Kind::Ties } else { Kind::Normal };
            let values = numbers(kind, columns.len(), 1, stream.sub(part + 1));
            Csr::new(offsets, columns, values, n_items).unwrap()
        };
        let (offsets, columns) = rows(n_users, n_items, 30, stream.sub(20));
        Self {
            n_users,
            n_items,
            d,
            users: numbers(kind, n_users, d, stream.sub(1)),
            items: numbers(kind, n_items, d, stream.sub(2)),
            neighbors: hybrid.then(|| sparse(n_items, 20, 30)),
            history: hybrid.then(|| sparse(n_users, 12, 40)),
            seen: Some(Sets::new(offsets, columns, n_items).unwrap()),
            head: Head::Inner,
            link: Link::Identity,
            shift: None,
        }
    }

    pub fn with_attention(mut self) -> Self {
        self.head =
            Head::FactorAttention { sharpness: numbers(Kind::Normal, self.d, 1, Stream::new(5, 5)), bias: Vec::new() };
        self
    }

    /// Layers over all but `product` of the factors.
    pub fn with_layers(mut self, product: usize, rest: &[usize]) -> Self {
        let widths = [&[self.d - product], rest].concat();
        let n = Shape::new(&widths).len();
        let layers = Layers::new(product, widths, numbers(Kind::Normal, n, 1, Stream::new(5, 9)));
        self.head = Head::Layers(layers.unwrap());
        self
    }

    pub fn with_target(mut self, exponent: f32, biased: bool) -> Self {
        let table = |n: usize, part: u64| numbers(Kind::Normal, n, 1, Stream::new(8, part));
        let d_keys = self.d / 2;
        self.head = Head::TargetAttention(TargetAttention {
            keys: table(self.n_items * d_keys, 1),
            queries: table(self.n_items * d_keys, 2),
            d_keys,
            logits: table(self.n_items, 3).iter().map(|l| l * 3.0).collect(),
            exponent,
            bias: if biased { table(self.n_items, 4) } else { Vec::new() },
        });
        self.neighbors = None;
        let (offsets, columns) = rows(self.n_users, self.n_items, 12, Stream::new(8, 5));
        let additions = table(columns.len(), 6).iter().map(|h| h * 2.0 - 1.0).collect();
        self.history = Some(Csr::new(offsets, columns, additions, self.n_items).unwrap());
        self
    }

    pub fn with_bias(mut self, kind: Kind) -> Self {
        if let Head::FactorAttention { bias, .. } = &mut self.head {
            *bias = numbers(kind, self.n_items, 1, Stream::new(5, 6));
        }
        self
    }

    pub fn with_link(mut self, kind: Kind) -> Self {
        self.link = Link::Sigmoid;
        self.shift = Some(numbers(kind, self.n_users, 1, Stream::new(5, 7)));
        self
    }

    pub fn ranker(&self) -> Ranker {
        let mut ranker =
            Ranker::new(self.items.clone(), self.n_items, self.d, self.neighbors.clone(), self.head.clone())
                .unwrap()
                .with_link(self.link);
        let users = self.new_users(&ranker);
        ranker.set_users(users);
        ranker
    }

    pub fn new_users(&self, ranker: &Ranker) -> Users {
        let users =
            ranker.new_users(self.users.clone(), self.n_users, self.history.clone(), self.seen.clone()).unwrap();
        match &self.shift {
            Some(shift) => users.with_shift(shift.clone()).unwrap(),
            None => users,
        }
    }

    pub fn score(&self, user: usize, item: usize) -> f32 {
        let p = &self.users[user * self.d..(user + 1) * self.d];
        let q = &self.items[item * self.d..(item + 1) * self.d];
        let dense = match &self.head {
            Head::Inner => p.iter().zip(q).fold(0f32, |sum, (p, q)| p.mul_add(*q, sum)),
            Head::FactorAttention { bias, .. } if self.d == 0 => bias.get(item).map_or(0.0, |bias| 0.0 + bias),
            Head::FactorAttention { sharpness, bias } => {
                let products: Vec<f32> = p.iter().zip(q).map(|(p, q)| p * q).collect();
                let logits: Vec<f32> = sharpness.iter().zip(&products).map(|(s, x)| s * x).collect();
                let highest = logits.iter().fold(f32::NEG_INFINITY, |m, &l| if l > m { l } else { m });
                let (mut upper, mut lower) = (0f32, 0f32);
                for (x, l) in products.iter().zip(&logits) {
                    let e = crate::runtime::simd::exp(Level::Scalar, l - highest);
                    lower += e;
                    upper = e.mul_add(*x, upper);
                }
                bias.get(item).map_or(upper / lower, |bias| upper / lower + bias)
            }
            Head::Layers(layers) => {
                let (g, shape, numbers) = (layers.product(), Shape::new(layers.widths()), layers.numbers());
                // As `f32::max` gives it where one of the two is no number: 0.
                let rectified = |x: f32| if x > 0.0 { x } else { 0.0 };
                let mut h: Vec<f32> = p[g..].iter().zip(&q[g..]).map(|(p, q)| rectified(p + q)).collect();
                for &(inputs, outputs, from, bias) in &shape.inner {
                    let sum = |out: usize| {
                        (0..inputs)
                            .fold(numbers[bias + out], |sum, k| h[k].mul_add(numbers[from + k * outputs + out], sum))
                    };
                    h = (0..outputs).map(|out| rectified(sum(out))).collect();
                }
                let sum = p[..g].iter().zip(q).fold(numbers[shape.bias], |sum, (p, q)| p.mul_add(*q, sum));
                h.iter().zip(&numbers[shape.output..]).fold(sum, |sum, (h, o)| h.mul_add(*o, sum))
            }
            Head::TargetAttention(target) => {
                let dense = p.iter().zip(q).fold(0f32, |sum, (p, q)| p.mul_add(*q, sum));
                let score = self.by_target(target, user, item, dense);
                target.bias.get(item).map_or(score, |bias| score + bias)
            }
        };
        let mut sparse = 0f32;
        if let (Some(neighbors), Some(history)) = (&self.neighbors, &self.history) {
            for (&source, &weight) in history.row(user).iter().zip(history.row_values(user)) {
                if let Ok(at) = neighbors.row(source as usize).binary_search(&(item as u32)) {
                    sparse = weight.mul_add(neighbors.row_values(source as usize)[at], sparse);
                }
            }
        }
        score_of(key(dense + sparse, 0))
    }

    fn by_target(&self, target: &TargetAttention, user: usize, item: usize, dense: f32) -> f32 {
        let exp = |x: f32| crate::runtime::simd::exp(Level::Scalar, x);
        let history = self.history.as_ref().unwrap();
        let (items, logits) = (history.row(user), history.row_values(user));
        if items.is_empty() {
            return dense;
        }
        let highest = logits.iter().fold(f32::NEG_INFINITY, |m, &h| if h > m { h } else { m });
        let row = |table: &Vec<f32>, d: usize, at: usize| table[at * d..(at + 1) * d].to_vec();
        let chain = |a: Vec<f32>, b: Vec<f32>, start: f32| a.iter().zip(&b).fold(start, |s, (a, b)| a.mul_add(*b, s));
        let (mut upper, mut lower) = (0f32, 0f32);
        for (&source, &h) in items.iter().zip(logits) {
            let (source, n) = (source as usize, target.d_keys);
            let logit = chain(row(&target.keys, n, source), row(&target.queries, n, item), target.logits[source]);
            let e = exp(logit.clamp(-60.0, 60.0));
            let product = e * chain(row(&self.items, self.d, source), row(&self.items, self.d, item), 0.0);
            let weight = exp(h - highest);
            lower = weight.mul_add(e, lower);
            upper = weight.mul_add(product, upper);
        }
        let power = match target.exponent {
            1.0 => lower,
            0.5 => lower.sqrt(),
            other => exp(other * crate::runtime::simd::ln(Level::Scalar, lower)),
        };
        exp((1.0 - target.exponent) * highest).mul_add(upper / power, dense)
    }

    /// The score that comes out for one inside.
    pub fn output(&self, user: usize, score: f32) -> f32 {
        let shifted = self.shift.as_ref().map_or(score, |shift| score_of(key(score + shift[user], 0)));
        match self.link {
            Link::Identity => shifted,
            Link::Sigmoid => {
                let e = crate::runtime::simd::exp(Level::Scalar, -shifted.abs());
                if shifted < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
            }
        }
    }

    /// The specification: every eligible item scored, all sorted.
    pub fn naive(&self, users: &[usize], n: usize, filter_seen: bool, filters: &Filters) -> Vec<Vec<(u32, u32)>> {
        let list = |(row, &user): (usize, &usize)| {
            let mut all: Vec<u64> = (0..self.n_items)
                .filter(|&i| filters.allow.as_ref().is_none_or(|allow| allow[i]))
                .filter(|&i| !filters.deny.contains(&(i as u32)))
                .filter(|&i| filters.allow_each.as_ref().is_none_or(|each| each.row(row).contains(&(i as u32))))
                .filter(|&i| !filter_seen || !self.seen.as_ref().is_some_and(|s| s.row(user).contains(&(i as u32))))
                .map(|i| key(self.score(user, i), i as u32))
                .collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.truncate(n);
            all.into_iter().map(|k| (position_of(k), self.output(user, score_of(k)).to_bits())).collect()
        };
        users.iter().enumerate().map(list).collect()
    }

    pub fn filters(&self, which: u64, n_rows: usize) -> Filters {
        let stream = Stream::new(which, 77);
        let mut filters = Filters::default();
        if which & 1 == 1 {
            filters.allow = Some((0..self.n_items).map(|i| stream.below(i as u64, 3) == 0).collect());
        }
        if which & 2 == 2 && self.n_items > 0 {
            filters.deny = (0..5).map(|i| stream.below(i + 1000, self.n_items as u64) as u32).collect();
        }
        if which & 4 == 4 {
            let (offsets, items) = rows(n_rows, self.n_items, 60, stream.sub(3));
            filters.allow_each = Some(Sets::new(offsets, items, self.n_items).unwrap());
        }
        filters
    }
}

pub fn plain_rows(lists: &Lists) -> Vec<Vec<(u32, u32)>> {
    (0..lists.counts.len())
        .map(|row| {
            (0..lists.counts[row] as usize)
                .map(|at| lists.width * row + at)
                .map(|at| (lists.items[at] as u32, lists.scores[at].to_bits()))
                .collect()
        })
        .collect()
}

/// As `assert_eq!`, naming the first row that differs.
pub fn assert_lists(lists: &Lists, wanted: &[Vec<(u32, u32)>], what: &str) {
    let found = plain_rows(lists);
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (row, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found, wanted, "{what}, row {row}");
    }
}

pub fn contexts() -> Vec<Context> {
    let mut contexts: Vec<Context> =
        Level::available().into_iter().map(|level| Context::new(Some(1)).unwrap().with_level(level)).collect();
    contexts.extend([2, 3].map(|n| Context::new(Some(n)).unwrap()));
    contexts
}

/// The part of the cases that runs: all, or a few where each takes a hundred times as long (see `make valgrind`).
pub fn one_in() -> usize {
    if std::env::var_os("ANCF_FEWER_CASES").is_some() { 9 } else { 1 }
}

pub fn cases() -> Vec<Case> {
    let shapes = [(1, 1, 1), (3, 40, 0), (7, 13, 3), (33, 97, 4), (40, 700, 17), (5, 300, 64), (2, 1500, 32)];
    let mut cases = Vec::new();
    for kind in KINDS {
        for (at, (users, items, d)) in shapes.into_iter().enumerate() {
            cases.push(Case::new(kind, users, items, d, false, at as u64));
            cases.push(Case::new(kind, users, items, d, true, at as u64));
        }
        cases.push(Case::new(kind, 20, 130, 9, false, 3).with_attention());
        cases.push(Case::new(kind, 20, 130, 16, true, 4).with_attention());
        cases.push(Case::new(kind, 3, 20, 0, true, 4).with_attention());
        cases.push(Case::new(kind, 40, 130, 9, false, 5).with_attention().with_bias(kind).with_link(kind));
        cases.push(Case::new(kind, 20, 130, 16, true, 6).with_attention().with_bias(Kind::Normal));
        cases.push(Case::new(kind, 3, 20, 0, true, 4).with_attention().with_bias(Kind::Normal).with_link(kind));
        cases.push(Case::new(kind, 20, 700, 17, true, 7).with_link(kind));
        cases.push(Case::new(kind, 40, 130, 9, false, 8).with_target(0.5, false));
        cases.push(Case::new(kind, 70, 200, 8, false, 9).with_target(1.0, true).with_link(Kind::Normal));
        cases.push(Case::new(kind, 7, 65, 8, false, 9).with_target(0.3, false));
        cases.push(Case::new(kind, 5, 40, 0, false, 9).with_target(0.3, true));
        cases.push(Case::new(kind, 20, 130, 16, false, 10).with_layers(7, &[5, 3]).with_link(Kind::Normal));
        cases.push(Case::new(kind, 7, 200, 9, true, 11).with_layers(0, &[]));
    }
    cases.into_iter().step_by(one_in()).collect()
}
