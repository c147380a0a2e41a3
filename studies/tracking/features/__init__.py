"""What a network gives for a batch, at its end and within: outputs, features of named layers, weights.

`observe` runs the user's own object in evaluation mode and leaves it as it was.
"""

from studies.tracking.features.observe import Feature, Observation, observe, weights

__all__ = ["Feature", "Observation", "observe", "weights"]
