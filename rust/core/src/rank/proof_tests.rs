//! Lists in which every term of the bound in `index` decides: one item is worth the first place, the compact table sees it
//! too low by nearly all that one term allows, and a block of rivals has raised the threshold to just below its score.
//!
//! Vectors lie on their grids but for what the term is about, and along what is lost there, so that Cauchy-Schwarz is nearly
//! an equation. A user's grid depends on the level; each is met by a user of its own.

use super::*;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::BLOCK;

/// The largest magnitudes of a user's and an item's byte over all levels; see `user_limit` and `item_limit`.
const LIMITS: [f32; 2] = [63.0, 127.0];
const ITEM_LIMITS: [f32; 2] = [31.0, 127.0];

/// Without a pattern, so that no sum over a few neighbors gives the same.
fn sign(k: usize) -> f32 {
    if (k * k / 3 + k / 7).is_multiple_of(2) { 1.0 } else { -1.0 }
}

fn chain(u: &[f32], v: &[f32]) -> f32 {
    u.iter().zip(v).fold(0f32, |sum, (u, v)| u.mul_add(*v, sum))
}

fn length(v: &[f32]) -> f64 {
    v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// The item with one number, in the column of the user's smallest, that scores as closely below `wanted` as any.
fn rival(user: &[f32], wanted: f32) -> Vec<f32> {
    let column = (0..user.len()).filter(|&k| user[k] != 0.0).min_by(|&a, &b| user[a].abs().total_cmp(&user[b].abs()));
    let column = column.unwrap();
    let (mut one, toward) = (wanted / user[column], user[column].signum());
    while one * user[column] >= wanted {
        one = if toward > 0.0 { one.next_down() } else { one.next_up() };
    }
    let mut rival = vec![0.0; user.len()];
    rival[column] = one;
    rival
}

/// Asserts that `last` leads every list of `user` on every path and level, where 64 rivals nearly reach it. Items by norm:
/// 64 that score far below, which are all seed items of a short list; the rivals; `last`, with `beside` in its block.
fn assert_leads(user: &[f32], last: &[f32], beside: &[f32], what: &str) {
    let d = user.len();
    let wanted = chain(user, last);
    let rival = rival(user, wanted);
    assert!(
        length(&rival) > length(last) && length(last) > length(beside),
        "{what}: the order by norm is not the plan"
    );
    let far: Vec<f32> = rival.iter().map(|x| -2.0 * x).collect();
    let mut items = Vec::new();
    for row in [far, rival] {
        items.extend(row.repeat(BLOCK));
    }
    items.extend_from_slice(last);
    items.extend(beside.repeat(BLOCK - 1));
    let (n_items, position) = (3 * BLOCK, 2 * BLOCK as u32);
    // The same user at seven scales: the same bytes, and more than one group of the scan.
    let scales = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0f32];
    let users: Vec<f32> = scales.iter().flat_map(|scale| user.iter().map(move |x| x * scale)).collect();
    let mut ranker = Ranker::new(items, n_items, d, None::<Csr>, Head::Inner).unwrap();
    let users = ranker.new_users(users, 7, None, None).unwrap();
    ranker.set_users(users);
    for level in Level::available() {
        let context = Context::new(Some(1)).unwrap().with_level(level);
        for n in [1, 10] {
            let what = format!("{what}, d {d}, {}, n {n}", level.name());
            let lists = |plan| ranker.top_n(None, n, true, &Filters::default(), plan, &context).unwrap();
            let plain = lists(Plan::Plain);
            assert_eq!(
                (plain.items[0], plain.scores[3 * n]),
                (position as i32, wanted),
                "{what}: the case is not the plan"
            );
            let pruned = lists(Plan::Pruned);
            assert_eq!(pruned.items, plain.items, "{what}");
            let bits = |lists: &Lists| lists.scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&pruned), bits(&plain), "{what}");
            for user in 0..7usize {
                // The path of one list, whether or not a call would take it at this level.
                let query = ranker.everyone();
                let index = Some(ranker.scorer().index(None));
                let all = query::EligibleItems { bits: None, count: ranker.n_items() };
                single::list(ranker.scorer(), index, &query, user, n, &all, level, |keys| {
                    for (at, &key) in keys.iter().enumerate() {
                        let at = user * n + at;
                        let wanted = (plain.items[at] as u32, plain.scores[at].to_bits());
                        assert_eq!((position_of(key), score_of(key).to_bits()), wanted, "{what}, one list");
                    }
                });
            }
        }
    }
}

#[test]
fn an_item_half_a_step_off_its_grid_is_not_lost() {
    for d in [16, 50, 256] {
        for (limit, least) in ITEM_LIMITS.into_iter().zip([14, 60]) {
            // ±1 lies on every user's grid.
            let user: Vec<f32> = (0..d).map(sign).collect();
            let last: Vec<f32> = (0..d).map(|k| sign(k) * ((least + k * 7 % 12) as f32 + 0.499)).collect();
            let mut beside = vec![0.0; d];
            beside[d / 2] = limit;
            assert_leads(&user, &last, &beside, &format!("items off their grid of {limit}"));
        }
    }
}

#[test]
fn a_user_half_a_step_off_the_grid_loses_no_item() {
    for d in [16, 50, 256] {
        for limit in LIMITS {
            let mut user: Vec<f32> = (0..d).map(|k| sign(k) * ((k * 11 % 40) as f32 + 0.499)).collect();
            user[0] = limit;
            let mut last: Vec<f32> = (0..d).map(|k| 127.0 * sign(k)).collect();
            last[0] = 0.0;
            assert_leads(&user, &last, &vec![0.0; d], &format!("a user off the grid of {limit}"));
        }
    }
}

#[test]
fn scores_that_f32_rounds_up_at_every_step_are_not_lost() {
    // Both lie on their grids, but for 10⁻⁷ of a step. The first product fills the mantissa; each further one is a little more
    // than half of the last place, and rounds up by nearly as much again.
    for d in [32, 64, 100] {
        let smallest = [2148.0 + 193.0 / 256.0, 2082.0 + 1.0 / 32.0];
        for ((limit, item_limit), small) in LIMITS.into_iter().zip(ITEM_LIMITS).zip(smallest) {
            let mut user = vec![small; d];
            user[0] = limit * small;
            let mut last = vec![1.0; d];
            last[0] = item_limit;
            let exact: f64 = user.iter().zip(&last).map(|(&u, &v)| f64::from(u) * f64::from(v)).sum();
            let allowed = d as f64 * 2f64.powi(-24) * length(&user) * length(&last);
            assert!(f64::from(chain(&user, &last)) - exact > 0.9 * allowed, "d {d}, {limit}");
            assert_leads(&user, &last, &vec![0.0; d], &format!("scores rounded up, {limit}"));
        }
    }
}

#[test]
fn no_item_that_a_history_hardly_touches_is_lost_for_its_vector() {
    // The first place goes to an item whose history says least and whose vector says nearly all that norms allow; the
    // others, as long as it, lie across the user and owe all they have to the history.
    let (d, n_items) = (32, 700);
    let user: Vec<f32> = (0..d).map(|k| sign(k) * (1.0 + k as f32 / 64.0)).collect();
    let across: Vec<f32> = (0..d).map(|k| if k % 2 == 0 { user[k + 1] } else { -user[k - 1] }).collect();
    let best: f32 = chain(&user, &user);
    for place in [0, 333, n_items - 1] {
        let items: Vec<f32> =
            (0..n_items).flat_map(|item| if item == place { &user } else { &across }.clone()).collect();
        let sum = |item: usize| if item == place { best / 4096.0 } else { best * (0.99 + 0.01 * item as f32 / 1e3) };
        let neighbors = Csr::new(
            [vec![0], vec![n_items; n_items]].concat(),
            (0..n_items as u32).collect(),
            (0..n_items).map(sum).collect(),
            n_items,
        )
        .unwrap();
        let mut ranker = Ranker::new(items, n_items, d, Some(neighbors), Head::Inner).unwrap();
        let history = || Csr::new(vec![0, 1], vec![0], vec![1.0], n_items).unwrap();
        let users = ranker.new_users(user.clone(), 1, Some(history()), None).unwrap();
        ranker.set_users(users);
        for level in Level::available() {
            let context = Context::new(Some(1)).unwrap().with_level(level);
            for n in [1, 10, 21, 22] {
                // The last is too long a list for ceilings.
                for plan in [Plan::Plain, Plan::Pruned] {
                    let lists = ranker.top_n(None, n, false, &Filters::default(), plan, &context).unwrap();
                    assert_eq!(lists.items[0], place as i32, "{} {n} {plan:?}", level.name());
                    assert_eq!(lists.scores[0], best + sum(place));
                }
                let one = ranker.top_n_one(0, n, false, level, |keys, _| keys.to_vec()).unwrap();
                assert_eq!((position_of(one[0]), one.len()), (place as u32, n), "{} {n}, one list", level.name());
            }
        }
    }
}
