"""Compiled loops of the prognosis models, one file a topic."""
