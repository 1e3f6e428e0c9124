//! Lists of histories that add to many items, of which the highest sums are offered and a scan finds the others, against the
//! naive ones. Scores owe as much to vectors as to sums, so that neighbors of low sums are in most lists.

use super::test_cases::{Case, Kind, assert_lists, contexts, plain_rows};
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

#[test]
fn rankings_of_one_row_hold_all_that_is_above_their_floors() {
    let draws = Stream::new(41, 3);
    for spread in [0.3, 1.0] {
        let case = case(spread);
        let ranker = case.ranker();
        let some = |every: u64| Filters {
            allow: Some((0..N_ITEMS as u64).map(|item| draws.sub(every).below(item, every) == 0).collect()),
            ..Filters::default()
        };
        let all_first = vec![
            (25, Filters::default(), Extent::Full),
            (15, some(10), Extent::Lifted { of: 0, factor: 1.3 }),
            (18, some(2), Extent::Missing { of: 0, within: 5, count: 3 }),
            (7, some(50), Extent::Full),
            (9, some(3), Extent::Lifted { of: 2, factor: 2.0 }),
            (3, some(400), Extent::Full),
        ];
        let some_first = vec![
            (6, some(10), Extent::Full),
            (12, Filters::default(), Extent::Full),
            (3, some(400), Extent::Full),
            (9, some(2), Extent::Lifted { of: 1, factor: 1.2 }),
        ];
        for (users, wanted) in [(0..5, &all_first), (0..30, &all_first), (0..5, &some_first), (0..30, &some_first)] {
            let users: Vec<u32> = users.collect();
            let rows: Vec<usize> = users.iter().map(|&user| user as usize).collect();
            for context in contexts() {
                let rankings = ranker.rank_several(Some(&users), wanted, true, &context).unwrap();
                for (at, (lists, (n, filters, extent))) in rankings.iter().zip(wanted).enumerate() {
                    let naive = case.naive(&rows, *n, true, filters);
                    for (row, (found, naive)) in plain_rows(lists).into_iter().zip(naive).enumerate() {
                        let floor = lists.floors.get(row).copied().unwrap_or(f32::NEG_INFINITY);
                        let above = |list: Vec<(u32, u32)>| {
                            list.into_iter().filter(|&(_, bits)| f32::from_bits(bits) >= floor).collect::<Vec<_>>()
                        };
                        let what = format!("{spread}, {} users, ranking {at}, row {row}", users.len());
                        assert_eq!(above(found), above(naive), "{what}, {}", context.level.name());
                        assert!(*extent != Extent::Full || floor == f32::NEG_INFINITY);
                    }
                }
            }
        }
    }
}
