"""Learning-rate schedules."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fastcell import optim


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
