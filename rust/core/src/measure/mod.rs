//! How good it is - ranking metrics.
