//! Every path against the naive one: a full sort of all scores, computed one by one with `f32::mul_add`.

use super::key::{key, position_of, score_of};
use super::*;
use crate::data::Csr;
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
fn one_in() -> usize {
    if std::env::var_os("ANCF_FEWER_CASES").is_some() { 9 } else { 1 }
}

fn cases() -> Vec<Case> {
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
    }
    cases.into_iter().step_by(one_in()).collect()
}

#[test]
fn lists_are_those_of_the_naive_sort_on_every_level_and_thread_count() {
    let contexts = contexts();
    for (number, case) in cases().iter().enumerate() {
        let ranker = case.ranker();
        let everyone: Vec<usize> = (0..case.n_users).collect();
        for n in [1, 10, 60] {
            let filters = case.filters(number as u64 % 8, case.n_users);
            let filter_seen = number % 3 != 0;
            let wanted = case.naive(&everyone, n, filter_seen, &filters);
            for context in &contexts {
                for plan in [Plan::Plain, Plan::Pruned, Plan::Auto] {
                    let lists = ranker.top_n(None, n, filter_seen, &filters, plan, context).unwrap();
                    assert_lists(&lists, &wanted, &format!("case {number}, n {n}, {} {plan:?}", context.level.name()));
                }
            }
            let some: Vec<u32> = (0..case.n_users as u32).rev().step_by(2).collect();
            let wanted =
                case.naive(&some.iter().map(|&u| u as usize).collect::<Vec<_>>(), n, true, &Filters::default());
            let lists = ranker.top_n(Some(&some), n, true, &Filters::default(), Plan::Auto, &contexts[0]).unwrap();
            assert_lists(&lists, &wanted, &format!("case {number}, n {n}, some"));
            for (row, &user) in some.iter().enumerate().take(3) {
                for context in &contexts {
                    let one: Vec<_> = ranker
                        .top_n_one(user as usize, n, true, context.level, |keys, output| {
                            keys.iter().map(|&k| (position_of(k), output.score(k).to_bits())).collect()
                        })
                        .unwrap();
                    assert_eq!(one, wanted[row], "case {number}, n {n}, user {user}, {}", context.level.name());
                }
            }
        }
    }
}

#[test]
fn users_outside_the_table_get_the_same_lists_and_scores() {
    let context = Context::new(Some(2)).unwrap();
    for case in cases() {
        let ranker = case.ranker();
        let users = case.new_users(&ranker);
        let filters = case.filters(6, case.n_users);
        assert_eq!(
            ranker.top_n_for(&users, 7, &filters, Plan::Auto, &context).unwrap(),
            ranker.top_n(None, 7, true, &filters, Plan::Auto, &context).unwrap()
        );
        let users: Vec<u32> = (0..200).map(|at| at % case.n_users as u32).collect();
        let items: Vec<u32> = (0..200).map(|at| at * 7 % case.n_items as u32).collect();
        let scores = ranker.scores(&users, &items, &context).unwrap();
        for ((&user, &item), score) in users.iter().zip(&items).zip(scores) {
            let wanted = case.output(user as usize, case.score(user as usize, item as usize));
            assert_eq!(score.to_bits(), wanted.to_bits());
        }
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let context = Context::new(Some(1)).unwrap();
    let new = |vectors: Vec<f32>, n, d| Ranker::new(vectors, n, d, None, Head::Inner);
    assert!(new(vec![1.0, f32::NAN], 2, 1).is_err());
    assert!(new(vec![1.0, f32::INFINITY], 1, 2).is_err());
    assert!(new(vec![1.0], 2, 1).is_err());
    assert!(Ranker::new(vec![1.0], 1, 1, None, Head::FactorAttention { sharpness: vec![], bias: vec![] }).is_err());
    let short = Head::FactorAttention { sharpness: vec![1.0], bias: vec![1.0] };
    assert!(Ranker::new(vec![1.0, 2.0], 2, 1, None, short).is_err());
    assert!(Ranker::new(vec![1.0], 1, 1, Some(Csr::empty(1, 2)), Head::Inner).is_err());
    assert!(Ranker::new(vec![1.0], 1, 1, Some(Csr::empty(0, 1)), Head::Inner).is_err());
    // More sources than items: histories must name them all.
    let more = Ranker::new(vec![1.0], 1, 1, Some(Csr::empty(2, 1)), Head::Inner).unwrap();
    assert!(more.new_users(vec![1.0], 1, Some(Csr::empty(1, 1)), None).is_err());
    assert!(more.new_users(vec![1.0], 1, Some(Csr::empty(1, 2)), None).is_ok());
    let mut ranker = new(vec![1.0, 2.0], 2, 1).unwrap();
    assert!(ranker.new_users(vec![f32::NAN], 1, None, None).is_err());
    assert!(ranker.new_users(vec![1.0], 1, Some(Csr::empty(2, 2)), None).is_err());
    assert!(ranker.new_users(vec![1.0], 1, None, Some(Sets::new(vec![0], vec![], 2).unwrap())).is_err());
    let users = ranker.new_users(vec![1.0], 1, None, None).unwrap();
    assert!(users.clone().with_shift(vec![]).is_err());
    assert!(users.clone().with_shift(vec![f32::NAN]).is_err());
    ranker.set_users(users);
    let none = Filters::default();
    assert!(ranker.top_n(None, 0, true, &none, Plan::Auto, &context).is_err());
    assert!(ranker.top_n(Some(&[1]), 1, true, &none, Plan::Auto, &context).is_err());
    assert!(ranker.top_n_one(1, 1, true, context.level, |keys, _| keys.len()).is_err());
    assert!(ranker.scores(&[0], &[2], &context).is_err());
    assert!(ranker.scores(&[1], &[1], &context).is_err());
    let bad = Filters { deny: vec![2], ..Filters::default() };
    assert!(ranker.top_n(None, 1, true, &bad, Plan::Auto, &context).is_err());
    let bad = Filters { allow: Some(vec![true]), ..Filters::default() };
    assert!(ranker.top_n(None, 1, true, &bad, Plan::Auto, &context).is_err());
    context.cancel.cancel();
    assert_eq!(ranker.top_n(None, 1, true, &none, Plan::Auto, &context), Err(crate::Error::Cancelled));
}

#[test]
fn a_filter_that_leaves_few_items_is_pruned_where_enough_users_ask() {
    let level = Level::detect().unwrap();
    if !crate::runtime::simd::bytes::has_kernel(level) {
        return;
    }
    let case = Case::new(Kind::Normal, 300, 40_000, 2, false, 1);
    let ranker = case.ranker();
    let path = |n_rows: usize, n: usize, left: usize, own_index: bool| {
        let query = super::query::Query { n_rows, ..ranker.everyone() };
        super::plan::choose(ranker.scorer(), Plan::Auto, &query, n, left, own_index, level).path
    };
    assert_eq!(path(300, 10, 2000, true), Path::Pruned);
    assert_eq!(path(50, 10, 2000, true), Path::Plain);
    assert_eq!(path(50, 10, 20_000, false), Path::Pruned);
    assert_eq!(path(300, 10, 500, true), Path::Plain);
    assert_eq!(path(300, 300, 2000, true), Path::Plain);
    // And what comes out is what comes out without the table, for users who have seen many items.
    let filters = Filters { allow: Some((0..40_000).map(|item| item % 20 == 3).collect()), ..Filters::default() };
    let context = Context::new(Some(2)).unwrap();
    let lists = |plan| ranker.top_n(None, 10, true, &filters, plan, &context).unwrap();
    assert_lists(&lists(Plan::Auto), &plain_rows(&lists(Plan::Plain)), "auto");
    assert_lists(&lists(Plan::Auto), &case.naive(&(0..300).collect::<Vec<_>>(), 10, true, &filters), "naive");
}

#[test]
fn filters_leave_the_same_lists_however_many_ask() {
    // One after the other, from bytes or picked from the order; together, over the table of all or one of their own. Of
    // the normal ones all vectors have one length, so that the best stand anywhere in it.
    let kinds = [(Kind::Skewed, true), (Kind::Ties, false), (Kind::Normal, true)];
    for (kind, sparse) in kinds.into_iter().step_by(one_in()) {
        let mut case = Case::new(kind, 100, 5000, 6, sparse, 3);
        if kind == Kind::Normal {
            for vector in case.items.chunks_exact_mut(6) {
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                for x in vector {
                    *x /= length;
                }
            }
        }
        let ranker = case.ranker();
        for every in [1, 2, 40, 500, 5000] {
            let allow = Some((0..5000).map(|item| item % every == every / 2).collect());
            let filters = Filters { allow, deny: vec![0, 7, 2500, 4999], ..Filters::default() };
            for (n_users, n) in [(1, 10), (5, 3), (11, 10), (60, 10), (100, 10), (100, 80)] {
                let rows: Vec<usize> = (0..n_users).map(|user| user * 37 % 100).collect();
                let users: Vec<u32> = rows.iter().map(|&user| user as u32).collect();
                let wanted = case.naive(&rows, n, true, &filters);
                for context in &contexts() {
                    for plan in [Plan::Auto, Plan::Pruned] {
                        let lists = ranker.top_n(Some(&users), n, true, &filters, plan, context).unwrap();
                        let what = format!("{kind:?}, 1 of {every}, {n_users} users, {}", context.level.name());
                        assert_lists(&lists, &wanted, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn one_person_does_not_wait_for_the_pool() {
    // A pool that no other test uses, with work in each of its threads until the lists are there.
    let context = Context::new(Some(7)).unwrap();
    let occupied = std::sync::Arc::new(std::sync::Barrier::new(8));
    for _ in 0..7 {
        let occupied = std::sync::Arc::clone(&occupied);
        context.pool().spawn(move || {
            occupied.wait();
        });
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for case in [
            Case::new(Kind::Normal, 1, 300, 8, true, 1).with_link(Kind::Normal),
            Case::new(Kind::Huge, 1, 300, 8, false, 1),
            Case::new(Kind::Normal, 1, 300, 8, false, 1).with_attention(),
        ] {
            let ranker = case.ranker();
            let lists = ranker.top_n(None, 10, true, &Filters::default(), Plan::Auto, &context).unwrap();
            ranker.scores(&[0, 0], &[3, 4], &context).unwrap();
            sender.send((lists, case.naive(&[0], 10, true, &Filters::default()))).unwrap();
        }
    });
    let found: Vec<_> = (0..3).map(|_| receiver.recv_timeout(std::time::Duration::from_secs(20))).collect();
    occupied.wait();
    for part in found {
        let (lists, wanted) = part.expect("a list for one person waited for the pool");
        assert_lists(&lists, &wanted, "one person");
    }
}

#[test]
fn first_thresholds_count_only_what_a_list_may_hold() {
    // The largest norms are denied, or the user has them already, or a history adds to them.
    for (which, sparse) in [(0, false), (1, false), (2, true)] {
        let mut case = Case::new(Kind::Normal, 20, 1500, 6, sparse, which);
        for (item, vector) in case.items.chunks_exact_mut(6).enumerate() {
            let scale = 1.0 + 30.0 / (1.0 + item as f32 / 40.0);
            for value in vector {
                *value *= scale;
            }
        }
        let most: Vec<u32> = (0..100).collect();
        let mut filters = Filters::default();
        if which == 0 {
            filters.deny = most;
        } else {
            let offsets = (0..=20).map(|user| user * 100).collect();
            case.seen = Some(Sets::new(offsets, most.repeat(20), 1500).unwrap());
        }
        let ranker = case.ranker();
        for n in [1, 10, 60] {
            let wanted = case.naive(&(0..20).collect::<Vec<_>>(), n, true, &filters);
            for context in &contexts() {
                let lists = ranker.top_n(None, n, true, &filters, Plan::Pruned, context).unwrap();
                assert_lists(&lists, &wanted, &format!("{which}, n {n}, {}", context.level.name()));
            }
        }
    }
}
