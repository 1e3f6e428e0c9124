//! What stays - the model file.
