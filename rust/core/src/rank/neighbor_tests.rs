//! Lists of histories that add to many items, of which the highest sums are offered and a scan finds the others, against the
//! naive ones. Scores owe as much to vectors as to sums, so that neighbors of low sums are in most lists.

use super::key::key;
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

#[test]
fn a_full_list_of_many_places_takes_few_neighbors_of_equal_sums() {
    let (n, n_boosted, draws) = (40, 1400, Stream::new(43, 0));
    let mut case = case(1.0);
    // Of the 150 neighbors of an item 38 have one weight, the others a lower one.
    let columns: Vec<u32> = (0..N_ITEMS as u32 * 150).map(|at| at / 150 % 8 + at % 150 * 9).collect();
    let values = columns.iter().enumerate().map(|(at, _)| if at % 150 % 4 == 0 { 1.0 } else { 0.2 }).collect();
    let offsets = (0..=N_ITEMS).map(|row| row * 150).collect();
    case.neighbors = Some(Csr::new(offsets, columns, values, N_ITEMS).unwrap());
    let one_each = (0..30).map(|user| draws.below(user, N_ITEMS as u64) as u32).collect();
    case.history = Some(Csr::new((0..=30).collect(), one_each, vec![1.0; 30], N_ITEMS).unwrap());
    let factor = |item: usize| if item < n_boosted { 1.3 } else { 1.0 };
    let rules = ListRules::new(N_ITEMS, (0..N_ITEMS).map(factor).collect(), vec![], vec![], vec![], None).unwrap();
    let (ranker, everyone) = (case.ranker(), (0..30).collect::<Vec<_>>());
    let boosted = |&(item, bits): &(u32, u32)| {
        let (score, factor) = (f64::from(f32::from_bits(bits)), factor(item as usize));
        key((if score >= 0.0 { score * factor } else { score / factor }) as f32, item)
    };
    let mut wanted = case.naive(&everyone, N_ITEMS, true, &Filters::default());
    for list in &mut wanted {
        list.sort_unstable_by_key(|entry| std::cmp::Reverse(boosted(entry)));
        list.truncate(n);
    }
    for context in contexts() {
        let by = ByRules { rules: &rules, tables: &RuleTables::default(), faded: None, vectors: None };
        let lists = ranker.top_n_by_rules(None, n, true, &Filters::default(), by, &context).unwrap().unwrap();
        assert_lists(&lists, &wanted, context.level.name());
    }
}
