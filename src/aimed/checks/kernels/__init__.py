"""Compiled loops of the checks, one file a topic."""
