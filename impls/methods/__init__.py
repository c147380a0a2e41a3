"""Who claims to compute the kernel: one adapter a file, those that `impls.registry` names, and what several share.

May import `impls.networks`, `impls.frameworks` and `impls.structured`.
"""
