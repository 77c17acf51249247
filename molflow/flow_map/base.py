"""The strong flow map: exact lift and martingale, and a learned mean."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.flow_map.step import check_step
from molflow.nn.precision import set_products
from molflow.sde.base import AdditiveSDE


class FlowMap(nn.Module, ABC):
    r"""X_t = Φ x + G n̄ + M, of which n̄ is learned.

    n̄ is the weighted mean along the path of what `AdditiveSDE` calls n, given the features of
    the increment; lift Φ, gain G and martingale M are the equation's.

    Attributes
    ----------
    sde : AdditiveSDE
    basis : Basis
        Features of the increments that the map takes.
    network : nn.Module
        What is learned, where it is a network.
    """

    sde: AdditiveSDE
    basis: Basis
    network: nn.Module

    def __setattr__(self, name: str, value) -> None:
        super().__setattr__(name, value)
        if name == "sde" and value.constants is not None:
            # Part of the map, so that they follow it to a device.
            self.add_module("equation", value.constants)

    @abstractmethod
    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return n̄, (B, *shape).

        Parameters
        ----------
        s, t : Tensor, () or (B,)
            Ends of the step, s <= t.
        x : Tensor, (B, *shape)
            State at s.
        whitened : Tensor, (B, *shape, features)
            Whitened features of the increment, without influence when s = t.
        """

    def planned_mean(self, s: float, t: float, x: Tensor, whitened: Tensor) -> Tensor:
        """Return n̄ as `mean` does, for ends that are numbers and the same for all.

        A walk knows them on the processor, so that nothing has to be asked of another device.
        """
        first, last = (torch.tensor(end, dtype=torch.float64) for end in (s, t))
        return self.mean(first, last, x, whitened)

    def unit(self, s: Tensor) -> Tensor:
        """Return the size of an ordinary error of n̄ at s, shaped as s: the unit of losses."""
        return torch.ones_like(s)

    def no_features(self, x: Tensor) -> Tensor:
        """Return whitened features that are all zero, for a step of no length from x."""
        return x.new_zeros(*x.shape, self.basis.size)

    def compile_parts(self) -> None:
        """Have `torch.compile` make machine code, at the first call, of what takes the time.

        In place, so that the names of the weights stay.
        """
        self.network.compile(dynamic=False)

    def calculated(self, precision: str | None = None, compiled: bool = False) -> Self:
        """Return the map with its network calculated in another way; itself where nothing changes.

        Parameters
        ----------
        precision : str, optional
            Of the network's matrix products, see `EquivariantNetwork.products`; by default what
            it is.
        compiled : bool
            See `compile_parts`.

        Raises
        ------
        MolflowError
            If there is no such precision, or the network is of another make.
        """
        if precision is None and not compiled:
            return self
        # A copy: the caller's map stays what it is.
        found = copy.deepcopy(self)
        if precision is not None:
            set_products(found.network, precision)
        if compiled:
            found.compile_parts()
        return found

    def forward(self, s: Tensor, t: Tensor, x: Tensor, increment: Increment) -> Tensor:
        """Return X_t given X_s = x and the increment over [s, t]; shapes as in `mean`.

        Raises
        ------
        MolflowError
            If the shapes do not belong together, or the increment is of another basis.
        """
        check_step(self.sde, self.basis, s, t, x, increment)
        return self.sde.apply(s, t, x, self.mean(s, t, x, increment.whitened()), increment)
