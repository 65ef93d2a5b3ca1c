"""Compiled loops that the rooms of models share, one file a topic."""
