//! How many users have both of two items.

use super::Csr;
use crate::runtime::Context;
use crate::{Error, Result};

/// Users of one task.
const USERS: usize = 32;

/// For each of some users, and each item of theirs, how many users have that item and `items[at]`, the `at`-th user's: one
/// number after the other.
pub fn common_users(interactions: &Csr, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<u32>> {
    let bad = |what: &str| Err(Error::InvalidData(format!("{what} are not those of the interactions.")));
    if users.len() != items.len() || users.iter().any(|&user| user as usize >= interactions.n_rows()) {
        return bad("users");
    }
    if items.iter().any(|&item| item as usize >= interactions.n_columns()) {
        return bad("items");
    }
    let users_of = interactions.transpose_on(context);
    let found = context.try_map_tasks(
        users.chunks(USERS).zip(items.chunks(USERS)),
        || vec![false; interactions.n_rows()],
        |has_item, (users, items)| {
            context.cancel.check()?;
            let mut found = Vec::new();
            for (&user, &item) in users.iter().zip(items) {
                let having = users_of.row(item as usize);
                for &other in having {
                    has_item[other as usize] = true;
                }
                let count = |&own: &u32| -> u32 {
                    users_of.row(own as usize).iter().map(|&other| u32::from(has_item[other as usize])).sum()
                };
                found.extend(interactions.row(user as usize).iter().map(count));
                for &other in having {
                    has_item[other as usize] = false;
                }
            }
            Ok(found)
        },
    )?;
    Ok(found.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_counted_who_have_both() {
        let rows: [&[u32]; 4] = [&[0, 1, 2], &[1, 2], &[], &[0, 2]];
        let offsets = vec![0, 3, 5, 5, 7];
        let data = Csr::new(offsets, rows.concat(), vec![1.0; 7], 4).unwrap();
        for threads in [1, 3] {
            let context = Context::new(Some(threads)).unwrap();
            let found = common_users(&data, &[0, 1, 2, 3, 0], &[0, 2, 0, 2, 3], &context).unwrap();
            assert_eq!(found, [2, 1, 2, 2, 3, 2, 3, 0, 0, 0]);
            for (users, items) in [(&[4], &[0]), (&[0], &[4])] {
                assert!(common_users(&data, users, items, &context).is_err());
            }
        }
    }
}
