"""The models: one file per family, all of them recommenders."""
