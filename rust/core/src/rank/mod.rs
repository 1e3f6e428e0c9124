//! Who gets what - exact top-N, pruning, filters.
