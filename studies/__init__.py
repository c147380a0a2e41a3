"""What people do with a kernel: prediction, spectra, sweeps, tracking through training.

Each is a few modules on top of `impls`: any method gives the kernel, and a kernel that is an array serves as well. May
import `reference` and `impls`, never `bench`.
"""
