"""Fitting: preparing predictors inside the training rows, tuning on the folds and the adapter to studies."""
