"""Loss and accuracy of outputs, in float64, whatever computed them."""

from __future__ import annotations

import numpy as np
import scipy.special

from reference import InputError


def loss(outputs: np.ndarray, y: np.ndarray) -> float:
    """Of classes `y` (N,), integers, the mean cross-entropy −log softmax(f)_y; of numbers (N,) or (N, O) the mean of
    (f − y)² over examples and outputs. `outputs` are (N, …). Raises `InputError` where they do not fit."""
    y = np.asarray(y)
    found = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    if is_classes(y):
        _check_classes(found, y)
        return float(-scipy.special.log_softmax(found, axis=1)[np.arange(len(y)), y].mean())
    if y.size != found.size:
        raise InputError(f"outputs of shape {np.shape(outputs)} do not fit targets of shape {y.shape}")
    return float(np.mean((found - y.reshape(found.shape)) ** 2))


def loss_derivative(outputs: np.ndarray, y: np.ndarray) -> float:
    """‖∂L/∂f‖, Frobenius, of that mean over the N examples: of classes (softmax f − one-hot y)/N, of numbers 2 (f − y)
    over N·O. The outputs move by K times it (ZnNL and papyrus record it beside the kernel)."""
    found = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    if is_classes(y):
        _check_classes(found, y)
        return float(np.linalg.norm(scipy.special.softmax(found, axis=1) - np.eye(found.shape[1])[y])) / len(y)
    return 2 * float(np.linalg.norm(found - y.reshape(found.shape))) / found.size


def accuracy(outputs: np.ndarray, y: np.ndarray) -> float:
    """The share of examples whose largest output is that of their class."""
    found = np.asarray(outputs).reshape(len(outputs), -1)
    _check_classes(found, y)
    return float(np.mean(found.argmax(axis=1) == y))


def is_classes(y: np.ndarray) -> bool:
    return np.asarray(y).dtype.kind in "iu"


def scores(name: str, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """"NAME/loss", and of classes "NAME/accuracy"."""
    found = {f"{name}/loss": loss(outputs, y)}
    return found | {f"{name}/accuracy": accuracy(outputs, y)} if is_classes(y) else found


def _check_classes(outputs: np.ndarray, y: np.ndarray) -> None:
    if y.shape != (len(outputs),) or (y.size and not 0 <= y.min() <= y.max() < outputs.shape[1]):
        raise InputError(f"classes of shape {y.shape}, from {y.min()} to {y.max()}, do not fit {outputs.shape[1]} "
                         f"outputs of {len(outputs)} examples")
