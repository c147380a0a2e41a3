"""What training makes of a network, from its kernel: outputs at any time, without training.

    from studies.prediction import Linearised, kernels

    K = kernels(model, x_train, x_test)                       # any method of `impls`; arrays serve as well: Kernels(…)
    p = Linearised(K, y, loss="mean", f0=model(x_train), f0_test=model(x_test))
    p.gradient_flow(t).test                                   # t a number, an array, or infinity
    p.gradient_descent(steps, learning_rate=0.1, momentum=0.9).train
    p.max_learning_rate(momentum=0.9)

`kernel_products` in place of `kernels` needs no matrix of (N·O)² numbers. `Linearised` is the squared error in closed
form, `Integration` any loss, `Ensemble` the Gaussian process of infinitely wide networks. `loss` names what is
minimised, and so the unit of time (`clock`). The arithmetic is float64 throughout.
"""

from studies.prediction.blocks import Kernels, kernel_products, kernels
from studies.prediction.clock import convert_time, heavy_ball, steps_of_time, time_of_steps
from studies.prediction.ensemble import Ensemble, Gaussian
from studies.prediction.forms import shared
from studies.prediction.integration import Integration, State
from studies.prediction.linearised import Linearised, Outputs
from studies.prediction.losses import CrossEntropy, Squared
from studies.prediction.solving import Ridge

__all__ = [
    "CrossEntropy", "Ensemble", "Gaussian", "Integration", "Kernels", "Linearised", "Outputs", "Ridge", "Squared",
    "State", "convert_time", "heavy_ball", "kernel_products", "kernels", "shared", "steps_of_time", "time_of_steps",
]
