"""A linear equation in several dimensions whose strong solution is known exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.sde.base import AdditiveSDE, exponential_feature, time_tensor
from molflow.sde.constants import Constants


class MatrixOrnsteinUhlenbeck(AdditiveSDE):
    r"""dX = K (mean − X) dt + S dW in d dimensions; states (B, d), increments (B, k, size).

    With K = V diag(κ) V⁻¹ every component of the martingale is a sum of the exponential features
    of the rates κ: M = Σ_i V_i (V⁻¹ S)_i F_κi. Lift and gain are (d, d) matrices.

    Parameters
    ----------
    pull : Tensor, (d, d)
        K, with distinct real positive eigenvalues; rotations (complex pairs) and defective
        matrices are not accepted, because their features are not exponentials.
    noise : Tensor, (d, k)
        S.
    mean : Tensor, (d,)
    """

    constants: Constants

    def __init__(self, pull: Tensor, noise: Tensor, mean: Tensor) -> None:
        d = len(mean)
        if pull.shape != (d, d) or noise.ndim != 2 or len(noise) != d:
            raise MolflowError(
                f"pull has shape {tuple(pull.shape)}, noise {tuple(noise.shape)} and mean "
                f"{tuple(mean.shape)}: give (d, d), (d, k) and (d,)."
            )
        pull, noise, mean = pull.double(), noise.double(), mean.double()
        rates, vectors = torch.linalg.eig(pull)
        gaps = (rates[:, None] - rates).abs() + torch.eye(d) * rates.abs().max()
        spread = 1e-6 * rates.abs().max()
        if rates.imag.abs().max() > 1e-12 * rates.abs().max() or not bool((rates.real > 0).all()):
            raise MolflowError(
                f"The eigenvalues of pull are {rates.tolist()}: they must be real and positive."
            )
        if gaps.min() < spread:
            raise MolflowError(
                f"The eigenvalues of pull are {rates.real.tolist()}: they must be distinct."
            )
        self.rates_of_modes = tuple(rates.real.tolist())
        vectors = vectors.real
        self.constants = Constants(
            pull=pull, noise=noise, mean=mean,
            decays=rates.real, vectors=vectors, inverse=torch.linalg.inv(vectors),
        )  # fmt: skip

    @property
    def mean(self) -> Tensor:
        """(d,) float64."""
        return self.constants.mean

    def basis(self, order: int) -> Basis:
        """Return the basis in which the strong solution is exact."""
        return Basis(order, self.rates_of_modes)

    def nonlinear(self, t: Tensor, x: Tensor) -> Tensor:
        """Return n = mean, (B, d)."""
        return self.mean.to(x.dtype).expand_as(x)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a = −K and b = K as (d, d) matrices, and S (d, k)."""
        return -self.constants.pull, self.constants.pull, self.constants.noise

    def lift(self, s: Tensor, t: Tensor) -> Tensor:
        """Return exp(−K h), (..., d, d)."""
        h = time_tensor(t) - time_tensor(s)
        return self._function(torch.exp(-h[..., None] * self.constants.decays))

    def gain(self, s: Tensor, t: Tensor) -> Tensor:
        """Return 1 − exp(−K h), (..., d, d)."""
        h = time_tensor(t) - time_tensor(s)
        return self._function(-torch.expm1(-h[..., None] * self.constants.decays))

    def kernel(self, u: Tensor, t: Tensor) -> Tensor:
        """Return exp(−K (t − u)) S, (*u.shape, d, k) float64."""
        return self.lift(u, t) @ self.constants.noise

    def martingale_variance(self, s: Tensor, t: Tensor) -> Tensor:
        """Return the variance of each component of M, (..., d), summed over the k paths."""
        return super().martingale_variance(s, t).sum(-1)

    def martingale(self, s: Tensor, t: Tensor, increment: Increment) -> Tensor:
        shares = self.constants.inverse @ self.constants.noise
        modes = [
            exponential_feature(increment, rate) @ share.to(increment.features.dtype)
            for rate, share in zip(self.rates_of_modes, shares, strict=True)
        ]
        return torch.stack(modes, dim=-1) @ self.constants.vectors.mT.to(increment.features.dtype)

    def apply(self, s: Tensor, t: Tensor, x: Tensor, mean: Tensor, increment: Increment) -> Tensor:
        lift, gain = (matrix.to(x.dtype) for matrix in (self.lift(s, t), self.gain(s, t)))
        moved = (lift @ x[..., None] + gain @ mean[..., None])[..., 0]
        return moved + self.martingale(s, t, increment)

    def drift(self, t: Tensor, x: Tensor, n: Tensor) -> Tensor:
        """Return K (n − x), (B, d)."""
        return (n - x) @ self.constants.pull.mT.to(x.dtype)

    def noise(self, t: Tensor, change: Tensor) -> Tensor:
        """Return S dW, (B, d), for dW (B, k)."""
        return change @ self.constants.noise.mT.to(change.dtype)

    def exact(self, s: Tensor, t: Tensor, x: Tensor, increment: Increment) -> Tensor:
        """Return X_t from X_s = x, (B, d), on the path of the increment."""
        return self.apply(s, t, x, self.nonlinear(s, x), increment)

    def _function(self, values: Tensor) -> Tensor:
        """V diag(values) V⁻¹."""
        return (self.constants.vectors * values[..., None, :]) @ self.constants.inverse
