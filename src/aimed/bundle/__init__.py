"""Bundles: a fitted model as a folder that is checked before it is used and can run nothing of its own."""
