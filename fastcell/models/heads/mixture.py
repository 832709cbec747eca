"""Mixture density network: real frames as samples of a mixture of Gaussians."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastcell.losses.parts import divisor
from fastcell.models.heads.base import Head
from fastcell.models.search.sampling import draw_tokens, token_probabilities

_LOG_TWO_PI = math.log(2 * math.pi)


class Mixture(NamedTuple):
    """Parameters of N mixtures of M components, and logarithms of some."""

    log_weights: np.ndarray  # (N, M)
    means: np.ndarray  # (N, M, G)
    scales: np.ndarray  # (N, M, G), standard deviations
    exp: np.ndarray  # (N, M, G), e^sigma_hat, before min_scale
    rho: np.ndarray | None  # (N, M), correlations, or None
    log_rest: np.ndarray | None  # (N, M), log(1 - rho^2)


class MixtureHead(Head):
    r"""A mixture of M Gaussians, diagonal or, for two elements, with a correlation.

    The outputs of a step are :math:`\hat\pi_m, \mu_m, \hat\sigma_m` and, if correlated,
    :math:`\hat\rho_m`, in this order (Bishop 1994; Graves 2013, arXiv:1308.0850,
    equations 15 to 34):

    .. math::
        \pi &= \mathrm{softmax}(\hat\pi), \quad
            \sigma = e^{\hat\sigma} + \epsilon, \quad \rho = \tanh(\hat\rho) \\
        -\log p(y) &= -\log \sum_m \pi_m N(y; \mu_m, \sigma_m, \rho_m) \\
        \log N &= -\frac{q}{2} - \sum_g \log(\sigma_g \sqrt{2 \pi})
            - \frac12 \log(1 - \rho^2), \qquad z_g = (y_g - \mu_g) / \sigma_g \\
        q &= \sum_g z_g^2 \quad \mathrm{or} \quad
            \frac{z_1^2 + z_2^2 - 2 \rho z_1 z_2}{1 - \rho^2}

    Densities are summed by their logarithms. With :math:`\gamma_m = \pi_m N_m / \sum_k
    \pi_k N_k` and :math:`w = \partial q/2 / \partial z` the gradients are

    .. math::
        d\hat\pi &= \pi - \gamma, \quad d\mu = -\gamma w / \sigma, \quad
            d\hat\sigma = \gamma (1 - w z) (1 - \epsilon / \sigma) \\
        d\hat\rho &= -\gamma (z_1 z_2 + \rho (1 - q))

    With a temperature t, the weights are :math:`\mathrm{softmax}(\hat\pi / t)` and the
    scales :math:`\sigma \sqrt t` (Ha and Eck 2017, arXiv:1704.03477).

    Parameters
    ----------
    frame_size : int
        G.
    mixtures : int
        M.
    correlated : bool
        Whether components have a correlation; only if G is 2.
    min_scale : float
        The lower bound :math:`\epsilon` of all scales, from 0.
    dtype : dtype
        Dtype of the model.
    ignore_nan : bool, default False
        Whether elements of a frame may be NaN. The density is then the marginal one of
        the other elements.
    """

    def __init__(
        self,
        frame_size: int,
        mixtures: int,
        correlated: bool,
        min_scale: float,
        dtype: np.dtype,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(frame_size, dtype, ignore_nan)
        self.mixtures = mixtures
        self.correlated = correlated
        self.min_scale = min_scale
        self.outputs = mixtures * (1 + 2 * frame_size + correlated)

    def config(self) -> dict[str, Any]:
        """Return the model's arguments for the head."""
        names = ("mixtures", "correlated", "min_scale")
        return {**super().config(), **{name: getattr(self, name) for name in names}}

    def mixture(self, outputs: np.ndarray) -> Mixture:
        """Return the mixtures of outputs (N, `outputs`)."""
        M, MG = self.mixtures, self.mixtures * self.frame_size
        shape = (len(outputs), M, self.frame_size)
        logits = outputs[:, :M]
        means = outputs[:, M : M + MG].reshape(shape)
        with np.errstate(over="ignore"):
            exp = np.exp(outputs[:, M + MG : M + 2 * MG]).reshape(shape)
        rho = log_rest = None
        if self.correlated:
            r = outputs[:, M + 2 * MG :]
            rho, size = np.tanh(r), np.abs(r)
            # 1 - tanh(r)^2 would round to 0 for moderate r.
            log_rest = 2 * (math.log(2) - size - np.log1p(np.exp(-2 * size)))
        log_weights = logits - _log_sum_exp(logits)
        return Mixture(log_weights, means, exp + self.min_scale, exp, rho, log_rest)

    def loss(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean negative log-likelihood of a frame, and its gradient."""
        frames = self.frame_weights(targets, weights)
        frames = (frames / divisor("mean", float(frames.sum())))[:, np.newaxis]
        factors = frames.astype(outputs.dtype)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            of = self._seen(self.mixture(outputs), targets)
            joint, z, w, q = self._joint(of, targets)
            log_density = _log_sum_exp(joint)
            share = np.exp(joint - log_density) * factors  # gamma
            narrow = share[..., np.newaxis]
            slopes = 1 - w * z
            if self.ignore_nan:
                slopes = np.where(np.isnan(targets)[:, np.newaxis], 0, slopes)
            parts = [
                np.exp(of.log_weights) * factors - share,
                -narrow * w / of.scales,
                narrow * slopes * (of.exp / of.scales),
            ]
            if of.rho is not None:
                slopes = z[..., 0] * z[..., 1] + of.rho * (1 - q)
                if self.ignore_nan:
                    slopes[np.isnan(targets).any(axis=1)] = 0
                parts.append(-share * slopes)
        doutputs = np.concatenate(
            [p.reshape(len(p), math.prod(p.shape[1:])) for p in parts], axis=1
        )
        return -float((frames * log_density).sum()), doutputs

    def nll(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the negative log-likelihood of each frame."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            of = self._seen(self.mixture(outputs), targets)
            joint = self._joint(of, targets)[0]
            return -_log_sum_exp(joint)[:, 0].astype(np.float64)

    def mean(self, outputs: np.ndarray) -> np.ndarray:
        """Return the mean of the mixture."""
        of = self.mixture(outputs)
        mean: np.ndarray = np.einsum("nm,nmg->ng", np.exp(of.log_weights), of.means)
        return mean

    def sample(
        self, outputs: np.ndarray, temperature: float, random: np.random.Generator
    ) -> np.ndarray:
        """Return a sample; at a temperature of 0, the largest component's mean."""
        of, rows = self.mixture(outputs), np.arange(len(outputs))
        weights = token_probabilities(outputs[:, : self.mixtures], temperature)
        m = draw_tokens(weights, random)
        noise = random.standard_normal((len(outputs), self.frame_size))
        if of.rho is not None and of.log_rest is not None:
            rest = np.exp(of.log_rest[rows, m] / 2)
            noise[:, 1] = of.rho[rows, m] * noise[:, 0] + rest * noise[:, 1]
        drawn = of.means[rows, m] + of.scales[rows, m] * noise * math.sqrt(temperature)
        frames: np.ndarray = drawn.astype(outputs.dtype)
        return frames

    def _seen(self, of: Mixture, targets: np.ndarray) -> Mixture:
        """Return the mixtures, without correlation where one element is NaN."""
        if not self.ignore_nan or of.rho is None or of.log_rest is None:
            return of
        alone = np.isnan(targets).any(axis=1, keepdims=True)
        return of._replace(
            rho=np.where(alone, 0, of.rho), log_rest=np.where(alone, 0, of.log_rest)
        )

    def _joint(self, of: Mixture, targets: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return log(pi N) (N, M), z and w (N, M, G), and q (N, M).

        N is the marginal density of the elements that are not NaN.
        """
        z = (targets[:, np.newaxis] - of.means) / of.scales
        log_scales = np.log(of.scales)
        elements: Any = self.frame_size
        if self.ignore_nan:
            missing = np.isnan(targets)[:, np.newaxis]
            z, log_scales = (np.where(missing, 0, a) for a in (z, log_scales))
            elements = self.frame_size - missing.sum(axis=-1).astype(z.dtype)
        joint = of.log_weights - log_scales.sum(axis=-1) - elements / 2 * _LOG_TWO_PI
        if of.rho is None or of.log_rest is None:
            q, w = np.square(z).sum(axis=-1), z
        else:
            rho = of.rho[..., np.newaxis]
            w = (z - rho * z[..., ::-1]) * np.exp(-of.log_rest)[..., np.newaxis]
            # As a sum of squares: z1^2 + z2^2 - 2 rho z1 z2 suffers cancellation.
            q = (z[..., 0] - of.rho * z[..., 1]) * w[..., 0] + np.square(z[..., 1])
            joint -= of.log_rest / 2
        return joint - q / 2, z, w, q


def _log_sum_exp(a: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of the exponentials of each row, (N, 1)."""
    largest = a.max(axis=1, keepdims=True)
    log_sum: np.ndarray = largest + np.log(
        np.exp(a - largest).sum(axis=1, keepdims=True)
    )
    return log_sum
