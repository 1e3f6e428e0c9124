//! How it learns - sampler, loss, optimiser, epoch.
