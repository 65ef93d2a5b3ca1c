"""Compiled loops over notes: words, phrases, and what is said of them."""
