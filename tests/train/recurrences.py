"""The recurrences of the optimizers, and the instances that the tests run through."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastcell.optim import SGD, Adagrad, Adam, AdamW, RMSprop

NUM_STEPS = 25

# The recurrences: one scalar element, in Python's floats, written from the papers and
# from torch's documentation. Each yields the parameter after each step.


def sgd(p, grads, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False):
    buffer = None
    for grad in grads:
        g = grad + weight_decay * p
        if momentum:
            first = buffer is None
            buffer = g if first else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
        yield p


def rmsprop(
    p, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False
):
    square = mean = velocity = 0.0
    for grad in grads:
        g = grad + weight_decay * p
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        variance = max(square - mean**2, 0) if centered else square
        velocity = momentum * velocity + g / (math.sqrt(variance) + eps)
        p = p - lr * velocity
        yield p


def adagrad(
    p,
    grads,
    lr,
    lr_decay=0,
    weight_decay=0,
    initial_accumulator_value=0,
    eps=1e-10,
):
    total = initial_accumulator_value
    for t, grad in enumerate(grads):
        g = grad + weight_decay * p
        total += g**2
        p = p - lr / (1 + t * lr_decay) * g / (math.sqrt(total) + eps)
        yield p


def adam(
    p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, apart=0
):
    beta1, beta2 = betas
    m = v = largest = 0.0
    for t, grad in enumerate(grads, start=1):
        p = p * (1 - lr * apart)
        g = grad + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = max(largest, v)
        second = (largest if amsgrad else v) / (1 - beta2**t)
        p = p - lr * m / (1 - beta1**t) / (math.sqrt(second) + eps)
        yield p


def adamw(p, grads, lr, weight_decay=1e-2, **options):
    yield from adam(p, grads, lr, apart=weight_decay, **options)


INSTANCES = [
    (SGD, sgd, {"lr": 0.1}),
    (SGD, sgd, {"lr": 0.1, "weight_decay": 0.05}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    (RMSprop, rmsprop, {"lr": 0.01}),
    (RMSprop, rmsprop, {"lr": 0.01, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.05}),
    (RMSprop, rmsprop, {"lr": 0.01, "momentum": 0.8}),
    (RMSprop, rmsprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-2, "centered": True}),
    (
        RMSprop,
        rmsprop,
        {"lr": 0.01, "eps": 1e-2, "centered": True, "momentum": 0.5},
    ),
    (Adagrad, adagrad, {"lr": 0.1}),
    (
        Adagrad,
        adagrad,
        {
            "lr": 0.1,
            "lr_decay": 0.2,
            "weight_decay": 0.05,
            "initial_accumulator_value": 0.3,
            "eps": 1e-3,
        },
    ),
    (Adam, adam, {"lr": 0.01}),
    (
        Adam,
        adam,
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.05},
    ),
    (Adam, adam, {"lr": 0.01, "betas": (0.5, 0.6), "amsgrad": True}),
    (
        Adam,
        adam,
        {"lr": 0.01, "betas": (0.5, 0.6), "weight_decay": 0.05, "amsgrad": True},
    ),
    (Adam, adam, {"lr": 0.01, "betas": (0.0, 0.0), "eps": 1e-2}),
    (AdamW, adamw, {"lr": 0.01}),
    (AdamW, adamw, {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True}),
]
IDS = [f"{cls.__name__}-{'-'.join(options)}" for cls, _, options in INSTANCES]
instances = pytest.mark.parametrize("cls, recurrence, options", INSTANCES, ids=IDS)
classes = pytest.mark.parametrize("cls", [SGD, RMSprop, Adagrad, Adam, AdamW])

# Odd shapes: several blocks and a rest, a scalar, nothing at all.
SHAPES = {"0.weight": (7, 9), "long": (40_001,), "scalar": (), "empty": (0, 3)}


def make_params(dtype=np.float64, seed=0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(rng.standard_normal(shape), dtype)
        for name, shape in shapes.items()
    }


def make_grads(steps=NUM_STEPS, dtype=np.float64, shapes=SHAPES):
    return [make_params(dtype, seed, shapes) for seed in range(1, steps + 1)]
