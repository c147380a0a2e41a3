"""What a function does, operation by operation: written down for one example, done again without what is around it.

`program` holds what both frameworks share: `Value`, `Constant`, `Program`. A half (`jax`, `torch`) has its own `Step`,
and writes a function down (`trace`). PyTorch's makes operations simpler on the way (`rewrites`, `strides`, `parts`),
and does for calls what XLA does for JAX's: `replay` leaves of one no more than its operations (`recording`). What they
are for, kernels say, is nothing that this folder knows. It may import `impls.frameworks` and what lies below.
"""
