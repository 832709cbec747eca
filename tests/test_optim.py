"""Optimizers against their recurrences in float64; clipping; schedules; resuming."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest

from fastcell import optim
from fastcell.optim import SGD, Adagrad, Adam, AdamW, RMSprop

# Relative. float64: the recurrence adds up in another order, over 25 steps. float32:
# each step rounds a parameter of about 1 by 6e-8, 25 times, and its change likewise.
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}
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
            # All elements at the ends of the blocks, and some in between.
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
    def test_blocks_make_no_difference(self, cls, recurrence, options, monkeypatch):
        results = []
        for block in (16384, 5):
            monkeypatch.setattr("fastcell.optim.base._BLOCK", block)
            params = make_params(shapes={"weight": (23,)})
            optimizer = cls(params, **options)
            for grad in make_grads(3, shapes={"weight": (23,)}):
                optimizer.step(grad)
            results.append(params["weight"])
        np.testing.assert_array_equal(*results)

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
            assert tracemalloc.get_traced_memory()[1] < 50_000  # a block has 65,536
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


class TestState:
    @instances
    def test_resumed_run_is_bit_identical(self, cls, recurrence, options):
        grads = make_grads(10, np.float32)
        whole, part = make_params(np.float32), make_params(np.float32)
        optimizer = cls(whole, **options)
        for grad in grads:
            optimizer.step(grad)

        first = cls(part, **options)
        for grad in grads[:4]:
            first.step(grad)
        first.lr = first.lr  # as a schedule does
        state = first.state_dict()
        scalars = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
        state.update(json.loads(json.dumps(scalars)))
        second = cls(part, **options)
        second.load_state_dict(state)
        assert second.steps == 4
        for grad in grads[4:]:
            second.step(grad)
        for name in whole:
            np.testing.assert_array_equal(whole[name], part[name])
        for key, value in optimizer.state_dict().items():
            np.testing.assert_array_equal(value, second.state_dict()[key])

    @instances
    def test_hyperparameters_are_restored(self, cls, recurrence, options):
        params = make_params()
        optimizer = cls(params, **options)
        other = cls(params)
        other.load_state_dict(optimizer.state_dict())
        for name, value in options.items():
            assert getattr(other, name) == value
        assert repr(other) == repr(optimizer)

    @classes
    def test_state_is_a_copy_both_ways(self, cls):
        params, grads = make_params(), make_grads(3)
        optimizer = cls(params)
        optimizer.step(grads[0])
        state = optimizer.state_dict()
        arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
        kept = {k: v.copy() for k, v in arrays.items()}
        optimizer.step(grads[1])
        optimizer.load_state_dict(state)
        optimizer.step(grads[2])
        for key, value in arrays.items():
            np.testing.assert_array_equal(value, kept[key])

    def test_keys_are_torch_names(self):
        state = Adam({"0.weight": np.zeros((2, 3))}, amsgrad=True).state_dict()
        assert set(state) == {
            "class",
            "steps",
            "lr",
            "beta1",
            "beta2",
            "eps",
            "weight_decay",
            "amsgrad",
            "exp_avg.0.weight",
            "exp_avg_sq.0.weight",
            "max_exp_avg_sq.0.weight",
        }

    @pytest.mark.parametrize(
        "change, error, message",
        [
            ({"class": "SGD"}, ValueError, "class Adam; got 'SGD'"),
            ({"class": None}, ValueError, "lacks|class Adam; got None"),
            ({"steps": None}, ValueError, "lacks 'steps'"),
            ({"steps": -1}, ValueError, "steps.*-1"),
            ({"steps": 1.5}, TypeError, "steps.*1.5"),
            ({"beta1": None}, ValueError, "lacks 'beta1'"),
            ({"beta1": 1.0}, ValueError, "beta1.*1.0"),
            ({"lr": math.nan}, ValueError, "lr.*nan"),
            ({"exp_avg.w": None}, ValueError, "lacks 'exp_avg.w'"),
            ({"exp_avg.w": np.zeros(3)}, ValueError, r"exp_avg.w.*\(2,\).*\(3,\)"),
            (
                {"exp_avg.w": np.zeros(2, np.float32)},
                TypeError,
                "exp_avg.w.*float64.*float32",
            ),
            ({"exp_avg.v": np.zeros(2)}, ValueError, "no place for 'exp_avg.v'"),
            ({"surprise": 1}, ValueError, "no place for 'surprise'"),
        ],
    )
    def test_bad_state_is_named_and_changes_nothing(self, change, error, message):
        params = {"w": np.zeros(2)}
        optimizer = Adam(params)
        optimizer.step({"w": np.ones(2)})
        before = optimizer.state_dict()
        state = {**Adam(params, lr=0.5).state_dict(), **change}
        state = {key: value for key, value in state.items() if value is not None}
        with pytest.raises(error, match=message):
            optimizer.load_state_dict(state)
        after = optimizer.state_dict()
        assert before.keys() == after.keys()
        for key, value in before.items():
            np.testing.assert_array_equal(value, after[key])


class TestBadArguments:
    @classes
    @pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 10**400])
    def test_learning_rate(self, cls, value):
        with pytest.raises(ValueError, match="lr must be a finite number >= 0"):
            cls(make_params(), lr=value)
        optimizer = cls(make_params(), lr=0.5)
        with pytest.raises(ValueError, match="lr must be a finite number >= 0"):
            optimizer.lr = value
        assert optimizer.lr == 0.5

    @pytest.mark.parametrize(
        "cls, name",
        [
            (SGD, "momentum"),
            (SGD, "dampening"),
            (SGD, "weight_decay"),
            (RMSprop, "alpha"),
            (RMSprop, "eps"),
            (RMSprop, "weight_decay"),
            (RMSprop, "momentum"),
            (Adagrad, "lr_decay"),
            (Adagrad, "weight_decay"),
            (Adagrad, "initial_accumulator_value"),
            (Adagrad, "eps"),
            (Adam, "eps"),
            (Adam, "weight_decay"),
            (AdamW, "eps"),
            (AdamW, "weight_decay"),
        ],
    )
    def test_hyperparameter(self, cls, name):
        for value in (math.nan, math.inf, -math.inf):
            with pytest.raises(ValueError, match=f"{name} must be a finite.*inf|nan"):
                cls(make_params(), **{name: value})
        for value in ("0.1", None, True, 1j):
            with pytest.raises(TypeError, match=f"{name} must be a finite number"):
                cls(make_params(), **{name: value})
        if name != "dampening":
            with pytest.raises(ValueError, match=f"{name} must be .* >= 0.*got -1"):
                cls(make_params(), **{name: -1})

    @pytest.mark.parametrize("cls", [Adam, AdamW])
    def test_betas(self, cls):
        for betas, name in (
            ((1.0, 0.9), "beta1"),
            ((0.9, 1.0), "beta2"),
            ((-0.1, 0.9), "beta1"),
            ((0.9, math.nan), "beta2"),
        ):
            with pytest.raises(ValueError, match=f"{name} must be .*>= 0 and < 1"):
                cls(make_params(), betas=betas)
        for betas in (0.9, (0.9,), (0.9, 0.99, 0.999)):
            with pytest.raises(ValueError, match="betas must be a pair"):
                cls(make_params(), betas=betas)
        assert cls(make_params(), betas=[0.5, 0.6]).betas == (0.5, 0.6)

    def test_alpha_of_one(self):
        with pytest.raises(ValueError, match=r"alpha must be .*< 1; got 1"):
            RMSprop(make_params(), alpha=1)

    @pytest.mark.parametrize(
        "cls, name", [(SGD, "nesterov"), (RMSprop, "centered"), (Adam, "amsgrad")]
    )
    def test_flag(self, cls, name):
        with pytest.raises(TypeError, match=f"{name} must be True or False; got 1"):
            cls(make_params(), **{name: 1})

    def test_nesterov_needs_momentum_without_dampening(self):
        with pytest.raises(ValueError, match="nesterov needs a momentum > 0"):
            SGD(make_params(), nesterov=True)
        with pytest.raises(ValueError, match=r"dampening of 0; .*dampening 0.5"):
            SGD(make_params(), momentum=0.9, dampening=0.5, nesterov=True)

    def test_only_the_learning_rate_may_be_assigned(self):
        optimizer = SGD(make_params(), momentum=0.9)
        with pytest.raises(AttributeError, match="momentum is fixed"):
            optimizer.momentum = 0.5
        assert optimizer.momentum == 0.9

    @pytest.mark.parametrize(
        "params, error, message",
        [
            ([np.zeros(2)], TypeError, "params must be a mapping.*list"),
            ({}, ValueError, "params must hold at least one array"),
            ({"w": [1.0]}, TypeError, "params.'w'.*list"),
            ({"w": np.zeros(2, int)}, TypeError, "params.'w'.*int64"),
            ({"w": np.zeros(2, np.float16)}, TypeError, "params.'w'.*float16"),
            ({"w": np.zeros((3, 2)).T}, ValueError, "params.'w'.*C-contiguous"),
            ({"w": np.broadcast_to(1.0, 3)}, ValueError, "params.'w'.*writable"),
        ],
    )
    def test_params(self, params, error, message):
        with pytest.raises(error, match=message):
            SGD(params)

    def test_params_that_share_memory(self):
        weight = np.zeros((4, 3))
        for other in (weight, weight[3:], weight.reshape(-1)[:1]):
            with pytest.raises(ValueError, match=r"'[ab]'.* and .*'[ab]'.* share"):
                SGD({"a": weight, "z": np.zeros(2), "b": other})
        SGD({"a": weight[:2], "b": weight[2:]})

    @pytest.mark.parametrize(
        "grads, error, message",
        [
            ({"w": np.zeros((2, 3))}, ValueError, "grads.*'b'; got none"),
            (
                {"w": np.zeros((2, 3)), "b": np.zeros(2), "c": np.zeros(1)},
                ValueError,
                "grads.*'w', 'b'.*got 'c'",
            ),
            (
                {"w": np.zeros((3, 2)), "b": np.zeros(2)},
                ValueError,
                r"grads.'w'.*\(2, 3\).*\(3, 2\)",
            ),
            (
                {"w": np.zeros((2, 3)), "b": np.zeros(2, np.float32)},
                TypeError,
                "grads.'b'.*float64.*float32",
            ),
        ],
    )
    @classes
    def test_gradients_change_nothing_if_bad(self, cls, grads, error, message):
        params = {"w": np.ones((2, 3)), "b": np.ones(2)}
        optimizer = cls(params, lr=0.1)
        with pytest.raises(error, match=message):
            optimizer.step(grads)
        assert optimizer.steps == 0
        assert (params["w"] == 1).all()

    def test_parameter_that_was_replaced(self):
        params = {"w": np.ones(2)}
        optimizer = SGD(params)
        params["w"] = np.ones(3)
        with pytest.raises(ValueError, match=r"params must stay.*\(2,\).*\(3,\)"):
            optimizer.step({"w": np.ones(2)})


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


class TestSchedules:
    def test_step_falls_in_steps(self):
        schedule = optim.step(3, gamma=0.5)
        assert [schedule(n) for n in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]

    def test_cosine_ends_at_its_final_factor(self):
        schedule = optim.cosine(10, final_factor=0.2)
        factors = [schedule(n) for n in range(13)]
        assert factors[0] == 1.0
        assert factors[5] == pytest.approx(0.6)
        assert factors[10:] == [0.2, 0.2, 0.2]
        assert factors[:11] == sorted(factors[:11], reverse=True)

    def test_warmup_rises_and_hands_over(self):
        schedule = optim.warmup(4, then=optim.step(2, gamma=0.1))
        expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.1, 0.1]
        assert [schedule(n) for n in range(8)] == pytest.approx(expected)
        assert [optim.warmup(2)(n) for n in range(4)] == [0.5, 1.0, 1.0, 1.0]
        assert optim.warmup(0, then=lambda n: n / 8)(4) == 0.5

    def test_plateau_waits_for_its_patience(self):
        schedule = optim.plateau(factor=0.5, patience=2, threshold=0.1)
        factors = []
        for loss in (1.0, 0.95, 0.95, 0.95, 0.5, 0.46, 0.46, math.nan):
            schedule.update(loss)
            factors.append(schedule(0))
        # 0.95 is no tenth better than 1.0, nor 0.46 than 0.5; NaN is never better.
        assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]

    def test_plateau_cools_down_and_stops_at_its_floor(self):
        schedule = optim.plateau(factor=0.1, patience=0, cooldown=2, min_factor=0.05)
        factors = []
        for _ in range(8):
            schedule.update(1.0)
            factors.append(schedule(0))
        assert factors == [1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]

    def test_plateau_of_values_that_should_grow_or_are_negative(self):
        schedule = optim.plateau(factor=0.5, patience=0, mode="max")
        for value in (0.5, 0.6, 0.7):
            schedule.update(value)
        assert schedule(0) == 1.0
        schedule.update(0.65)
        assert schedule(0) == 0.5
        schedule = optim.plateau(factor=0.5, patience=0, threshold=0.01)
        for value in (-1.0, -1.1, -1.105):
            schedule.update(value)
        assert schedule(0) == 0.5

    def test_plateau_resumes(self):
        losses = np.random.default_rng(0).random(40)
        make = lambda: optim.warmup(3, then=optim.plateau(0.5, 2, cooldown=1))  # noqa: E731
        whole, first, second = make(), make(), make()
        for loss in losses:
            whole.update(loss)
        for loss in losses[:17]:
            first.update(loss)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for loss in losses[17:]:
            second.update(loss)
        assert second.state_dict() == whole.state_dict()
        assert second(10) == whole(10) < 1

    @pytest.mark.parametrize(
        "schedule",
        [optim.step(2), optim.cosine(2), optim.warmup(2, then=lambda n: 1.0)],
    )
    def test_schedules_without_state(self, schedule):
        before = schedule(1)
        schedule.update(1.0)
        assert schedule.state_dict() == {}
        schedule.load_state_dict({})
        assert schedule(1) == before
        with pytest.raises(ValueError, match="keys"):
            schedule.load_state_dict({"factor": 1.0})

    @pytest.mark.parametrize("value", [math.nan, 2.0, -1, "1"])
    def test_bad_state_of_plateau_changes_nothing(self, value):
        schedule = optim.plateau()
        schedule.update(1.0)
        before = schedule.state_dict()
        with pytest.raises((TypeError, ValueError), match="factor"):
            schedule.load_state_dict({**before, "best": 0.5, "factor": value})
        assert schedule.state_dict() == before

    @pytest.mark.parametrize(
        "make, error, message",
        [
            (lambda: optim.step(0), ValueError, "step_size.*>= 1; got 0"),
            (lambda: optim.step(1.5), TypeError, "step_size.*1.5"),
            (lambda: optim.step(1, gamma=math.nan), ValueError, "gamma.*nan"),
            (lambda: optim.cosine(0), ValueError, "total_steps"),
            (lambda: optim.cosine(5, final_factor=2), ValueError, "final_factor"),
            (lambda: optim.warmup(-1), ValueError, "warmup_steps"),
            (lambda: optim.warmup(1, then=0.5), TypeError, "then.*0.5"),
            (lambda: optim.plateau(factor=1.0), ValueError, "factor.*< 1"),
            (lambda: optim.plateau(patience=-1), ValueError, "patience"),
            (lambda: optim.plateau(threshold=math.inf), ValueError, "threshold"),
            (lambda: optim.plateau(cooldown=-1), ValueError, "cooldown"),
            (lambda: optim.plateau(min_factor=-1), ValueError, "min_factor"),
            (lambda: optim.plateau(mode="best"), ValueError, "mode.*'best'"),
            (lambda: optim.step(2)(-1), ValueError, "step.*-1"),
            (lambda: optim.cosine(2)(0.5), TypeError, "step.*0.5"),
        ],
    )
    def test_bad_argument_is_named(self, make, error, message):
        with pytest.raises(error, match=message):
            make()


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
