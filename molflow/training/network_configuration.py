"""Typed configuration of the networks: one class for each kind, chosen by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from molflow.training.section import Section


class DenseConfig(Section):
    """Dense equivariant attention over all pairs of atoms, for small molecules."""

    kind: Literal["dense"] = "dense"
    scalars: int = Field(96, gt=0, description="scalar channels per atom")
    vectors: int = Field(48, gt=0, description="vector channels per atom")
    heads: int = Field(8, gt=0, description="attention heads; divides scalars and vectors")
    layers: int = Field(4, gt=0)
    pair_width: int = Field(32, gt=0, description="features per pair of atoms")

    @model_validator(mode="after")
    def _divisible(self):
        if self.scalars % self.heads or self.vectors % self.heads:
            raise ValueError("heads must divide scalars and vectors")
        return self


class SparseConfig(Section):
    """Equivariant attention among neighbours, for molecules of any size."""

    kind: Literal["sparse"]
    scalars: int = Field(96, gt=0, description="scalar channels per atom")
    vectors: int = Field(48, gt=0, description="vector channels per atom")
    heads: int = Field(8, gt=0, description="attention heads; divides scalars")
    layers: int = Field(4, gt=0)
    edge_width: int = Field(32, gt=0, description="features per edge")
    neighbours: int = Field(
        32, gt=0, description="neighbours looked for; a molecule with no more has all its pairs"
    )
    recompute: bool = Field(
        False, description="compute layers again in the backward pass: less memory, more time"
    )

    @model_validator(mode="after")
    def _divisible(self):
        if self.scalars % self.heads:
            raise ValueError("heads must divide scalars")
        return self


class TensorProductConfig(Section):
    """Message passing by tensor products of irreducible representations, up to degree 3."""

    kind: Literal["tensor_product"]
    irreps: str = Field(
        "32x0e + 16x1e + 8x2e",
        pattern=r"^ *\d+x[0-3]e *(\+ *\d+x[0-3]e *)*$",
        description="channels per atom by degree, all even; with 0e and 1e",
    )
    layers: int = Field(3, gt=0)
    edge_width: int = Field(32, gt=0, description="features per edge")
    neighbours: int = Field(
        32, gt=0, description="neighbours looked for; a molecule with no more has all its pairs"
    )
    recompute: bool = Field(
        False, description="compute layers again in the backward pass: less memory, more time"
    )


#: The kinds there are; those of files from before there was a choice are the first.
KINDS = ("dense", "sparse", "tensor_product")


def _kind(section: Any) -> str | None:
    if isinstance(section, dict):
        return section.get("kind", KINDS[0])
    return getattr(section, "kind", None)


NetworkConfig = Annotated[
    Annotated[DenseConfig, Tag("dense")]
    | Annotated[SparseConfig, Tag("sparse")]
    | Annotated[TensorProductConfig, Tag("tensor_product")],
    Discriminator(
        _kind,
        custom_error_type="network_kind",
        custom_error_message=f"network.kind must be one of {', '.join(KINDS)}",
    ),
]


def network_configuration(section: dict[str, Any]) -> NetworkConfig:
    """Return the checked configuration of a network.

    Raises
    ------
    pydantic.ValidationError
        If the kind or a key is unknown, or a value is not allowed.
    """
    return TypeAdapter(NetworkConfig).validate_python(section)
