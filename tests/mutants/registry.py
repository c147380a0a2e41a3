"""All mutants."""

from __future__ import annotations

from tests.mutants import (
    call_mutants,
    explicit_mutants,
    hidden_mutants,
    jax_kernel_mutants,
    jax_layer_mutants,
    layerwise_mutants,
    limit_mutants,
    model_mutants,
    numpy_mutants,
    offered_mutants,
    path_mutants,
    random_mutants,
    size_mutants,
    state_mutants,
    torch_kernel_mutants,
    torch_layer_mutants,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *numpy_mutants.MUTANTS, *torch_layer_mutants.MUTANTS, *torch_kernel_mutants.MUTANTS, *explicit_mutants.MUTANTS,
    *layerwise_mutants.MUTANTS, *jax_layer_mutants.MUTANTS, *jax_kernel_mutants.MUTANTS, *random_mutants.MUTANTS,
    *limit_mutants.MUTANTS, *state_mutants.MUTANTS, *model_mutants.MUTANTS,
    *size_mutants.MUTANTS, *call_mutants.MUTANTS, *path_mutants.MUTANTS, *hidden_mutants.MUTANTS,
    *offered_mutants.MUTANTS)

# The list of known bugs of NTK libraries, by their numbers.
ITEMS = {
    "1": "bias terms never added",
    "2": "the activation applied to the output layer as well",
    "3": "a tied weight counted once, or its cross terms lost",
    "4": "frozen parameters counted",
    "5": "JᵀJ for J Jᵀ once N ≥ P",
    "6": "only output 0 kept",
    "7": "a cotangent of ones: the sum over all pairs of outputs for the trace",
    "8": "a convolution treated as dense over pooled positions",
    "9": "trace and mean confused",
    "10": "the trace's kernel used for each output",
    "11": "other random projections for K(test, train) than for K(train, train)",
    "12": "values that depend on the batch size; a dropped or padded block; NaN from padding",
    "13": "AUTO of neural-tangents: a KeyError",
    "14": "a sketch not divided by its dimension",
    "15": "each gradient normalised first: a cosine kernel",
    "16": "axes transposed, x1 and x2 swapped, one layout taken for another",
    "17": "√d for d in a scale, a layer dropped, a wrong derivative of an activation",
    "18": "float16 or TF32 accumulation, float32 where float64 was asked for",
    "19": "BatchNorm in training mode; something left changed by the measuring",
    "20": "one random key for every repeat; stale compiled constants",
    "21": "an entry that is not finite; a kernel that is not symmetric or not positive semidefinite",
    "22": "right up to some size, shape, rank or circumstance of a request",
    "23": "right at the first call: caches, workspaces, threads, memory, surroundings",
    "24": "`kernel` of a plain function, `components`, batches",
    "25": "random and limit methods beyond the stored requests",
}
