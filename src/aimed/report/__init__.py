"""The evidence report: one results dictionary in, one self-contained page out, with nothing else behind it."""
