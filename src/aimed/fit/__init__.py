"""Fitting: preparing predictors inside the training rows, tuning on the folds and the adapter to studies."""

from aimed.core.room import share_name_with_verb

share_name_with_verb(__name__)
