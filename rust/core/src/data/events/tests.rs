use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct Events {
    users: Vec<i32>,
    items: Vec<i32>,
    weights: Vec<f32>,
    times: Vec<i64>,
    repeated: Vec<i64>,
}

fn canonical(
    users: &[i32],
    items: &[i32],
    weights: &[f64],
    times: &[i64],
    sizes: (usize, usize),
    cancel: &Cancel,
) -> Result<Events> {
    let n = users.len();
    let mut events = Events {
        users: vec![-9; n],
        items: vec![-9; n],
        weights: vec![-9.0; n],
        times: vec![-9; times.len()],
        repeated: Vec::new(),
    };
    let plan = Plan::new(users, items, sizes)?;
    let mut work = vec![77; plan.work_len()];
    let Events { users: own_users, items: own_items, weights: own_weights, times: own_times, .. } = &mut events;
    let out = EventColumns { users: own_users, items: own_items, weights: own_weights, times: own_times };
    let sorted = plan.events(weights, times, &mut work, out, cancel)?;
    events.users.truncate(sorted.events);
    events.items.truncate(sorted.events);
    events.weights.truncate(sorted.events);
    events.times.truncate(sorted.events);
    Ok(Events { repeated: sorted.repeated, ..events })
}

fn naive(rows: &[(i32, i32, f64, i64)]) -> Vec<(i32, i32, i64, u32)> {
    let mut sums = BTreeMap::new();
    for &(user, item, weight, time) in rows {
        *sums.entry((user, item, time)).or_insert(-0.0) += weight;
    }
    sums.into_iter().map(|((user, item, time), weight)| (user, item, time, (weight as f32).to_bits())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn events_are_those_of_a_sorted_map_for_every_thread_count(
        rows in prop::collection::vec((0i32..6, 0i32..5, -3.0f64..3.0, -2i64..3), 0..300),
    ) {
        let mut by_time = rows.clone();
        by_time.sort_by_key(|row| row.3);
        for (rows, threads) in [(&rows, 1), (&rows, 3), (&by_time, 2)] {
            let users: Vec<i32> = rows.iter().map(|row| row.0).collect();
            let items: Vec<i32> = rows.iter().map(|row| row.1).collect();
            let weights: Vec<f64> = rows.iter().map(|row| row.2).collect();
            let times: Vec<i64> = rows.iter().map(|row| row.3).collect();
            let pool = crate::runtime::pool::get(Some(threads)).unwrap();
            let got = pool.install(|| canonical(&users, &items, &weights, &times, (6, 5), &Cancel::default())).unwrap();
            let flat: Vec<_> = (0..got.users.len())
                .map(|at| (got.users[at], got.items[at], got.times[at], got.weights[at].to_bits()))
                .collect();
            prop_assert_eq!(&flat, &naive(rows));
            prop_assert_eq!(got.repeated.len() + flat.len(), rows.len());
        }
    }
}

#[test]
fn many_users_in_several_tasks_stay_in_order() {
    let n = 200_000;
    let users: Vec<i32> = (0..n).map(|row| (row * 7919) % 5000).collect();
    let items: Vec<i32> = (0..n).map(|row| (row * 31) % 97).collect();
    let events = canonical(&users, &items, &vec![1.0; n as usize], &[], (5000, 97), &Cancel::default()).unwrap();
    assert!(events.times.is_empty());
    let keys: Vec<_> = events.users.iter().zip(&events.items).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(events.weights.iter().map(|&weight| f64::from(weight)).sum::<f64>(), f64::from(n));
    assert_eq!(events.users.len() + events.repeated.len(), n as usize);
}

#[test]
fn large_tables_in_any_order_are_those_of_a_sorted_map() {
    let draws = crate::runtime::rng::Stream::new(7, 1);
    let n = 60_000u64;
    // Ids that nearly fill 31 bits leave no room to sort by bits.
    for (n_users, n_items) in [(900, 70), (70_000, 3), (1, 1), (1 << 30, 1 << 31)] {
        let rows: Vec<(i32, i32, f64, i64)> = (0..n)
            .map(|row| {
                let spread = |at: u64, n: u64| (n - 1) / 300 * draws.below(4 * row + at, 300);
                let (user, item) = if n_users > 1 << 20 {
                    (spread(0, n_users), spread(1, n_items))
                } else {
                    (draws.below(4 * row, n_users), draws.below(4 * row + 1, n_items))
                };
                (
                    user as i32,
                    item as i32,
                    draws.below(4 * row + 2, 9) as f64 + 0.25,
                    draws.below(4 * row + 3, 5) as i64 - 2,
                )
            })
            .collect();
        let users: Vec<i32> = rows.iter().map(|row| row.0).collect();
        let items: Vec<i32> = rows.iter().map(|row| row.1).collect();
        let weights: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.3).collect();
        let mut seen = std::collections::HashSet::new();
        let repeated: Vec<i64> = (0..rows.len())
            .filter(|&at| !seen.insert((rows[at].0, rows[at].1, rows[at].3)))
            .map(|at| at as i64)
            .collect();
        for threads in [1, 3] {
            let pool = crate::runtime::pool::get(Some(threads)).unwrap();
            let sizes = (n_users as usize, n_items as usize);
            let got = pool.install(|| canonical(&users, &items, &weights, &times, sizes, &Cancel::default())).unwrap();
            let flat: Vec<_> = (0..got.users.len())
                .map(|at| (got.users[at], got.items[at], got.times[at], got.weights[at].to_bits()))
                .collect();
            assert_eq!(flat, naive(&rows));
            assert_eq!(got.repeated, repeated);
        }
    }
}

#[test]
fn a_table_that_is_sorted_in_parts_is_sorted_as_a_whole() {
    let draws = crate::runtime::rng::Stream::new(9, 1);
    let n = 2 * MIN_PART_ROWS as u64 + 777;
    // Spread evenly; one with two thirds of all rows; one with all.
    for (favorite, share) in [(0, 0), (40_001, 2), (17, 3)] {
        let user = |row| if draws.below(row, 3) < share { favorite } else { draws.below(row + n, 60_000) };
        let users: Vec<i32> = (0..n).map(|row| user(row) as i32).collect();
        let items: Vec<i32> = (0..n).map(|row| draws.below(row + 2 * n, 5000) as i32).collect();
        let weights: Vec<f64> = (0..n).map(|row| 1.0 + draws.below(row + 3 * n, 8) as f64).collect();
        let times: Vec<i64> = (0..n).map(|row| draws.below(row + 4 * n, 3) as i64).collect();
        let rows: Vec<_> = (0..n as usize).map(|row| (users[row], items[row], weights[row], times[row])).collect();
        let expected = naive(&rows);
        for threads in [1, 3] {
            let pool = crate::runtime::pool::get(Some(threads)).unwrap();
            let parts = pool.install(|| Plan::new(&users, &items, (60_000, 5000)).unwrap().parts.len());
            assert!(parts > 1, "{parts} parts");
            let sorted =
                pool.install(|| canonical(&users, &items, &weights, &times, (60_000, 5000), &Cancel::default()));
            let got = sorted.unwrap();
            let flat: Vec<_> = (0..got.users.len())
                .map(|at| (got.users[at], got.items[at], got.times[at], got.weights[at].to_bits()))
                .collect();
            assert!(flat == expected, "{threads} threads, favorite {favorite}");
            assert_eq!(got.repeated.len() + flat.len(), rows.len());
            assert!(got.repeated.is_sorted());
        }
    }
}

#[test]
fn weights_that_add_up_to_more_than_a_float_holds_are_refused() {
    let sum = |weights: &[f64; 2]| canonical(&[0, 0], &[0, 0], weights, &[], (1, 1), &Cancel::default());
    assert!(matches!(sum(&[3e38, 3e38]), Err(Error::InvalidData(_))));
    assert_eq!(sum(&[3e38, -3e38]).unwrap().weights, [0.0]);
}

#[test]
fn positions_outside_the_ids_are_refused() {
    assert!(canonical(&[0], &[5], &[1.0], &[], (1, 5), &Cancel::default()).is_err());
    assert!(canonical(&[-1], &[0], &[1.0], &[], (1, 5), &Cancel::default()).is_err());
    assert!(canonical(&[0], &[0, 0], &[1.0], &[], (1, 5), &Cancel::default()).is_err());
}
