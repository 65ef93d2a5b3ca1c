"""Compiled loops over the characters of notes: tokens, what is known of each, and the most credible tags.

Each module stands alone: a compiled function calls compiled functions of its own file only.
"""
