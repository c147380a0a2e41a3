"""Structured exact kernels: what flows into each parameter and what flows back, contracted without a Jacobian.

Wherever a parameter enters the computation, its per-example gradient is a product of what flowed in (a) and what flows
back (g); the kernel is a small contraction of the two (Novak et al. 2022, arXiv 2206.08720, section 5, for the idea).
`planner` decides, free of any framework; the engine of each framework carries the plan out. What XLA does for the one,
`torch.replay` does for the other: it leaves of a call no more than its operations. On a GPU `torch.graphs` launches
them all at once, for an engine that is kept.
"""
