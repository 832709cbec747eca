"""State dicts of optimizers: round trips, and refusals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from recurrences import classes, instances, make_grads, make_params

from fastcell.optim import SGD, Adagrad, Adam, AdamW, RMSprop


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
            ((1.0, 0.9), "betas.0."),
            ((0.9, 1.0), "betas.1."),
            ((-0.1, 0.9), "betas.0."),
            ((0.9, math.nan), "betas.1."),
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

    def test_parameter_that_was_turned(self):
        params = {"w": np.ones((2, 3))}
        optimizer = SGD(params)
        params["w"] = np.ones((3, 2))
        with pytest.raises(ValueError, match=r"params must stay.*\(2, 3\).*\(3, 2\)"):
            optimizer.step({"w": np.ones((3, 2))})
        params["w"] = np.ones((3, 2)).T
        with pytest.raises(ValueError, match="params must stay C-contiguous"):
            optimizer.step({"w": np.ones((2, 3))})
        assert optimizer.steps == 0
