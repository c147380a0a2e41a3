"""Structured exact kernels: what flows into each parameter and what flows back, contracted without a Jacobian.

Wherever a parameter enters the computation, its per-example gradient is a product of what flowed in (a) and what flows
back (g); the kernel is a small contraction of the two (Novak et al. 2022, arXiv 2206.08720, section 5, for the idea).

The network is written down by `impls.programs`. A half (`jax`, `torch`) says in a `rules.RuleBook` how its operations
are named and read; each product that a parameter enters becomes a `uses.Use` (`products`). Free of any framework,
`analysis` finds what is grouped, carried and crossed, with `views` for what a parameter is seen through and `tails`
for separable cotangents; `planner` decides; `terms` lists what is summed, `passes` what has to be made for it, and
`panels` fills a kernel that does not fit at once. The half's `factors` then make the passes, `contract` the
contraction, `engine` both.

What XLA does for the one, `impls.programs.torch.replay` does for the other: it leaves of a call no more than its
operations. On a GPU `torch.graphs` launches them all at once, for an engine that is kept.
"""
