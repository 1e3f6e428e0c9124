use super::*;
use crate::runtime::rng::Stream;

const D: usize = 5;

fn inner_product(parts: &Parts<'_>, user: usize, item: usize) -> f32 {
    let d = parts.factors;
    let pairs = parts.users[user * d..][..d].iter().zip(&parts.items[item * d..][..d]);
    pairs.fold(0.0, |sum, (p, q)| p.mul_add(*q, sum))
}

/// Every score by itself, a full sort, and what stands where in it.
fn naive(parts: &Parts<'_>, mixture: Mixture<'_>, wanted: &Sets, n: usize) -> Vec<f64> {
    let (n_users, n_items) = (parts.seen.n_rows(), mixture.vectors.len());
    let ndcg = |user: usize| {
        let score = |item: usize| {
            let mut sparse = 0f32;
            if let Some((history, rows)) = parts.neighbors {
                for (&source, &weight) in history.row(user).iter().zip(history.row_values(user)) {
                    let row = rows.row(source as usize);
                    if let Ok(at) = row.binary_search(&(item as u32)) {
                        sparse = weight.mul_add(rows.row_values(source as usize)[at], sparse);
                    }
                }
            }
            mixture.neighbors[item].mul_add(sparse, mixture.vectors[item] * inner_product(parts, user, item))
        };
        let left = (0..n_items).filter(|&item| parts.seen.row(user).binary_search(&(item as u32)).is_err());
        let mut keys: Vec<u64> = left.map(|item| key(score(item), item as u32)).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
        let is_hit = |&(_, key): &(usize, &u64)| wanted.row(user).binary_search(&position_of(*key)).is_ok();
        let hits = keys.iter().enumerate().take(n).filter(is_hit);
        let best: f64 = (0..n.min(wanted.row(user).len())).map(discount).sum();
        if best > 0.0 { hits.fold(0.0, |sum, (rank, _)| sum + discount(rank)) / best } else { 0.0 }
    };
    (0..n_users).map(ndcg).collect()
}

/// About every `every`-th column of each row.
fn some_of(n_rows: usize, n_columns: usize, every: u64, draws: Stream) -> Csr {
    let (mut offsets, mut columns) = (vec![0], Vec::new());
    for row in 0..n_rows {
        let at = |column: usize| (row * n_columns + column) as u64;
        columns.extend((0..n_columns).filter(|&column| draws.below(at(column), every) == 0).map(|each| each as u32));
        offsets.push(columns.len());
    }
    let values = (0..columns.len()).map(|at| draws.sub(1).f32(at as u64)).collect();
    Csr::new(offsets, columns, values, n_columns).unwrap()
}

/// Two sets for each row that have nothing in common.
fn apart(all: &Csr) -> (Sets, Sets) {
    let part = |which: usize| {
        let rows = (0..all.n_rows()).map(|row| all.row(row).iter().copied().skip(which).step_by(2).collect());
        let rows: Vec<Vec<u32>> = rows.collect();
        let offsets = std::iter::once(0).chain(rows.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        }));
        Sets::new(offsets.collect(), rows.concat(), all.n_columns()).unwrap()
    };
    (part(0), part(1))
}

#[test]
fn ranks_are_those_of_every_score_by_itself() {
    let draws = Stream::new(2, 0);
    for (n_users, n_items, n) in [(1, 1, 3), (50, 1500, 200), (97, 723, 20), (3, 30, 40)] {
        let numbers = |at: u64, n: usize| (0..n as u64).map(|i| draws.sub(at).normal(i)).collect::<Vec<f32>>();
        // Equal scores, too.
        let mut items = numbers(1, n_items * D);
        let half = n_items / 2 * D;
        items.copy_within(..half, n_items * D - half);
        let users = numbers(0, n_users * D);
        let history = some_of(n_users, n_items, 9, draws.sub(2));
        let rows = some_of(n_items, n_items, 20, draws.sub(3));
        let (seen, wanted) = apart(&some_of(n_users, n_items, 7, draws.sub(6)));
        let positive = |at: u64| (0..n_items as u64).map(|i| draws.sub(at).f32(i) + 0.1).collect::<Vec<f32>>();
        let (ones, zeros, a, b) = (vec![1.0; n_items], vec![0.0; n_items], positive(4), positive(5));
        let mixtures = [(&ones, &zeros), (&ones, &ones), (&a, &b), (&a, &zeros)]
            .map(|(vectors, neighbors)| Mixture { vectors, neighbors });
        let none = Parts { users: &[], items: &[], factors: 0, neighbors: None, seen: &seen };
        for parts in [
            Parts { users: &users, items: &items, factors: D, ..none },
            Parts { users: &users, items: &items, factors: D, neighbors: Some((&history, &rows)), ..none },
            Parts { neighbors: Some((&history, &rows)), ..none },
        ] {
            let truth: Vec<Vec<f64>> = mixtures.iter().map(|&each| naive(&parts, each, &wanted, n)).collect();
            assert!(n_users < 50 || truth.iter().flatten().any(|&found| found > 0.0));
            for threads in [1, 3] {
                for level in Level::available() {
                    let context = Context::new(Some(threads)).unwrap().with_level(level);
                    let found = parts.ndcg(&mixtures, &wanted, n, &context).unwrap();
                    assert_eq!(found, truth, "{n_users} {level:?}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let none = Sets::new(vec![0, 0], vec![], 3).unwrap();
    let parts = Parts { users: &[1.0; 2], items: &[1.0; 6], factors: 2, neighbors: None, seen: &none };
    let context = Context::new(Some(1)).unwrap();
    let (three, two) = ([1.0; 3], [1.0; 2]);
    let both = Mixture { vectors: &three, neighbors: &three };
    assert_eq!(parts.ndcg(&[both], &none, 2, &context).unwrap(), [[0.0]]);
    assert!(parts.ndcg(&[Mixture { neighbors: &two, ..both }], &none, 2, &context).is_err());
    assert!(Parts { users: &[1.0; 4], ..parts }.ndcg(&[both], &none, 2, &context).is_err());
    let nobody = Sets::new(vec![0], vec![], 3).unwrap();
    assert!(parts.ndcg(&[both], &nobody, 2, &context).is_err());
}
