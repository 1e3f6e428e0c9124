use super::super::calls_by_rules::{ByRules, RuleTables};
use super::super::query::Filters;
use super::super::test_cases::{Case, Kind, assert_lists, contexts, one_in};
use super::*;
use crate::data::Csr;
use crate::runtime::rng::Stream;

const N_ITEMS: usize = 90;

/// A ranking of a row cut off after so many, of the items that `wanted` says.
struct Owned {
    keys: Vec<u64>,
    asked: usize,
    floor: f32,
}

impl Owned {
    fn new(scores: &[(u32, f32)], asked: usize, wanted: impl Fn(u32) -> bool) -> Self {
        let some = scores.iter().filter(|each| wanted(each.0));
        let mut keys: Vec<_> = some.map(|&(item, score)| key(score, item)).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.truncate(asked);
        Self { keys, asked, floor: f32::NEG_INFINITY }
    }

    /// The same without every second item below the floor.
    fn cut_at(mut self, floor: f32) -> Self {
        let mut at = 0;
        self.keys.retain(|&key| {
            at += 1;
            score_of(key) >= floor || (floor < f32::INFINITY && at % 2 == 1)
        });
        Self { floor, ..self }
    }

    fn ranking(&self) -> Ranking<'_> {
        Ranking { keys: &self.keys, asked: self.asked, floor: self.floor }
    }
}

const NO_FADING: (&[u32], &[f32]) = (&[], &[]);

fn candidates<'a>(
    rankings: [Option<Ranking<'a>>; N_KINDS],
    pins: &'a [u64],
    faded: (&'a [u32], &'a [f32]),
) -> Candidates<'a> {
    Candidates { rankings, pins, faded, vectors: None }
}

/// The items and scores of the list that is chosen, and what it lacks.
fn chosen(rules: &ListRules, from: &Candidates<'_>, n: usize, level: Level) -> (Vec<(i32, u32)>, Lacks) {
    let (mut scratch, mut items, mut scores) = (Scratch::default(), vec![0; n], vec![0.0; n]);
    let lacks = rules.choose(from, n, level, &mut scratch);
    let count = scratch.write(&mut items, &mut scores) as usize;
    (items.into_iter().zip(scores).map(|(item, score)| (item, score.to_bits())).take(count).collect(), lacks)
}

fn rules(n_items: usize, draws: Stream) -> ListRules {
    let codes =
        |part: u64| -> Vec<i32> { (0..n_items as u64).map(|i| draws.sub(part).below(i, 5) as i32 - 1).collect() };
    let factors = [0.2, 0.7, 1.0, 1.0, 1.0, 1.0, 1.5, 4.0];
    let kinds = codes(1);
    // Half of the rules boost items of one or two kinds alone, of which a quota may leave no more.
    let n_boosted_kinds = [1, 2, 9, 9][draws.below(7, 4) as usize];
    let factor = |i: u64| {
        let factor = factors[draws.sub(3).below(i, factors.len() as u64) as usize];
        let boosted_kind = n_boosted_kinds == 9 || (0..n_boosted_kinds).contains(&kinds[i as usize]);
        if boosted_kind { factor } else { f64::min(factor, 1.0) }
    };
    let boosts = draws.below(1, 2) == 0;
    let mut at_most = vec![AtMost { codes: kinds.clone(), limit: draws.below(2, 4) as usize }];
    at_most.truncate(draws.below(3, 2) as usize);
    let wanted = (0..n_items as u64).map(|i| draws.sub(4).below(i, 12) == 0).collect();
    let mut at_least = vec![AtLeast { wanted, count: 2 }];
    at_least.truncate(draws.below(4, 2) as usize);
    let pins = if draws.below(5, 3) == 0 { vec![(2, 7), (4, 11)] } else { Vec::new() };
    let diversity = (draws.below(6, 3) == 0).then(|| Diversity { weight: 0.4, codes: Some(codes(2)) });
    let factors = if boosts { (0..n_items as u64).map(factor).collect() } else { Vec::new() };
    ListRules::new(n_items, factors, at_most, at_least, pins, diversity).unwrap()
}

#[test]
fn a_list_that_is_proven_from_a_few_candidates_is_that_of_all() {
    let mut n_proven = [0, 0];
    for seed in 0..one_in().max(1) as u64 * 300 {
        let draws = Stream::new(seed, 77);
        let rules = rules(N_ITEMS, draws);
        let row = |row: u64| -> Vec<(u32, f32)> {
            let draws = draws.sub(100 + row);
            (0..N_ITEMS as u64)
                .filter(|&i| draws.sub(1).below(i, 4) > 0)
                .map(|i| (i as u32, draws.below(i, 30) as f32 / 4.0 - 2.0))
                .collect()
        };
        let boosted = |item: u32| rules.factors.get(item as usize).is_some_and(|&factor| factor > 1.0);
        let wanted = |item: u32| rules.at_least.iter().any(|quota| quota.wanted[item as usize]);
        let (n, level) = (6, Level::Scalar);
        for (at, row) in (0..3).map(row).enumerate() {
            let pins = Owned::new(&row, 3, |item| item == 7 || item == 11);
            let (all, factors) = (Owned::new(&row, N_ITEMS + 1, |_| true), [0.25, 1.0, 0.5]);
            let faded = if seed % 5 == 0 { (&[3, 20, 21][..], &factors[..]) } else { NO_FADING };
            let (list, lacks) =
                chosen(&rules, &candidates([Some(all.ranking()), None, None, None], &pins.keys, faded), n, level);
            assert!(!lacks.any());
            for (asked, beside) in [(6, false), (9, false), (9, true), (14, true), (31, true), (31, false), (80, true)]
            {
                let few = Owned::new(&row, asked, |_| true);
                let both = |item: u32| boosted(item) && wanted(item);
                let mut some = [
                    Owned::new(&row, asked, boosted),
                    Owned::new(&row, asked / 2, wanted),
                    Owned::new(&row, asked / 3, both),
                ];
                if seed % 2 == 1 && asked < 80 {
                    let floor = |part: u64| {
                        let which = draws.sub(200 + asked as u64).below(3 * at as u64 + part, 5);
                        [f32::INFINITY, f32::NEG_INFINITY, -1.0, 1.0, 3.0][which as usize]
                    };
                    let mut part = 0;
                    some = some.map(|ranking| {
                        part += 1;
                        ranking.cut_at(floor(part - 1))
                    });
                }
                let [b, w, wb] = if beside { some.each_ref().map(|each| Some(each.ranking())) } else { [None; 3] };
                let (found, lacks) =
                    chosen(&rules, &candidates([Some(few.ranking()), b, w, wb], &pins.keys, faded), n, level);
                n_proven[usize::from(!lacks.any())] += 1;
                if lacks.any() {
                    assert!(asked < 80);
                } else {
                    assert_eq!(found, list, "seed {seed} {asked} {beside}");
                }
            }
        }
    }
    assert!(n_proven.iter().all(|&n| n > 500), "{n_proven:?}");
}

#[test]
fn nobody_asks_for_boosted_items_that_a_quota_forbids() {
    // Item 0 is boosted and of the kind of all boosted ones; one item of a kind may be listed.
    let factors = (0..N_ITEMS).map(|item| if item % 9 == 0 { 4.0 } else { 1.0 });
    let codes = (0..N_ITEMS as i32).map(|item| item % 9).collect();
    let rules =
        ListRules::new(N_ITEMS, factors.collect(), vec![AtMost { codes, limit: 1 }], vec![], vec![], None).unwrap();
    let row: Vec<_> = (0..N_ITEMS as u32).map(|item| (item, 90.0 - item as f32)).collect();
    let ranking = Owned::new(&row, 8, |_| true);
    let from = Candidates {
        rankings: [Some(ranking.ranking()), None, None, None],
        pins: &[],
        faded: NO_FADING,
        vectors: None,
    };
    let (list, lacks) = chosen(&rules, &from, 5, Level::Scalar);
    assert_eq!(list.iter().map(|&(item, _)| item).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(!lacks.any());
}

#[test]
fn what_a_list_lacks_is_told() {
    // Even items are boosted, those from 80 on are wanted.
    let factors: Vec<_> = (0..N_ITEMS).map(|item| if item % 2 == 0 { 2.0 } else { 1.0 }).collect();
    let at_least = vec![AtLeast { wanted: (0..N_ITEMS).map(|item| item >= 80).collect(), count: 1 }];
    let rules = ListRules::new(N_ITEMS, factors, vec![], at_least, vec![], None).unwrap();
    let row: Vec<_> = (0..N_ITEMS as u32).map(|item| (item, 90.0 - item as f32)).collect();
    let [all, boosted, wanted, both] = [
        Owned::new(&row, 4, |_| true),
        Owned::new(&row, 9, |item| item % 2 == 0),
        Owned::new(&row, 1, |item| item >= 80),
        Owned::new(&row, 2, |item| item >= 80 && item % 2 == 0),
    ];
    let lacks = |rankings: [Option<Ranking<'_>>; N_KINDS]| {
        let from = candidates(rankings, &[], NO_FADING);
        chosen(&rules, &from, 4, Level::Scalar).1.0
    };
    let [all, boosted, wanted, both] = [&all, &boosted, &wanted, &both].map(|each| Some(each.ranking()));
    assert_eq!(lacks([all, None, None, None]), [false, true, false, false]);
    assert_eq!(lacks([all, boosted, None, None]), [false, false, true, true]);
    assert_eq!(lacks([all, boosted, wanted, None]), [false, false, false, true]);
    assert_eq!(lacks([all, boosted, wanted, both]), [false; 4]);
}

/// What rules make of the rankings of all items, one after the other.
fn naive(
    case: &Case,
    by: ByRules<'_>,
    users: &[usize],
    n: usize,
    filters: &Filters,
    level: Level,
) -> Vec<Vec<(u32, u32)>> {
    let rows = case.naive(users, case.n_items, true, filters).into_iter().enumerate();
    let list = |(row, all): (usize, Vec<(u32, u32)>)| {
        let keys: Vec<_> = all.into_iter().map(|(item, bits)| key(f32::from_bits(bits), item)).collect();
        let all = Ranking { keys: &keys, asked: case.n_items + 1, floor: f32::NEG_INFINITY };
        let faded = by.faded.map_or(NO_FADING, |faded| (faded.row(row), faded.row_values(row)));
        let from = Candidates { rankings: [Some(all), None, None, None], pins: &keys, faded, vectors: by.vectors };
        let (list, lacks) = chosen(by.rules, &from, n, level);
        assert!(!lacks.any());
        list.into_iter().map(|(item, bits)| (item as u32, bits)).collect()
    };
    rows.map(list).collect()
}

#[test]
fn lists_of_blocks_and_of_single_rows_are_chosen_as_from_all_items() {
    let shapes = [(40, 0, true), (90, 9, true), (700, 17, true), (1500, 32, true), (1500, 32, false)];
    for (at, (n_items, d, hybrid)) in shapes.into_iter().enumerate() {
        for (seed, kind) in [Kind::Normal, Kind::Ties, Kind::Skewed, Kind::Normal].into_iter().enumerate() {
            let case = Case::new(kind, 40, n_items, d, hybrid, (10 * at + seed) as u64);
            let (ranker, draws) = (case.ranker(), Stream::new(seed as u64, 500 + at as u64));
            for part in 0..6 / one_in().min(6) as u64 {
                let mut rules = rules(n_items, draws.sub(part));
                if let Some(diversity) = rules.diversity.as_mut().filter(|_| d > 0 && part % 2 == 0) {
                    diversity.codes = None;
                }
                let n_rows = [40, 5][part as usize % 2];
                let users: Vec<_> = (0..n_rows as u32).collect();
                let filters = case.filters(part & 3, n_rows);
                let allowed: Vec<_> = (0..n_items as u64).map(|i| part == 5 || draws.below(i, 9) > 0).collect();
                let both = |allow: &Vec<bool>| allow.iter().zip(&allowed).map(|(a, b)| *a && *b).collect();
                let allow = Some(filters.allow.as_ref().map_or(allowed.clone(), both));
                let rules = rules.with_allowed(&allowed).unwrap();
                let columns = (0..n_rows as u32).map(|row| row % n_items as u32).collect();
                let faded = Csr::new((0..=n_rows).collect(), columns, vec![0.4; n_rows], n_items).unwrap();
                let (faded, tables) = ((part > 3).then_some(&faded), RuleTables::default());
                let by = ByRules { rules: &rules, tables: &tables, faded, vectors: Some((&case.items, d)) };
                let rows: Vec<_> = (0..n_rows).collect();
                for n in [1, 6, 15] {
                    let wanted =
                        naive(&case, by, &rows, n, &Filters { allow: allow.clone(), ..filters.clone() }, Level::Scalar);
                    let lengths = Lengths::new(&rules, n, by.faded.is_some());
                    for context in contexts() {
                        for lengths in [lengths, lengths.shortest()] {
                            let query = ranker.users.query(Some(&users), true);
                            let lists = ranker.lists_of_lengths(query, n, &filters, by, lengths, &context).unwrap();
                            let what = format!("{n_items} items, {kind:?}, {part}, n {n}, {}", context.level.name());
                            assert_lists(&lists.unwrap(), &wanted, &what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn wanted_items_that_are_most_of_those_allowed_are_found_in_the_table_of_all_these() {
    let (n_items, n_rows, d, n) = (4000, 64, 16, 3);
    let case = Case::new(Kind::Normal, n_rows, n_items, d, true, 3);
    let norm = |item: usize| case.items[item * d..][..d].iter().map(|x| x * x).sum::<f32>();
    let mut allowed: Vec<usize> = (0..n_items).step_by(3).collect();
    allowed.sort_by(|a, b| norm(*b).total_cmp(&norm(*a)));
    let mut wanted = vec![false; n_items];
    // Those of the largest norms, which fill most lists, are not wanted.
    allowed.iter().skip(200).for_each(|&item| wanted[item] = true);
    let may_be_listed: Vec<_> = (0..n_items).map(|item| item % 3 == 0).collect();
    let at_least = vec![AtLeast { wanted: wanted.clone(), count: 1 }];
    let rules = ListRules::new(n_items, vec![], vec![], at_least, vec![], None).unwrap();
    let (rules, tables) = (rules.with_allowed(&may_be_listed).unwrap(), RuleTables::default());
    let by = ByRules { rules: &rules, tables: &tables, faded: None, vectors: None };
    let (rows, filters) = ((0..n_rows).collect::<Vec<_>>(), Filters::default());
    let allow = Filters { allow: Some(may_be_listed), ..filters.clone() };
    let lists = naive(&case, by, &rows, n, &allow, Level::Scalar);
    let needs = |list: &&Vec<(u32, u32)>| list[..n - 1].iter().all(|each| !wanted[each.0 as usize]);
    assert!(lists.iter().filter(needs).count() > 5);
    let (ranker, users) = (case.ranker(), (0..n_rows as u32).collect::<Vec<_>>());
    for context in contexts() {
        let found = ranker.top_n_by_rules(Some(&users), n, true, &filters, by, &context).unwrap();
        assert_lists(&found.unwrap(), &lists, context.level.name());
    }
}

#[test]
fn a_factor_above_1_moves_no_score_down_whatever_its_sign() {
    for score in [-3.0f32, -1e-40, 0.0, 1e-40, 2.5, f32::MAX, f32::NEG_INFINITY] {
        assert!(boosted(score, 1.7) >= score && boosted(score, 0.3) <= score, "{score}");
        assert_eq!(boosted(score, 1.0), score);
    }
    assert_eq!((boosted(3.0, 2.0), boosted(-3.0, 2.0)), (6.0, -1.5));
}

#[test]
fn what_is_wrong_is_refused() {
    let quota = |n| vec![AtMost { codes: vec![0; n], limit: 1 }];
    assert!(ListRules::new(3, vec![], quota(3), vec![], vec![(1, 2)], None).is_ok());
    assert!(ListRules::new(3, vec![], quota(2), vec![], vec![], None).is_err());
    assert!(ListRules::new(3, vec![1.0, 0.0, 1.0], vec![], vec![], vec![], None).is_err());
    assert!(ListRules::new(3, vec![1.0; 2], vec![], vec![], vec![], None).is_err());
    assert!(ListRules::new(3, vec![], vec![], vec![], vec![(1, 3)], None).is_err());
    assert!(ListRules::new(3, vec![], vec![], vec![], vec![(2, 0), (2, 1)], None).is_err());
    let diversity = |weight| Some(Diversity { weight, codes: None });
    assert!(ListRules::new(3, vec![], vec![], vec![], vec![], diversity(f64::NAN)).is_err());
}
