//! Sampled candidates: for each user some items that are none of theirs, drawn uniformly without replacement.
//!
//! What is drawn is a function of (seed, user, the items left out, the number of items): it depends neither on the model
//! that is measured, nor on the other users, nor on threads.
//!
//! Floyd's algorithm (Bentley and Floyd, Communications of the ACM 1987) draws n of the m items left with n random numbers;
//! the j-th item that is left is found by one merge with those left out.

use rayon::prelude::*;

use super::rows::Rows;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::{Error, Result};

/// The purpose of these draws.
const PURPOSE: u64 = 0x6e65_6761_7469_7665;

/// For each user `n` of `n_items` positions that are not in their row of `excluded`, ascending; all of them where no more
/// than n are left. `users` tells their draws apart.
pub fn sample_negatives(
    seed: u64,
    users: &[i64],
    excluded: Rows,
    n_items: usize,
    n: usize,
    context: &Context,
) -> Result<Vec<Vec<i32>>> {
    if users.len() != excluded.len() {
        return Err(Error::InvalidData(format!("got {} users and {} rows.", users.len(), excluded.len())));
    }
    let stream = Stream::new(seed, PURPOSE);
    context.install(|| {
        (0..users.len())
            .into_par_iter()
            .map(|at| {
                context.cancel.check()?;
                Ok(draw(stream.sub(users[at] as u64), excluded.row(at), n_items, n))
            })
            .collect()
    })
}

fn draw(stream: Stream, excluded: &[i32], n_items: usize, n: usize) -> Vec<i32> {
    let left = n_items - excluded.len();
    let mut chosen: Vec<usize> = if left <= n { (0..left).collect() } else { Vec::with_capacity(n) };
    if left > n {
        for (counter, last) in (left - n..left).enumerate() {
            let each = stream.below(counter as u64, last as u64 + 1) as usize;
            match chosen.binary_search(&each) {
                Err(at) => chosen.insert(at, each),
                Ok(_) => chosen.push(last), // larger than all before
            }
        }
    }
    let mut skipped = 0;
    for each in &mut chosen {
        while excluded.get(skipped).is_some_and(|&item| item as usize <= *each + skipped) {
            skipped += 1;
        }
        *each += skipped;
    }
    chosen.into_iter().map(|item| item as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(users: &[i64], rows: &[&[i32]], n_items: usize, n: usize, threads: usize) -> Vec<Vec<i32>> {
        let mut offsets = vec![0];
        for row in rows {
            offsets.push(offsets[offsets.len() - 1] + row.len() as i64);
        }
        let excluded = Rows::new(&offsets, &rows.concat(), n_items, "excluded")
            .map(|rows| sample_negatives(7, users, rows, n_items, n, &Context::new(Some(threads)).unwrap()).unwrap());
        excluded.unwrap()
    }

    #[test]
    fn what_is_drawn_is_ascending_left_over_and_a_function_of_the_user() {
        let rows: [&[i32]; 3] = [&[0, 3, 4], &[], &[9]];
        let got = sampled(&[5, 6, 7], &rows, 10, 6, 2);
        for (row, each) in rows.iter().zip(&got) {
            assert_eq!(each.len(), 6);
            assert!(each.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(each.iter().all(|item| (0..10).contains(item) && !row.contains(item)));
        }
        assert_eq!(sampled(&[7], &rows[2..], 10, 6, 1)[0], got[2]);
        assert_eq!(sampled(&[5], &rows[..1], 10, 20, 1)[0], [1, 2, 5, 6, 7, 8, 9]);
        assert!(sampled(&[5], &[&[0, 1]], 2, 3, 1)[0].is_empty());
    }

    #[test]
    fn every_item_left_is_drawn_as_often_as_any_other() {
        let users: Vec<i64> = (0..20_000).collect();
        let rows = vec![&[1][..]; users.len()];
        let mut counts = [0_u32; 6];
        for row in sampled(&users, &rows, 6, 2, 2) {
            for item in row {
                counts[item as usize] += 1;
            }
        }
        assert_eq!(counts[1], 0);
        for item in [0, 2, 3, 4, 5] {
            assert!((7_700..8_300).contains(&counts[item]), "{counts:?}");
        }
    }
}
