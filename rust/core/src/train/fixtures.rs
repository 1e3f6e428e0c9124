//! Interactions that the tests of training share.

use crate::data::Csr;
use crate::runtime::rng::Stream;

/// 90 users and 40 items of four tastes; `value` is that of an entry.
pub fn interactions(value: impl Fn(usize) -> f32) -> Csr {
    let draws = Stream::new(1, 0);
    let (n_users, n_items) = (90, 40);
    let mut offsets = vec![0];
    let mut columns = Vec::new();
    for user in 0..n_users {
        for item in 0..n_items {
            let chance = if item % 4 == user % 4 { 0.5 } else { 0.04 };
            if draws.f32((user * n_items + item) as u64) < chance {
                columns.push(item as u32);
            }
        }
        offsets.push(columns.len());
    }
    let values = (0..columns.len()).map(value).collect();
    Csr::new(offsets, columns, values, n_items).unwrap()
}
