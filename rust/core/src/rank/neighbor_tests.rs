//! Lists of histories that add to many items, of which the highest sums are offered and a scan finds the others, against the
//! naive ones. Scores owe as much to vectors as to sums, so that neighbors of low sums are in most lists.

use super::test_cases::{Case, Kind, assert_lists, contexts};
use super::*;
use crate::data::Csr;
use crate::runtime::rng::Stream;

const N_ITEMS: usize = 3000;

/// Rows of `n` positions in order with numbers of spread `spread`.
fn rows(n_rows: usize, n: u64, spread: f32, draws: Stream) -> Csr {
    let (mut offsets, mut columns) = (vec![0], Vec::new());
    for row in 0..n_rows as u64 {
        let mut own: Vec<u32> = (0..n).map(|at| draws.sub(row).below(at, N_ITEMS as u64) as u32).collect();
        own.sort_unstable();
        own.dedup();
        columns.extend(own);
        offsets.push(columns.len());
    }
    let values = (0..columns.len()).map(|at| draws.normal(at as u64).abs() * spread).collect();
    Csr::new(offsets, columns, values, N_ITEMS).unwrap()
}

fn case(spread: f32) -> Case {
    let mut case = Case::new(Kind::Normal, 30, N_ITEMS, 40, false, 21);
    case.neighbors = Some(rows(N_ITEMS, 90, spread, Stream::new(41, 1)));
    case.history = Some(rows(30, 15, 1.0, Stream::new(41, 2)));
    case
}

#[test]
fn neighbors_of_low_sums_are_found_by_their_vectors() {
    for spread in [0.3, 1.0, 3.0] {
        let case = case(spread);
        let (ranker, everyone) = (case.ranker(), (0..30).collect::<Vec<_>>());
        for n in [1, 3, 10, 50] {
            let wanted = case.naive(&everyone, n, true, &Filters::default());
            for context in contexts() {
                let what = format!("{spread}, n {n}, {}", context.level.name());
                for plan in [Plan::Plain, Plan::Pruned] {
                    let lists = ranker.top_n(None, n, true, &Filters::default(), plan, &context).unwrap();
                    assert_lists(&lists, &wanted, &format!("{what} {plan:?}"));
                }
                for (user, wanted) in wanted.iter().enumerate().take(12) {
                    let keys = ranker.top_n_one(user, n, true, context.level, |keys, _| keys.to_vec()).unwrap();
                    let one: Vec<_> = keys.iter().map(|&key| (position_of(key), score_of(key).to_bits())).collect();
                    assert_eq!(&one, wanted, "{what}, user {user} alone");
                }
            }
        }
    }
}
