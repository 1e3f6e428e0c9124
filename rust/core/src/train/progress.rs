//! What training goes on from: every number that an epoch changes, by name.
//!
//! Draws are functions of the seed, the epoch and the step, so a trainer made anew of the same table and options that gets
//! these numbers ends in the same bits as the one that they were taken from.

use crate::runtime::Context;
use crate::{Error, Result};

/// A trainer that stops between two epochs, and goes on as another object.
pub trait Resumable {
    /// Every number that an epoch changes, by name.
    fn numbers(&mut self, context: &Context) -> Vec<(String, &mut [f32])>;

    /// How many steps it has taken; `None` where nothing depends on that.
    fn steps(&mut self) -> Option<&mut u64> {
        None
    }

    /// Makes anew what follows from the numbers.
    fn derive(&mut self) {}

    /// Copies of the numbers, and the steps.
    fn progress(&mut self, context: &Context) -> (Vec<(String, Vec<f32>)>, u64) {
        let numbers = self.numbers(context).into_iter().map(|(name, numbers)| (name, numbers.to_vec())).collect();
        (numbers, self.steps().map_or(0, |steps| *steps))
    }

    /// Goes on from what `progress` gave. Where it does not fit, nothing is changed.
    fn resume(&mut self, found: &[(String, &[f32])], steps: u64, context: &Context) -> Result<()> {
        let mut own = self.numbers(context);
        let of = |name: &str| found.iter().find(|(each, _)| each == name).map(|&(_, numbers)| numbers);
        if own.len() != found.len() {
            return Err(Error::InvalidData(format!("there are {} tables of numbers, not {}.", found.len(), own.len())));
        }
        for (name, numbers) in &own {
            let Some(found) = of(name) else {
                return Err(Error::InvalidData(format!("there are no {name}.")));
            };
            if found.len() != numbers.len() || found.iter().any(|x| x.is_nan()) {
                let n = numbers.len();
                return Err(Error::InvalidData(format!("{name}: it must be {n} numbers, and has {}.", found.len())));
            }
        }
        for (name, numbers) in &mut own {
            numbers.copy_from_slice(of(name).unwrap_or_default());
        }
        if let Some(own) = self.steps() {
            *own = steps;
        }
        self.derive();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counter {
        numbers: Vec<f32>,
        steps: u64,
    }

    impl Resumable for Counter {
        fn numbers(&mut self, _: &Context) -> Vec<(String, &mut [f32])> {
            vec![("numbers".into(), self.numbers.as_mut_slice())]
        }

        fn steps(&mut self) -> Option<&mut u64> {
            Some(&mut self.steps)
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let context = Context::new(Some(1)).unwrap();
        let mut counter = Counter { numbers: vec![1.0, 2.0], steps: 3 };
        let table = |name: &str, numbers: &'static [f32]| (name.to_owned(), numbers);
        for found in [
            vec![],
            vec![table("others", &[3.0, 4.0])],
            vec![table("numbers", &[3.0])],
            vec![table("numbers", &[3.0, f32::NAN])],
            vec![table("numbers", &[3.0, 4.0]), table("others", &[])],
        ] {
            assert!(matches!(counter.resume(&found, 9, &context), Err(Error::InvalidData(_))), "{found:?}");
            assert_eq!(counter.progress(&context), (vec![("numbers".into(), vec![1.0, 2.0])], 3));
        }
        counter.resume(&[table("numbers", &[3.0, 4.0])], 9, &context).unwrap();
        assert_eq!((counter.numbers, counter.steps), (vec![3.0, 4.0], 9));
    }
}
