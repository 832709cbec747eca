"""Clipping of gradients, by norm and by value."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
import pytest
from recurrences import make_grads

from fastcell import optim


class Subclass(np.ndarray):
    """An array of a class that the core does not know."""


class TestClipping:
    def test_norm_is_that_of_one_long_vector(self):
        grads = make_grads(1)[0]
        expected = math.sqrt(
            math.fsum(float(x) ** 2 for g in grads.values() for x in g.ravel())
        )
        assert optim.grad_norm(grads) == pytest.approx(expected, rel=1e-13)
        assert optim.grad_norm({}) == 0.0

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_clipped_gradients_have_the_norm_asked_for(self, dtype):
        (grads,) = make_grads(1, dtype)
        before = {name: grad.copy() for name, grad in grads.items()}
        norm = optim.grad_norm(grads)
        assert optim.clip_grad_norm(grads, 0.5) == norm
        factor = 0.5 / (norm + 1e-6)
        for name, grad in grads.items():
            assert grad.dtype == dtype
            np.testing.assert_allclose(grad, before[name] * factor, rtol=1e-6)
        assert optim.grad_norm(grads) == pytest.approx(0.5, rel=1e-6)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_memory_order_makes_no_difference(self, dtype):
        array = make_grads(1, dtype)[0]["0.weight"]
        grads = {
            "plain": array.copy(),
            "turned": array.T.copy().T,
            "reversed": array[::-1].copy()[::-1],
            "strided": np.repeat(array, 2, axis=1)[:, ::2],
        }
        norm = optim.clip_grad_norm(grads, 0.5)
        assert norm == pytest.approx(2 * optim.grad_norm({"": array}), rel=1e-13)
        # Rounded to the type first, as a number is that an array is multiplied by.
        expected = array * dtype(0.5 / (norm + 1e-6))
        for grad in grads.values():
            np.testing.assert_array_equal(grad, expected)

    def test_divisor_is_that_of_torch(self):
        grads = {"w": np.array([1e-6])}
        optim.clip_grad_norm(grads, 1e-7)
        assert grads["w"][0] == pytest.approx(1e-6 * 0.05)

    def test_small_gradients_stay(self):
        (grads,) = make_grads(1)
        before = {name: grad.copy() for name, grad in grads.items()}
        optim.clip_grad_norm(grads, 1e6)
        for name, grad in grads.items():
            np.testing.assert_array_equal(grad, before[name])

    def test_squares_of_float32_do_not_overflow_or_vanish(self):
        for size in (1e30, 1e-30):
            grads = {"w": np.full(4, size, np.float32)}
            assert optim.grad_norm(grads) == pytest.approx(2 * size, rel=1e-6)

    def test_nan_spreads_and_infinity_zeroes(self):
        grads = {"w": np.array([1.0, np.nan]), "b": np.ones(2)}
        assert math.isnan(optim.clip_grad_norm(grads, 1.0))
        assert np.isnan(grads["b"]).all()
        grads = {"w": np.array([1.0, np.inf]), "b": np.ones(2)}
        assert optim.clip_grad_norm(grads, 1.0) == math.inf
        np.testing.assert_array_equal(grads["w"], [0.0, np.nan])
        assert not grads["b"].any()

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_error_on_demand_comes_before_any_change(self, bad):
        grads = {"w": np.array([1.0, bad]), "b": np.ones(2)}
        with pytest.raises(ValueError, match=r"grads must be finite.*\(look at w\)"):
            optim.clip_grad_norm(grads, 1.0, error_if_nonfinite=True)
        assert grads["w"][0] == 1.0

    def test_value_clips_each_element(self):
        grads = {"w": np.array([[-3.0, 0.2], [np.nan, np.inf]], np.float32)}
        optim.clip_grad_value(grads, 0.5)
        np.testing.assert_array_equal(
            grads["w"], np.array([[-0.5, 0.2], [np.nan, 0.5]], np.float32)
        )

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_threads_make_no_difference(self, dtype, set_threads):
        shapes = {"a": (70_001,), "b": (3,), "none": (0,), "c": (300, 301)}
        results = []
        for threads in (1, 2, 3):
            set_threads(threads)
            (grads,) = make_grads(1, dtype, shapes=shapes)
            norm = optim.grad_norm(grads)
            optim.clip_grad_value(grads, 0.3)
            assert all(np.abs(grads[name]).max() == dtype(0.3) for name in "ac")
            clipped = optim.clip_grad_norm(grads, 0.5)
            results.append({"norm": norm, "clipped": clipped, **grads})
        for other in results[1:]:
            for name, value in results[0].items():
                np.testing.assert_array_equal(value, other[name])

    def test_values_of_any_memory_order_are_clipped_in_place(self):
        array = make_grads(1)[0]["0.weight"]
        grads = {
            "turned": array.T.copy().T,
            "strided": np.repeat(array, 2, axis=1)[:, ::2],
            "subclass": array.copy().view(Subclass),
            "float32": array.astype(np.float32),
        }
        given = dict(grads)
        optim.clip_grad_value(grads, 0.5)
        for name, grad in grads.items():
            assert grad is given[name]
            expected = np.clip(array.astype(grad.dtype), -0.5, 0.5)
            np.testing.assert_array_equal(grad, expected)

    def test_norm_is_taken_of_both_dtypes_and_of_what_is_read_only(self):
        grads = {"a": np.full(4, 2.0, np.float32), "b": np.broadcast_to(3.0, 1)}
        assert optim.grad_norm(grads) == 5.0
        assert optim.grad_norm(MappingProxyType(grads)) == 5.0

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_gradients_by_module_are_those_by_one_name(self, dtype):
        def grads():
            return {
                "a": {"w": np.full((2, 3), 2.0, dtype), "b": np.full(3, -3.0, dtype)},
                "b": {"0.w": np.full((3, 2), 4.0, dtype).T, "1.w": np.ones(1)},
            }

        def by_one_name(grads):
            return {f"{n}.{k}": g for n, gs in grads.items() for k, g in gs.items()}

        assert optim.grad_norm(grads()) == optim.grad_norm(by_one_name(grads()))
        for clip in (optim.clip_grad_norm, optim.clip_grad_value):
            nested, flat = grads(), by_one_name(grads())
            assert clip(nested, 1.5) == clip(flat, 1.5)
            for name, grad in by_one_name(nested).items():
                np.testing.assert_array_equal(grad, flat[name])
                assert abs(grad).max() <= 1.5

    def test_bad_gradients_by_module_are_named(self):
        one = np.ones(2)
        bad = {"a": {"w": one}, "b": {"w": np.array([1.0, np.nan])}}
        with pytest.raises(ValueError, match=r"finite.*\(look at b\.w\)"):
            optim.clip_grad_norm(bad, 1.0, error_if_nonfinite=True)
        with pytest.raises(TypeError, match=r"grads\['b\.w'\].*list"):
            optim.clip_grad_norm({"a": one, "b": {"w": [1.0]}}, 1.0)
        with pytest.raises(ValueError, match=r"one name twice, among \['a\.b\.w'\]"):
            optim.clip_grad_value({"a": {"b.w": one}, "a.b": {"w": one}}, 1.0)
        assert (one == 1).all()

    @pytest.mark.parametrize(
        "function, name",
        [(optim.clip_grad_norm, "max_norm"), (optim.clip_grad_value, "clip_value")],
    )
    def test_bad_argument_is_named(self, function, name):
        for value in (math.nan, math.inf, 0, -1):
            with pytest.raises(ValueError, match=f"{name} must be .* > 0; got"):
                function({"w": np.ones(2)}, value)
        with pytest.raises(TypeError, match=f"{name}.*'1'"):
            function({"w": np.ones(2)}, "1")
        with pytest.raises(TypeError, match=r"'w'.*list"):
            function({"w": [1.0]}, 1.0)
        with pytest.raises(TypeError, match=r"'w'.*int64"):
            function({"w": np.ones(2, int)}, 1.0)
        with pytest.raises(TypeError, match=r"'w'.*writable"):
            function({"w": np.broadcast_to(1.0, 3)}, 1.0)


@pytest.mark.peers
def test_clipping_is_that_of_torch():
    torch = pytest.importorskip("torch")
    (grads,) = make_grads(1)
    tensors = [torch.zeros(g.shape, requires_grad=True) for g in grads.values()]
    tensors = [t.to(torch.float64).detach().requires_grad_() for t in tensors]
    for tensor, grad in zip(tensors, grads.values(), strict=True):
        tensor.grad = torch.tensor(grad)
    theirs = torch.nn.utils.clip_grad_norm_(tensors, 0.7)
    assert optim.clip_grad_norm(grads, 0.7) == pytest.approx(theirs.item(), rel=1e-12)
    for tensor, grad in zip(tensors, grads.values(), strict=True):
        np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=1e-12)
