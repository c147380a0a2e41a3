"""What a network gives for a batch, at its end and within: outputs, features of named layers, weights.

`observe` runs the user's own object in evaluation mode and leaves it as it was.
"""

from studies.tracking.features.observation import Feature, Observation
from studies.tracking.features.observe import observe, weights

__all__ = ["Feature", "Observation", "observe", "weights"]
