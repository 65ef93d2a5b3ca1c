"""Compiled loops: what numpy cannot say without a large intermediate array.

Each module stands alone: a compiled function calls compiled functions of its own file only, because the cache on disk
looks at one file to tell whether it is out of date.
"""
