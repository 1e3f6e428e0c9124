//! What one task of a queue hands to later ones.

use std::sync::OnceLock;

/// A value that one task makes and later tasks of the same queue wait for. Tasks are begun in the order of the queue, so
/// whoever waits waits for somebody who is at work.
pub struct Handed<T>(OnceLock<Option<T>>);

impl<T> Default for Handed<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Handed<T> {
    /// Makes the value. If that panics, those who wait go on with nothing.
    pub fn make(&self, make: impl FnOnce() -> T) {
        struct Given<'a, T>(&'a OnceLock<Option<T>>);
        impl<T> Drop for Given<'_, T> {
            fn drop(&mut self) {
                let _ = self.0.set(None);
            }
        }
        let given = Given(&self.0);
        let _ = given.0.set(Some(make()));
    }

    /// The value, once it is there; `None` where making it panicked.
    pub fn wait(&self) -> Option<&T> {
        self.0.wait().as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::Handed;
    use crate::runtime::Context;

    #[test]
    fn later_tasks_have_what_earlier_ones_made() {
        for threads in [1, 2, 5] {
            let context = Context::new(Some(threads)).unwrap();
            let handed: Vec<Handed<usize>> = (0..40).map(|_| Handed::default()).collect();
            context.for_each_task(
                0..40,
                || (),
                |(), task: usize| {
                    handed[task].make(|| if task == 0 { 1 } else { handed[task - 1].wait().unwrap() + task });
                },
            );
            assert_eq!(handed[39].wait(), Some(&781));
        }
    }

    #[test]
    fn nobody_waits_for_a_task_that_panicked() {
        let (context, handed) = (Context::new(Some(2)).unwrap(), Handed::<usize>::default());
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            context.for_each_task(
                0..2,
                || (),
                |(), task: usize| match task {
                    0 => handed.make(|| panic!("on purpose")),
                    _ => assert_eq!(handed.wait(), None),
                },
            );
        }));
        assert!(failed.is_err());
        assert_eq!(handed.wait(), None);
    }
}
