use super::super::bounds::{Bounds, norm};
use super::*;
use crate::runtime::rng::Stream;
use crate::runtime::simd::dot::dots;
use crate::runtime::simd::int8_scan::{item_limit, user_limit};

/// Asserts that no item is discarded at a threshold that its own score reaches, though nothing but the bound keeps it.
fn kept_at_its_own_score(level: Level, user: &[f32], rows: &[f32]) {
    let d = user.len();
    let index = Index::new(rows, d, None);
    let items: Vec<u32> = (0..(rows.len() / d) as u32).collect();
    let mut scores = vec![0.0; items.len()];
    dots(level, user, rows, &items, &mut scores);
    let mut group = Group::<1>::default();
    let bounds = Bounds::new(user, level, &mut group, 0);
    for (place, &item) in index.items.iter().enumerate() {
        let score = scores[item as usize];
        bounds.set_threshold(&mut group.limits, 0, score);
        group.stop = bounds.min_norm(score);
        let block = place / BLOCK;
        let (found, masks) = index.scan(rows, level, &group, block..index.n_blocks());
        assert_eq!(found, block, "{}: item {item} lies beyond the stop", level.name());
        assert_ne!(masks[0] >> (place % BLOCK) & 1, 0, "{}: item {item} is discarded", level.name());
    }
}

/// ±1, without a pattern.
fn signs(d: usize) -> Vec<f32> {
    (0..d).map(|k| if Stream::new(11, 0).normal(k as u64) > 0.0 { 1.0 } else { -1.0 }).collect()
}

#[test]
fn a_longer_user_before_leaves_nothing_behind() {
    for level in Level::available() {
        for d in [1, 133, 150, 200] {
            let (mut used, mut fresh) = (Group::<1>::default(), Group::<1>::default());
            Bounds::new(&[-1.0; 256], level, &mut used, 0);
            for group in [&mut used, &mut fresh] {
                Bounds::new(&signs(d), level, group, 0);
            }
            assert_eq!(used.words, fresh.words, "{} {d}", level.name());
        }
    }
}

#[test]
fn what_the_bytes_of_an_item_lose_is_allowed_for() {
    // The user lies on the grid. Items lie off theirs by .49 of a step, each component the way that adds to the score:
    // the inequality of Cauchy and Schwarz is an equation but for the component that sets the scale.
    for level in Level::available() {
        let (d, limit) = (64, user_limit(level) as f32);
        let signs = signs(d);
        let user: Vec<f32> = signs.iter().map(|sign| sign * limit / 64.0).collect();
        let draws = Stream::new(12, 0);
        let largest = f32::from(item_limit(level));
        let row = |item: usize| {
            let whole = move |k: usize| (draws.normal((item * d + k) as u64) * 10.0).clamp(-25.0, 25.0).round();
            signs.iter().enumerate().map(move |(k, sign)| if k == 0 { largest } else { whole(k) + 0.49 * sign })
        };
        let rows: Vec<f32> = (0..2 * BLOCK).flat_map(row).collect();
        kept_at_its_own_score(level, &user, &rows);
    }
}

#[test]
fn what_the_bytes_of_a_user_lose_is_allowed_for() {
    // Items lie on the grid, as long as a block can hold; the user lies off by .49 of a step, the way of the items.
    for level in Level::available() {
        let (d, limit) = (64, user_limit(level) as f32);
        let signs = signs(d);
        let rows: Vec<f32> = signs.iter().map(|sign| sign * 127.0).collect();
        let whole = |k: usize| (Stream::new(13, 0).normal(k as u64) * 20.0).clamp(-50.0, 50.0).round();
        let user: Vec<f32> = signs
            .iter()
            .enumerate()
            .map(|(k, sign)| (if k == 0 { limit } else { whole(k) + 0.49 * sign }) / 64.0)
            .collect();
        kept_at_its_own_score(level, &user, &rows);
    }
}

#[test]
fn what_the_score_itself_is_rounded_by_is_allowed_for() {
    // User and item lie on their grids, so nothing but the roundings of the f32 chain is left. The first products take
    // the sum past 2²⁴, where a step is 2. After that 3, halfway, is rounded up by 1 to an even place.
    for level in Level::available() {
        let (limit, largest) = (user_limit(level) as f32, f32::from(item_limit(level)));
        let first = (f64::from(1 << 24) / f64::from(limit * largest)).ceil() as usize;
        let user: Vec<f32> = (0..MAX_FACTORS).map(|k| if k < first { limit } else { 3.0 }).collect();
        let row: Vec<f32> = (0..MAX_FACTORS).map(|k| if k < first { largest } else { 1.0 }).collect();
        let exact: f64 = row.iter().zip(&user).map(|(&v, &u)| f64::from(v) * f64::from(u)).sum();
        let mut score = [0.0];
        dots(level, &user, &row, &[0], &mut score);
        let allowed = MAX_FACTORS as f64 * 2f64.powi(-24) * norm(&user) * norm(&row);
        assert!(f64::from(score[0]) - exact > 0.55 * allowed, "{} {exact} {allowed}", score[0]);
        kept_at_its_own_score(level, &user, &row);
    }
}

#[test]
fn no_item_scores_less_than_its_bytes_are_sure_of() {
    for d in [3, 16, 50, 130] {
        let numbers = |purpose: u64, n: usize| -> Vec<f32> {
            (0..n).map(|at| Stream::new(purpose, d as u64).normal(at as u64)).collect()
        };
        // Two blocks, and one that ends early, whose places stay free.
        let (rows, users) = (numbers(15, 150 * d), numbers(16, 20 * d));
        let index = Index::new(&rows, d, None);
        for level in Level::available() {
            let (mut group, mut sure) = (TileGroup::default(), SureScores::default());
            group.reset(20, vector_words(d));
            sure.reset(20, 3, 48);
            group.stop = 0.0;
            let bounds: Vec<Bounds> = users
                .chunks(d)
                .enumerate()
                .map(|(user, vector)| {
                    let bounds = Bounds::of(vector, level, group.words_mut(user));
                    bounds.set_threshold(&mut group.limits[user / 8], user % 8, 0.0);
                    bounds
                })
                .collect();
            index.sure_scores(&rows, level, &group, 0..3, &mut sure);
            for (user, vector) in users.chunks(d).enumerate() {
                let mut scores = vec![0.0; 2 * BLOCK];
                dots(level, vector, &rows, &index.items[..2 * BLOCK], &mut scores);
                for block in 0..3 {
                    for (lane, &place) in sure.places(user, block).iter().enumerate() {
                        let best = (0..4).filter_map(|part| scores.get(block * BLOCK + part * 16 + lane));
                        let best = best.copied().fold(f32::NEG_INFINITY, f32::max);
                        let found = bounds[user].sure_score(place);
                        let near = 0.15 * d as f32;
                        let name = level.name();
                        assert!(found <= best && (block == 2 || best - found < near), "{name} {d}: {found} {best}");
                        assert_eq!(block == 2, found == f32::NEG_INFINITY);
                    }
                }
            }
        }
    }
}

#[test]
fn no_item_is_discarded_at_its_own_score() {
    let draws = Stream::new(14, 0);
    for level in Level::available() {
        for d in [1, 3, 16, 50] {
            let numbers = |purpose: u64, n: usize| -> Vec<f32> {
                (0..n).map(|at| Stream::new(purpose, d as u64).normal(at as u64)).collect()
            };
            let mut rows = numbers(15, 300 * d);
            for (item, row) in rows.chunks_mut(d).enumerate() {
                let length = draws.normal(item as u64).exp();
                for x in row {
                    *x *= length;
                }
            }
            for user in numbers(16, 20 * d).chunks(d) {
                kept_at_its_own_score(level, user, &rows);
            }
        }
    }
}
