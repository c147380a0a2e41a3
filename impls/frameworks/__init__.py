"""What a framework is asked: a device, precision, arrays, parameters, derivatives that are right.

Neutral modules stand here; each half imports its own framework and never the other, but for `crossing`. May import
`reference`, `impls.protocol`, `impls.registry` and `impls.given`.
"""
