"""Adam in the eigenbasis of the gradients' second moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: Rows or columns of a matrix beyond which its side keeps its own basis.
LARGEST = 1024
#: Steps between two looks at the basis, which turns slowly.
EVERY = 10


class Soap(torch.optim.Optimizer):
    r"""SOAP of Vyas et al., arXiv 2409.11321, for small networks.

    Of the gradients G of a matrix the averages L of G Gᵀ and R of Gᵀ G are kept. Every `EVERY`
    steps their eigenvectors, Q_L and Q_R, are followed by one step of subspace iteration. Adam's
    rule is applied to Q_Lᵀ G Q_R, in which entries are less correlated than in G, and its step is
    turned back; squares are those of turned gradients. Bases are found in double precision, in
    which squares of small gradients are ordinary numbers. Of a vector, a matrix with a side of one,
    it is Adam. The first step of a matrix only finds the basis.

    Arrays of more dimensions are matrices whose last dimension is their second.

    Parameters
    ----------
    params : iterable of Parameter
    lr : float
    betas : tuple of float
        How much of both averages a step keeps; the second is that of L and R, too.
    eps : float
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, _matrix(parameter.grad), group)
        return loss

    def _move(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (keep, keep_square) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["mean"], state["square"] = (torch.zeros_like(gradient) for _ in range(2))
            for side, size in zip(("left", "right"), gradient.shape, strict=True):
                if 1 < size <= LARGEST and 1 not in gradient.shape:
                    state[side] = torch.zeros(size, size).to(gradient)
            self._gather(state, gradient, keep_square)
            for side in _sides(state):
                vectors = torch.linalg.eigh(state[side].double())[1].flip(1)
                state[f"{side}_basis"] = vectors.to(gradient)
            if _sides(state):
                return
        state["step"] += 1
        step = float(state["step"])
        state["mean"].lerp_(gradient, 1.0 - keep)
        turned = _turned(state, gradient)
        state["square"].lerp_(turned.square(), 1.0 - keep_square)
        size = (state["square"] / (1.0 - keep_square**step)).sqrt_().add_(group["eps"])
        move = _turned_back(state, _turned(state, state["mean"]) / (1.0 - keep**step) / size)
        parameter.add_(move.reshape(parameter.shape), alpha=-group["lr"])
        self._gather(state, gradient, keep_square)
        if step % EVERY == 0:
            _follow(state)

    @staticmethod
    def _gather(state: dict[str, Any], gradient: Tensor, keep: float) -> None:
        for side in _sides(state):
            rows = gradient if side == "left" else gradient.mT
            state[side].lerp_(rows @ rows.mT, 1.0 - keep)


def _matrix(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)


def _sides(state: dict[str, Any]) -> list[str]:
    return [side for side in ("left", "right") if side in state]


def _turned(state: dict[str, Any], values: Tensor) -> Tensor:
    if "left" in state:
        values = state["left_basis"].mT @ values
    return values @ state["right_basis"] if "right" in state else values


def _turned_back(state: dict[str, Any], values: Tensor) -> Tensor:
    if "left" in state:
        values = state["left_basis"] @ values
    return values @ state["right_basis"].mT if "right" in state else values


def _follow(state: dict[str, Any]) -> None:
    """Turn the bases towards the eigenvectors, the largest first, and squares with them."""
    for dim, side in enumerate(("left", "right")):
        if side in state:
            moment, kept = state[side].double(), state[f"{side}_basis"]
            basis = kept.double()
            order = torch.linalg.vecdot(basis, moment @ basis, dim=0).argsort(descending=True)
            state["square"] = state["square"].index_select(dim, order)
            state[f"{side}_basis"] = torch.linalg.qr(moment @ basis[:, order])[0].to(kept)
