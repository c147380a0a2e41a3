"""Sweeps: kernels of coordinate networks over layer types, their parameters, encodings, initialisations, sizes.

`options` says what is swept and `points` lists it; `compute` gives the kernel of a point and its numbers, `work` does
so in several processes, and `store` keeps what is done, so that a sweep that was stopped goes on; `table` and `page`
show it. ``python -m studies sweep CONFIG.toml`` (`command`).
"""
