"""Optimizers against their recurrences in float64, and against torch."""

from __future__ import annotations

import copy
import tracemalloc
from types import MappingProxyType

import numpy as np
import pytest
from recurrences import SHAPES, classes, instances, make_grads, make_params

import fastcell
from fastcell.optim import Adam, RMSprop

# Relative. float64: the recurrence adds up in another order, over 25 steps. float32:
# each step rounds a parameter of about 1 by 6e-8, 25 times, and its change likewise.
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}


class Subclass(np.ndarray):
    """An array of a class that the core does not know."""


class Tracked(dict):
    """Parameters as a layer keeps them: with the accessors for fastcell's own code."""

    def __init__(self, arrays):
        super().__init__(dict.fromkeys(arrays))
        self._arrays = arrays
        self.num_changes = 0

    def arrays(self):
        return self._arrays

    def changed(self):
        self.num_changes += 1


class TestRules:
    @instances
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_step_follows_the_recurrence(self, cls, recurrence, options, dtype):
        params, grads = make_params(dtype), make_grads(dtype=dtype)
        start = {name: array.copy() for name, array in params.items()}
        optimizer = cls(params, **options)
        for grad in grads:
            optimizer.step(grad)
        for name in ("0.weight", "long", "scalar"):
            # Both ends, and numbers around the places where threads share the work.
            size = params[name].size
            for i in {0, 1, size // 3, 16383, 16384, 32767, 32768, size - 1}:
                if i >= size:
                    continue
                series = [float(grad[name].flat[i]) for grad in grads]
                *_, expected = recurrence(float(start[name].flat[i]), series, **options)
                actual = float(params[name].flat[i])
                assert actual == pytest.approx(
                    expected, rel=TOLERANCE[dtype], abs=TOLERANCE[dtype]
                )

    @instances
    def test_gradients_stay(self, cls, recurrence, options):
        params, (grads,) = make_params(), make_grads(1)
        before = {name: grad.copy() for name, grad in grads.items()}
        cls(params, **options).step(grads)
        for name, grad in grads.items():
            np.testing.assert_array_equal(grad, before[name])

    @instances
    def test_gradient_may_be_read_only_and_of_any_memory_order(
        self, cls, recurrence, options
    ):
        (grads,) = make_grads(1)
        plain, turned = make_params(), make_params()
        cls(plain, **options).step(grads)
        for name, grad in grads.items():
            grads[name] = np.array(grad, order="F")
            grads[name].flags.writeable = False
        cls(turned, **options).step(grads)
        for name in plain:
            np.testing.assert_array_equal(plain[name], turned[name])

    @classes
    def test_learning_rate_may_change_between_steps(self, cls):
        params = make_params()
        optimizer = cls(params, lr=0.1)
        first, second = make_grads(2)
        optimizer.step(first)
        before = params["0.weight"].copy()
        optimizer.lr = 0.0
        optimizer.step(second)
        np.testing.assert_array_equal(params["0.weight"], before)
        assert optimizer.lr == 0.0

    @classes
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_nan_and_infinity_go_into_their_own_element_only(self, cls, bad):
        params, clean = make_params(), make_params()
        (grads,) = make_grads(1)
        cls(clean).step(grads)
        grads["0.weight"][2, 3] = bad
        with np.errstate(all="raise"):
            cls(params).step(grads)
        assert not np.isfinite(params["0.weight"][2, 3])
        clean["0.weight"][2, 3] = params["0.weight"][2, 3]
        for name in params:
            np.testing.assert_array_equal(params[name], clean[name])

    @instances
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_threads_make_no_difference(
        self, cls, recurrence, options, dtype, set_threads
    ):
        # Shared as one: parts begin and end within arrays.
        shapes = {"a": (70_001,), "b": (3,), "none": (0,), "c": (300, 301)}
        results = []
        for threads in (1, 2, 3):
            set_threads(threads)
            params = make_params(dtype, shapes=shapes)
            optimizer = cls(params, **options)
            for grads in make_grads(3, dtype, shapes=shapes):
                optimizer.step(grads)
            results.append({**params, **optimizer.state_dict()})
        for other in results[1:]:
            for name, value in results[0].items():
                np.testing.assert_array_equal(value, other[name])

    @instances
    def test_parameters_of_both_dtypes_go_together(self, cls, recurrence, options):
        shapes = {"a": (5,), "b": (2, 3), "c": (4,), "d": (1,)}
        dtypes = dict(zip(shapes, (np.float32, np.float64) * 2, strict=True))

        def cast(arrays):
            return {name: a.astype(dtypes[name]) for name, a in arrays.items()}

        together = cast(make_params(shapes=shapes))
        optimizer = cls(together, **options)
        grads = [cast(g) for g in make_grads(3, shapes=shapes)]
        for grad in grads:
            optimizer.step(grad)
        for name, param in cast(make_params(shapes=shapes)).items():
            alone = cls({name: param}, **options)
            for grad in grads:
                alone.step({name: grad[name]})
            np.testing.assert_array_equal(together[name], param)

    @classes
    def test_gradients_may_be_a_mapping_of_what_numpy_takes(self, cls):
        plain, other = make_params(), make_params()
        (grads,) = make_grads(1)
        cls(plain).step(grads)
        cls(other).step(
            MappingProxyType(
                {name: grad.view(Subclass) for name, grad in reversed(grads.items())}
            )
        )
        for name in plain:
            np.testing.assert_array_equal(plain[name], other[name])

    @classes
    def test_a_copy_of_an_optimizer_is_one_of_its_own(self, cls):
        params, grads = make_params(), make_grads(3)
        optimizer = cls(params, lr=0.1)
        optimizer.step(grads[0])
        other = copy.deepcopy(optimizer)
        before = {name: array.copy() for name, array in params.items()}
        state = optimizer.state_dict()
        other.step(grads[1])
        for name, array in params.items():
            np.testing.assert_array_equal(array, before[name])
        for name, value in optimizer.state_dict().items():
            np.testing.assert_array_equal(value, state[name])
        optimizer.step(grads[1])
        for name, array in other._params.items():
            np.testing.assert_array_equal(array, params[name])

    @classes
    def test_parameters_are_not_held_between_steps(self, cls):
        # Layers compare what somebody holds with a copy before each use.
        layer = fastcell.Linear(2, 3, seed=0)
        optimizer = cls(layer.params, lr=0.1)
        layer.params["weight"][...] = 1  # handed out, let go
        optimizer.step({"weight": np.ones((3, 2), "f"), "bias": np.ones(3, "f")})
        layer.params.version()
        assert not layer.params._copies

    def test_the_largest_square_of_amsgrad_never_falls(self):
        params = make_params()
        optimizer = Adam(params, betas=(0.9, 0.5), amsgrad=True)
        largest = np.zeros(SHAPES["0.weight"])
        for grads in make_grads(5):
            optimizer.step(grads)
            state = optimizer.state_dict()
            largest = np.maximum(largest, state["exp_avg_sq.0.weight"])
            np.testing.assert_array_equal(state["max_exp_avg_sq.0.weight"], largest)
        assert (largest > state["exp_avg_sq.0.weight"]).any()

    def test_nan_stays_in_the_largest_square_of_amsgrad(self):
        params = {"weight": np.ones(3)}
        optimizer = Adam(params, betas=(0.9, 0.5), amsgrad=True)
        for grad in ([1.0, np.nan, 1.0], [1.0, 1.0, 1.0]):
            optimizer.step({"weight": np.array(grad)})
        largest = optimizer.state_dict()["max_exp_avg_sq.weight"]
        np.testing.assert_array_equal(np.isnan(largest), [False, True, False])
        np.testing.assert_array_equal(np.isnan(params["weight"]), [False, True, False])

    def test_centered_variance_below_zero_counts_as_zero(self):
        # A constant gradient: its variance is zero but for rounding.
        params = {"weight": np.zeros(1000, np.float32)}
        optimizer = RMSprop(params, alpha=0.5, centered=True, eps=1e-3)
        grad = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
        for _ in range(60):
            optimizer.step({"weight": grad})
        assert np.isfinite(params["weight"]).all()

    @classes
    def test_step_allocates_nothing_large(self, cls):
        params = {"weight": np.zeros((1000, 1000), np.float32)}
        grads = {"weight": np.ones((1000, 1000), np.float32)}
        optimizer = cls(params, weight_decay=0.1)
        optimizer.step(grads)
        tracemalloc.start()
        try:
            optimizer.step(grads)
            assert tracemalloc.get_traced_memory()[1] < 5_000
        finally:
            tracemalloc.stop()

    @classes
    def test_layers_are_told_of_the_change(self, cls):
        arrays = make_params()
        expected = make_params()
        params = Tracked(arrays)
        optimizer = cls(params, lr=0.1)
        (grads,) = make_grads(1)
        optimizer.step(grads)
        cls(expected, lr=0.1).step(grads)
        assert params.num_changes == 1
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], expected[name])


@pytest.mark.peers
@instances
def test_step_is_that_of_torch(cls, recurrence, options):
    torch = pytest.importorskip("torch")
    params, grads = make_params(), make_grads()
    tensors = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
    ours = cls(params, **options)
    theirs = getattr(torch.optim, cls.__name__)(list(tensors.values()), **options)
    for grad in grads:
        ours.step(grad)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grad[name])
        theirs.step()
    for name, tensor in tensors.items():
        # A parameter that crosses zero keeps the rounding of its terms, which are of
        # the size of 1: relative to the parameter alone it is as large as one likes.
        np.testing.assert_allclose(
            params[name],
            tensor.detach().numpy(),
            rtol=TOLERANCE[np.float64],
            atol=1e-14,
        )


@pytest.mark.peers
@classes
def test_defaults_are_those_of_torch(cls):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, cls.__name__)([torch.zeros(1, requires_grad=True)])
    ours = cls({"w": np.zeros(1)})
    for name, value in theirs.defaults.items():
        if hasattr(cls, name):
            assert getattr(ours, name) == value
