"""The mean path given the features of a step, by quadrature and without the package's algebra."""

from __future__ import annotations

import numpy as np
import torch

from molflow.brownian.increment import Increment

NODE, WEIGHT = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(40))


class MeanPath:
    """w(u) = k(u)^T C^-1 F with the kernels k of the features F and C = int k k^T du.

    Parameters
    ----------
    s, t : Tensor, (B,)
        Ends of the step, far enough apart for C to be inverted.
    increment : Increment
        Over [s, t].
    """

    def __init__(self, s, t, increment):
        self.basis, self.s, self.t = increment.basis, s, t
        u, weight = self._nodes(s, t)
        kernels = self._kernels(s, t, u)
        covariance = torch.einsum("bu,buk,bul->bkl", weight, kernels, kernels)
        # Features (B, d, k) as columns.
        self.response = torch.linalg.solve(covariance, increment.features.mT)

    def rate(self, u):
        """Return w(u), (B, d), for u (B,)."""
        return (self._kernels(self.s, self.t, u[:, None]) @ self.response)[:, 0]

    def increment(self, a, b):
        """Return the increment over [a, b]; outside [s, t] the path goes on analytically."""
        u, weight = self._nodes(a, b)
        rates = self._kernels(self.s, self.t, u) @ self.response
        kernels = self._kernels(a, b, u)
        features = torch.einsum("bu,bud,buk->bdk", weight, rates, kernels)
        return Increment(self.basis, b - a, features)

    def _nodes(self, a, b):
        half = 0.5 * (b - a)[:, None]
        return 0.5 * (a + b)[:, None] + half * NODE, half * WEIGHT

    def _kernels(self, a, b, u):
        theta = 2.0 * (u - a[:, None]) / (b - a)[:, None] - 1.0
        legendre = np.polynomial.legendre.legvander(theta.numpy(), self.basis.order - 1)
        decays = [torch.exp(-p * (b[:, None] - u)) for p in self.basis.rates]
        return torch.cat([torch.from_numpy(legendre), *(d[..., None] for d in decays)], dim=-1)


def difference(function, step):
    """Return the derivative at 0 of a function of a number, by differences of fourth order."""
    near, far = function(step) - function(-step), function(2 * step) - function(-2 * step)
    return (8.0 * near - far) / (12.0 * step)
