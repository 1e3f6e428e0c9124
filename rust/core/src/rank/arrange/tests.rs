use super::*;
use crate::runtime::rng::Stream;

const N_ITEMS: usize = 90;

/// A ranking of some rows cut off after `asked`, of the items that `wanted` says.
struct Owned(Vec<i32>, Vec<f32>, Vec<i32>, usize, usize, Option<Vec<f32>>);

impl Owned {
    fn new(scores: &[Vec<(u32, f32)>], asked: usize, wanted: impl Fn(u32) -> bool) -> Self {
        let width = asked.min(N_ITEMS);
        let (items, entries) = (vec![0; scores.len() * width], vec![0.0; scores.len() * width]);
        let mut found = Self(items, entries, Vec::new(), width, asked, None);
        for (row, scores) in scores.iter().enumerate() {
            let mut some: Vec<_> = scores.iter().filter(|each| wanted(each.0)).collect();
            some.sort_by_key(|each| std::cmp::Reverse(key(each.1, each.0)));
            some.truncate(width);
            for (at, &&(item, score)) in some.iter().enumerate() {
                (found.0[row * width + at], found.1[row * width + at]) = (item as i32, score);
            }
            found.2.push(some.len() as i32);
        }
        found
    }

    /// The same without every second item below the floor of each row.
    fn cut_at(mut self, floors: Vec<f32>) -> Self {
        for (row, &floor) in floors.iter().enumerate() {
            let (first, mut kept) = (row * self.3, 0);
            for at in 0..self.2[row] as usize {
                let (item, score) = (self.0[first + at], self.1[first + at]);
                if score >= floor || (floor < f32::INFINITY && at % 2 == 0) {
                    (self.0[first + kept], self.1[first + kept]) = (item, score);
                    kept += 1;
                }
            }
            self.2[row] = kept as i32;
        }
        self.5 = Some(floors);
        self
    }

    fn rankings(&self) -> Rankings<'_> {
        Rankings {
            items: &self.0,
            scores: &self.1,
            counts: &self.2,
            width: self.3,
            asked: self.4,
            floors: self.5.as_deref(),
        }
    }
}

fn rules(draws: Stream) -> ListRules {
    let codes =
        |part: u64| -> Vec<i32> { (0..N_ITEMS as u64).map(|i| draws.sub(part).below(i, 5) as i32 - 1).collect() };
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
    let wanted = (0..N_ITEMS as u64).map(|i| draws.sub(4).below(i, 12) == 0).collect();
    let mut at_least = vec![AtLeast { wanted, count: 2 }];
    at_least.truncate(draws.below(4, 2) as usize);
    let pins = if draws.below(5, 3) == 0 { vec![(2, 7), (4, 11)] } else { Vec::new() };
    let diversity = (draws.below(6, 3) == 0).then(|| Diversity { weight: 0.4, codes: Some(codes(2)) });
    let factors = if boosts { (0..N_ITEMS as u64).map(factor).collect() } else { Vec::new() };
    ListRules::new(N_ITEMS, factors, at_most, at_least, pins, diversity).unwrap()
}

#[test]
fn a_list_that_is_proven_from_a_few_candidates_is_that_of_all() {
    let mut n_proven = [0, 0];
    for seed in 0..super::super::test_cases::one_in().max(1) as u64 * 300 {
        let draws = Stream::new(seed, 77);
        let rules = rules(draws);
        let row = |row: u64| -> Vec<(u32, f32)> {
            let draws = draws.sub(100 + row);
            (0..N_ITEMS as u64)
                .filter(|&i| draws.sub(1).below(i, 4) > 0)
                .map(|i| (i as u32, draws.below(i, 30) as f32 / 4.0 - 2.0))
                .collect()
        };
        let rows: Vec<_> = (0..3).map(row).collect();
        let boosted = |item: u32| rules.factors.get(item as usize).is_some_and(|&factor| factor > 1.0);
        let wanted = |item: u32| rules.at_least.iter().any(|quota| quota.wanted[item as usize]);
        let (pins, n) = (Owned::new(&rows, 3, |item| item == 7 || item == 11), 6);
        let all = Owned::new(&rows, N_ITEMS + 1, |_| true);
        let context = Context::new(Some(1)).unwrap();
        let arrange = |all: &Owned, special: Option<&[Owned; 3]>| {
            let from = Candidates {
                all: all.rankings(),
                boosted: special.map(|all| all[0].rankings()),
                wanted: special.map(|all| all[1].rankings()),
                wanted_boosted: special.map(|all| all[2].rankings()),
                pins: Some(pins.rankings()),
                faded: None,
                vectors: None,
            };
            rules.arrange(&from, n, &context).unwrap()
        };
        let (lists, proven) = arrange(&all, None);
        assert!(proven.iter().all(|&proven| proven));
        for (asked, beside) in [(6, false), (9, false), (9, true), (14, true), (31, true), (31, false), (80, true)] {
            let few = Owned::new(&rows, asked, |_| true);
            let both = |item: u32| boosted(item) && wanted(item);
            let mut some = [
                Owned::new(&rows, asked, boosted),
                Owned::new(&rows, asked / 2, wanted),
                Owned::new(&rows, asked / 3, both),
            ];
            if seed % 2 == 1 && asked < 80 {
                let floors = |part: u64| -> Vec<f32> {
                    let floor = |row| {
                        [f32::INFINITY, f32::NEG_INFINITY, -1.0, 1.0, 3.0][draws.sub(part).below(row, 5) as usize]
                    };
                    (0..3).map(floor).collect()
                };
                some = some.map(|ranking| ranking.cut_at(floors(200 + asked as u64)));
            }
            let (found, proven) = arrange(&few, beside.then_some(&some));
            for row in 0..rows.len() {
                n_proven[usize::from(proven[row])] += 1;
                let part = row * n..(row + 1) * n;
                if proven[row] {
                    assert_eq!(found.items[part.clone()], lists.items[part.clone()], "seed {seed} {asked} {beside}");
                    assert_eq!(found.scores[part.clone()], lists.scores[part]);
                } else {
                    assert!(asked < 80);
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
    let rows = [(0..N_ITEMS as u32).map(|item| (item, 90.0 - item as f32)).collect()];
    let ranking = Owned::new(&rows, 8, |_| true);
    let from = Candidates {
        all: ranking.rankings(),
        boosted: None,
        wanted: None,
        wanted_boosted: None,
        pins: None,
        faded: None,
        vectors: None,
    };
    let context = Context::new(Some(1)).unwrap();
    let (lists, proven) = rules.arrange(&from, 5, &context).unwrap();
    assert_eq!((&lists.items[..], &proven[..]), (&[0, 1, 2, 3, 4][..], &[true][..]));
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
