"""Compiled kernels of the treatment room."""
