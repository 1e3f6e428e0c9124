//! SLIM: sparse item-item weights by an elastic net, one regression for each target (Ning and Karypis, ICDM 2011).
//!
//! ```text
//! w_i = argmin ½ ‖a_i − A w‖² + ½ l2 ‖w‖² + l1 ‖w‖₁      with w_ii = 0, and w ≥ 0 unless signed weights are wanted
//! ```
//!
//! A is users × items, a_i its column of the target. Coordinate descent (Friedman, Hastie and Tibshirani 2010) on the
//! residual r = a_i − A w, which is sparse: a step for source j looks at the users of j alone.
//!
//! ```text
//! ρ = Σ_{u ∈ j} a_uj r_u + ‖a_j‖² w_j        w_j ← S(ρ, l1) / (‖a_j‖² + l2)        S: soft threshold
//! ```
//!
//! At w = 0 the ρ of all sources are their co-purchases with the target. With w ≥ 0 and A ≥ 0 they only fall from there,
//! so sources of at most l1 can be left out for good. Where weights may be negative, other sources can gain ρ; when the
//! sources in play have settled, all ρ are looked at once more, and whoever is beyond l1 joins.
//!
//! Sources go by falling co-purchases, then by position, and each target by itself in a fixed order: same bits for every
//! number of threads. Sums run in f64, so that the stopping rule does not see rounding.

use rayon::prelude::*;

use crate::data::Csr;
use crate::runtime::Context;
use crate::{Error, Result};

/// An elastic net for each item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slim {
    /// Weight of Σ |w|, in co-purchases: what a source must exceed to count at all.
    pub l1: f64,
    /// Weight of ½ Σ w².
    pub l2: f64,
    /// Whether weights must be at least 0.
    pub positive: bool,
    /// Sweeps after which a target is left as it is.
    pub max_iterations: usize,
    /// A target is done when no weight of a sweep moves by more.
    pub tolerance: f64,
}

/// Sweeps over the sources with weights, between two over all.
const ACTIVE_SWEEPS: usize = 8;

impl Slim {
    /// The weights, one row for each source item (`n_items` × `n_items`), from who has what.
    pub fn fit(&self, interactions: &Csr, context: &Context) -> Result<Csr> {
        self.check()?;
        let by_item = interactions.transpose();
        let n_items = by_item.n_rows();
        let squares: Vec<f64> = (0..n_items)
            .map(|item| by_item.row_values(item).iter().map(|&w| f64::from(w) * f64::from(w)).sum())
            .collect();
        if self.positive && interactions.values().iter().any(|&w| w < 0.0) {
            return Err(Error::InvalidData("weights of at least 0 need interactions of at least 0.".into()));
        }
        let problem = Problem { options: self, by_user: interactions, by_item: &by_item, squares: &squares };
        let columns = context.install(|| {
            (0..n_items)
                .into_par_iter()
                .map_init(
                    || Scratch::new(interactions.n_rows(), n_items),
                    |scratch, target| {
                        context.cancel.check()?;
                        Ok(problem.solve(target, scratch))
                    },
                )
                .collect::<Result<Vec<_>>>()
        })?;
        let mut offsets = vec![0];
        offsets.extend(columns.iter().scan(0, |end, column| {
            *end += column.len();
            Some(*end)
        }));
        let sources = columns.iter().flatten().map(|entry| entry.0).collect();
        let values = columns.iter().flatten().map(|entry| entry.1).collect();
        Ok(Csr::new(offsets, sources, values, n_items)?.transpose())
    }

    fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::InvalidParameter(message));
        for (name, value) in [("l1", self.l1), ("l2", self.l2), ("tolerance", self.tolerance)] {
            if !(value.is_finite() && value >= 0.0) {
                return bad(format!("{name} is {value}; it must be a finite number of at least 0."));
            }
        }
        if self.max_iterations == 0 {
            return bad("max_iterations is 0; it must be at least 1.".into());
        }
        Ok(())
    }
}

struct Problem<'a> {
    options: &'a Slim,
    by_user: &'a Csr,
    by_item: &'a Csr,
    squares: &'a [f64],
}

/// One thread's memory; residual, sums and weights are zero between targets.
struct Scratch {
    residual: Vec<f64>,
    sums: Vec<f64>,
    weights: Vec<f64>,
    in_play: Vec<bool>,
    touched: Vec<u32>,
    sources: Vec<u32>,
    active: Vec<u32>,
}

impl Scratch {
    fn new(n_users: usize, n_items: usize) -> Self {
        Self {
            residual: vec![0.0; n_users],
            sums: vec![0.0; n_items],
            weights: vec![0.0; n_items],
            in_play: vec![false; n_items],
            touched: Vec::new(),
            sources: Vec::new(),
            active: Vec::new(),
        }
    }
}

impl Problem<'_> {
    /// The weights that are not zero, by rising source.
    fn solve(&self, target: usize, scratch: &mut Scratch) -> Vec<(u32, f32)> {
        let Slim { l1, positive, max_iterations, tolerance, .. } = *self.options;
        for (&user, &weight) in self.by_item.row(target).iter().zip(self.by_item.row_values(target)) {
            scratch.residual[user as usize] = f64::from(weight);
        }
        scratch.sources.clear();
        let users = self.by_item.row(target).to_vec();
        self.join(target, &users, l1, scratch);
        let mut sweeps = 0;
        while sweeps < max_iterations {
            // 1. All sources in play once, then those with weights until they rest.
            let sources = std::mem::take(&mut scratch.sources);
            let moved = self.sweep(&sources, scratch);
            sweeps += 1;
            scratch.active.clear();
            scratch.active.extend(sources.iter().filter(|&&source| scratch.weights[source as usize] != 0.0));
            scratch.sources = sources;
            let active = std::mem::take(&mut scratch.active);
            for _ in 0..ACTIVE_SWEEPS {
                if sweeps >= max_iterations || self.sweep(&active, scratch) <= tolerance {
                    break;
                }
                sweeps += 1;
            }
            scratch.active = active;
            if moved > tolerance {
                continue;
            }
            // 2. Whether others want to join, which only signed weights make possible.
            if positive || !self.join_anew(target, l1, scratch) {
                break;
            }
        }
        let mut found: Vec<(u32, f32)> = Vec::new();
        for &source in &scratch.sources {
            let weight = std::mem::take(&mut scratch.weights[source as usize]) as f32;
            scratch.in_play[source as usize] = false;
            if weight != 0.0 {
                found.push((source, weight));
                for &user in self.by_item.row(source as usize) {
                    scratch.residual[user as usize] = 0.0;
                }
            }
        }
        // A source whose weight went back to zero may have left rounding behind.
        for &source in &scratch.sources {
            for &user in self.by_item.row(source as usize) {
                scratch.residual[user as usize] = 0.0;
            }
        }
        for &user in self.by_item.row(target) {
            scratch.residual[user as usize] = 0.0;
        }
        found.sort_unstable_by_key(|entry| entry.0);
        found
    }

    /// One step for each source; the largest move.
    fn sweep(&self, sources: &[u32], scratch: &mut Scratch) -> f64 {
        let Slim { l1, l2, positive, .. } = *self.options;
        let mut largest = 0.0f64;
        for &source in sources {
            let source = source as usize;
            let (users, values) = (self.by_item.row(source), self.by_item.row_values(source));
            let old = scratch.weights[source];
            let mut rho = self.squares[source] * old;
            for (&user, &value) in users.iter().zip(values) {
                rho += f64::from(value) * scratch.residual[user as usize];
            }
            let size = if positive { rho - l1 } else { rho.abs() - l1 };
            let new = if size > 0.0 { size.copysign(rho) / (self.squares[source] + l2) } else { 0.0 };
            let move_ = new - old;
            if move_ != 0.0 {
                for (&user, &value) in users.iter().zip(values) {
                    scratch.residual[user as usize] -= f64::from(value) * move_;
                }
                scratch.weights[source] = new;
                largest = largest.max(move_.abs());
            }
        }
        largest
    }

    /// Puts the sources into play whose ρ, summed over the residuals of `users`, is beyond l1; whether there were any.
    fn join(&self, target: usize, users: &[u32], l1: f64, scratch: &mut Scratch) -> bool {
        let Scratch { residual, sums, in_play, touched, sources, .. } = scratch;
        touched.clear();
        for &user in users {
            let left = residual[user as usize];
            for (&item, &weight) in self.by_user.row(user as usize).iter().zip(self.by_user.row_values(user as usize)) {
                let sum = &mut sums[item as usize];
                if *sum == 0.0 {
                    touched.push(item);
                }
                *sum += left * f64::from(weight);
            }
        }
        let mut new: Vec<(f64, u32)> = Vec::new();
        for &item in &*touched {
            // Twice in the list is who came back to 0 on the way; the second time it is 0.
            let rho = std::mem::take(&mut sums[item as usize]);
            let size = if self.options.positive { rho } else { rho.abs() };
            if size > l1 && item as usize != target && !in_play[item as usize] {
                in_play[item as usize] = true;
                new.push((size, item));
            }
        }
        new.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        sources.extend(new.iter().map(|entry| entry.1));
        !new.is_empty()
    }

    fn join_anew(&self, target: usize, l1: f64, scratch: &mut Scratch) -> bool {
        let mut users = self.by_item.row(target).to_vec();
        for &source in &scratch.sources {
            if scratch.weights[source as usize] != 0.0 {
                users.extend_from_slice(self.by_item.row(source as usize));
            }
        }
        users.sort_unstable();
        users.dedup();
        self.join(target, &users, l1, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn table(n_users: usize, n_items: usize, ones: bool) -> Csr {
        let draws = Stream::new(11, 2);
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for user in 0..n_users {
            for item in 0..n_items {
                let draw = draws.f32((user * n_items + item) as u64);
                if draw < if item % 4 == user % 4 { 0.5 } else { 0.08 } {
                    columns.push(item as u32);
                    values.push(if ones { 1.0 } else { 0.5 + draw });
                }
            }
            offsets.push(columns.len());
        }
        Csr::new(offsets, columns, values, n_items).unwrap()
    }

    /// The specification: all sources, dense, many sweeps of the co-purchase table in f64.
    fn naive(data: &Csr, o: &Slim) -> Vec<Vec<f64>> {
        let n = data.n_columns();
        let mut g = vec![vec![0.0; n]; n];
        for user in 0..data.n_rows() {
            for (&i, &a) in data.row(user).iter().zip(data.row_values(user)) {
                for (&j, &b) in data.row(user).iter().zip(data.row_values(user)) {
                    g[i as usize][j as usize] += f64::from(a) * f64::from(b);
                }
            }
        }
        let mut weights = vec![vec![0.0; n]; n];
        for target in 0..n {
            let mut w = vec![0.0; n];
            for _ in 0..3000 {
                for j in (0..n).filter(|&j| j != target) {
                    let rho = g[j][target] - (0..n).map(|k| g[j][k] * w[k]).sum::<f64>() + g[j][j] * w[j];
                    let size = if o.positive { rho - o.l1 } else { rho.abs() - o.l1 };
                    w[j] = if size > 0.0 { size.copysign(rho) / (g[j][j] + o.l2) } else { 0.0 };
                }
            }
            for source in 0..n {
                weights[source][target] = w[source];
            }
        }
        weights
    }

    #[test]
    fn the_weights_are_the_minimum_of_the_elastic_net() {
        for (ones, positive, l1) in [(true, true, 1.5), (true, false, 1.5), (false, false, 0.4), (true, false, 0.0)] {
            let data = table(90, 24, ones);
            let options = Slim { l1, l2: 3.0, positive, max_iterations: 2000, tolerance: 1e-9 };
            let truth = naive(&data, &options);
            let found = options.fit(&data, &Context::new(Some(2)).unwrap()).unwrap();
            let (mut negative, mut n) = (0, 0);
            for source in 0..24 {
                let mut dense = [0.0; 24];
                for (&target, &weight) in found.row(source).iter().zip(found.row_values(source)) {
                    dense[target as usize] = f64::from(weight);
                    negative += usize::from(weight < 0.0);
                    n += 1;
                }
                for target in 0..24 {
                    let (found, exact) = (dense[target], truth[source][target]);
                    assert!((found - exact).abs() < 1e-6, "{source} {target} {options:?}: {found} and {exact}");
                }
            }
            assert!(n > 24 && (negative > 0) != positive, "{n} {negative}");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let data = table(200, 70, true);
        for positive in [true, false] {
            let options = Slim { l1: 1.0, l2: 5.0, positive, max_iterations: 30, tolerance: 1e-4 };
            let truth = options.fit(&data, &Context::new(Some(1)).unwrap()).unwrap();
            for threads in [2, 3, 8] {
                assert_eq!(options.fit(&data, &Context::new(Some(threads)).unwrap()).unwrap(), truth);
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_nothing_comes_of_nothing() {
        let good = Slim { l1: 1.0, l2: 1.0, positive: true, max_iterations: 9, tolerance: 1e-3 };
        let context = Context::new(Some(1)).unwrap();
        assert_eq!(good.fit(&Csr::empty(3, 4), &context).unwrap(), Csr::empty(4, 4));
        assert!(Slim { l1: -1.0, ..good }.fit(&Csr::empty(3, 4), &context).is_err());
        assert!(Slim { l2: f64::NAN, ..good }.fit(&Csr::empty(3, 4), &context).is_err());
        assert!(Slim { max_iterations: 0, ..good }.fit(&Csr::empty(3, 4), &context).is_err());
        let negative = Csr::new(vec![0, 1], vec![0], vec![-1.0], 1).unwrap();
        assert!(good.fit(&negative, &context).is_err());
    }
}
