"""Tracking through training: the kernel, the features and the loss on a fixed probe batch, at chosen steps.

`Tracker` serves a loop of one's own, `lightning_callback` that of Lightning; ``python -m studies track CONFIG.toml``
trains a network on data or on shifting tasks. The definitions stand with the functions: `studies.tracking.ranks`,
`changes`, `units`, `shifts`, and for what sums up a spectrum in `studies.eigenvalues`.
"""

from studies.tracking.lightning import lightning_callback
from studies.tracking.measure import Measure
from studies.tracking.tracker import Tracker

__all__ = ["Measure", "Tracker", "lightning_callback"]
