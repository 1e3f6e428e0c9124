//! Memory that nobody waits for while it is freed.

use std::ops::{Deref, DerefMut};

use ancf_core::rank::Ranker;

use crate::enter::LARGE;

/// A ranker whose memory goes back to the system beside whoever lets go of it: 256 MB of vectors take 60 ms, for which no
/// other Python thread should wait.
pub struct FreedBeside(Option<Ranker>);

impl FreedBeside {
    pub fn new(ranker: Ranker) -> Self {
        Self(Some(ranker))
    }
}

impl Deref for FreedBeside {
    type Target = Ranker;

    fn deref(&self) -> &Ranker {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for FreedBeside {
    fn deref_mut(&mut self) -> &mut Ranker {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for FreedBeside {
    fn drop(&mut self) {
        let ranker = self.0.take();
        let is_large = ranker.as_ref().is_some_and(|each| (each.n_users() + each.n_items()) * each.factors() >= LARGE);
        if is_large {
            // Where no thread can be started, the closure is dropped here.
            let _ = std::thread::Builder::new().name("ancf-free".into()).spawn(|| drop(ranker));
        }
    }
}
