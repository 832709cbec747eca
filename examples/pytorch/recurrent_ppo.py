"""RecurrentPPO of sb3-contrib before and after one line, and with a policy of 9 lines.

    python examples/pytorch/recurrent_ppo.py --threads 1

Needs `pip install sb3-contrib`. The task is CartPole without velocities: the policy
sees where cart and pole are and has to remember how they move. Everything is left at
its default: MlpLstmPolicy, two LSTM layers of 256 units, one environment, rollouts of
128 frames, ten epochs of updates.

Three learners with the same seed take turns, a rollout and its update each:

    before   unchanged
    swapped  fastcell.torch.accelerate(model.policy), no other change
    whole    the same, and a policy that gives the LSTM whole sequences in one call. The
             policy of sb3-contrib calls it for each step, since the state is zero where
             an episode begins; `reset` says where that is.

The largest error is that of values, log-probabilities and gradients of a batch. Rewards
are the means of the last 100 episodes: roundings differ, so after some updates one
action does, and from there on the learners differ as two seeds do.
"""

from __future__ import annotations

import inspect
import statistics
import time
from typing import Any

import before_after
import gymnasium
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

import fastcell.torch


class WholeSequences(RecurrentActorCriticPolicy):
    @staticmethod
    def _process_sequence(features, lstm_states, episode_starts, lstm):
        rows = lstm_states[0].shape[1]
        x = features.reshape(rows, -1, lstm.input_size).swapaxes(0, 1)
        starts = episode_starts.reshape(rows, -1).swapaxes(0, 1) > 0
        reset = starts if starts.any() else None
        y, lstm_states = lstm(x, lstm_states, reset=reset)
        return y.swapaxes(0, 1).flatten(0, 1), lstm_states


class WithoutVelocities(gymnasium.ObservationWrapper):
    """CartPole of which only the positions are seen."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        seen = env.observation_space
        self.observation_space = gymnasium.spaces.Box(seen.low[::2], seen.high[::2])

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[::2]


class Clock(BaseCallback):
    """Notes the seconds of each rollout and of each update."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[tuple[float, float]] = []

    def _on_rollout_start(self) -> None:
        self.begin = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.middle = time.perf_counter()

    def _on_training_end(self) -> None:
        end = time.perf_counter()
        self.seconds.append((self.middle - self.begin, end - self.middle))


class Learner:
    """A RecurrentPPO with random numbers of its own, which other runs leave alone."""

    def __init__(self, policy: Any, frames: int, seed: int, swap: bool) -> None:
        env = WithoutVelocities(gymnasium.make("CartPole-v1"))
        self.model = RecurrentPPO(policy, env, n_steps=frames, seed=seed, device="cpu")
        self.model.set_logger(Logger(None, []))
        if swap:
            fastcell.torch.accelerate(self.model.policy)
        self.clock = Clock()
        self._random = torch.get_rng_state(), np.random.get_state()

    def turn(self) -> None:
        """Learn from one rollout."""
        torch.set_rng_state(self._random[0])
        np.random.set_state(self._random[1])
        frames = self.model.n_steps
        self.model.learn(frames, self.clock, reset_num_timesteps=False)
        self._random = torch.get_rng_state(), np.random.get_state()

    def reward(self) -> float:
        """Return the mean over the last episodes."""
        return float(np.mean([episode["r"] for episode in self.model.ep_info_buffer]))

    def results(self, batch: Any) -> list[torch.Tensor]:
        """Return values, log-probabilities and gradients of a batch of a rollout."""
        actions = batch.actions.long().flatten()
        policy = self.model.policy
        values, log_prob, _ = policy.evaluate_actions(
            batch.observations, actions, batch.lstm_states, batch.episode_starts
        )
        parameters = list(policy.parameters())
        gradients = torch.autograd.grad(values.sum() + log_prob.sum(), parameters)
        return [values.detach(), log_prob.detach(), *gradients]


def learners(frames: int, seed: int) -> dict[str, Learner]:
    """Return the three learners, by name."""
    return {
        "before": Learner("MlpLstmPolicy", frames, seed, swap=False),
        "swapped": Learner("MlpLstmPolicy", frames, seed, swap=True),
        "whole": Learner(WholeSequences, frames, seed, swap=True),
    }


def largest_errors(frames: int, seed: int) -> dict[str, float]:
    """Return those of the swapped ones, on a rollout of the first."""
    made = learners(frames, seed)
    made["before"].turn()
    weights = made["before"].model.policy.state_dict()
    batch = next(made["before"].model.rollout_buffer.get(frames))
    expected = made["before"].results(batch)
    errors = {}
    for name in ("swapped", "whole"):
        made[name].model.policy.load_state_dict(weights)
        errors[name] = before_after.error(made[name].results(batch), expected)
    return errors


def main() -> None:
    """Compare the numbers, then learn in turns and print frames/s and rewards."""
    parser = before_after.options(__doc__)
    parser.set_defaults(blocks=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=128, help="of a rollout")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    errors = largest_errors(args.frames, 0)
    process = WholeSequences._process_sequence
    # The method, its class, the import of the base, the name in place of MlpLstmPolicy.
    policy = len(inspect.getsource(process).splitlines()) + 3
    before_after.tell(2, errors["swapped"], args.threads)
    print(f"lines changed, whole sequences: {2 + policy}")
    print(f"largest error, whole sequences: {errors['whole']:.1e}", flush=True)

    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        made = learners(args.frames, seed)
        for _ in range(args.blocks):
            for learner in made.values():
                learner.turn()
        for name, learner in made.items():
            found.setdefault(name, []).extend(learner.clock.seconds)
        rewards = [f"{name} {learner.reward():.1f}" for name, learner in made.items()]
        print(f"mean reward, seed {seed}: {', '.join(rewards)}", flush=True)

    parts = {
        "both": sum,
        "rollout": lambda pair: pair[0],
        "update": lambda pair: pair[1],
    }
    for part, of in parts.items():
        medians = {n: statistics.median(map(of, pairs)) for n, pairs in found.items()}
        print(f"{part}, frames/s:", end="")
        for name, median in medians.items():
            times = medians["before"] / median
            print(f" {name} {args.frames / median:.0f} ({times:.2f} times)", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
