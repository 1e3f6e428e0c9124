//! Checks of calls and tables, made once, before anything is computed: kernels then index freely.

use crate::{Error, Result};

/// A list holds at least one item.
pub fn check_n(n: usize) -> Result<()> {
    if n == 0 {
        return Err(Error::InvalidParameter("N is 0; it must be at least 1.".into()));
    }
    Ok(())
}

/// A table holds `n` × `d` finite numbers.
pub fn check_table(values: &[f32], n: usize, d: usize, what: &str) -> Result<()> {
    if n.checked_mul(d) != Some(values.len()) {
        return Err(Error::InvalidData(format!("{what}: {} numbers for {n} rows of {d}.", values.len())));
    }
    check_finite(values, d, what)
}

/// All numbers are finite; the first that is not is named by row and column.
pub fn check_finite(values: &[f32], d: usize, what: &str) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(Error::InvalidData(format!(
            "{what}: row {}, column {} is {}; every number must be finite.",
            at / d.max(1),
            at % d.max(1),
            values[at]
        ))),
        None => Ok(()),
    }
}

/// Users requested by position exist.
pub fn check_users(users: &[u32], n_users: usize) -> Result<()> {
    match users.iter().find(|&&user| user as usize >= n_users) {
        Some(user) => Err(Error::InvalidData(format!("user {user} is requested; there are {n_users} users."))),
        None => Ok(()),
    }
}

/// Items requested by position exist.
pub fn check_items(items: &[u32], n_items: usize) -> Result<()> {
    match items.iter().find(|&&item| item as usize >= n_items) {
        Some(item) => Err(Error::InvalidData(format!("item {item} is requested; there are {n_items} items."))),
        None => Ok(()),
    }
}
