"""Products of differences of vectors, on which all distances rest."""

import torch

from molflow.nn.vectors import difference_products


def random_vectors(dtype):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 22, 3, 9, generator=generator, dtype=torch.float64).to(dtype)


def test_products_are_those_of_the_differences():
    vectors = random_vectors(torch.float64)
    between = vectors.unsqueeze(2) - vectors.unsqueeze(1)
    expected = torch.einsum("bijx,bijxk->bijk", between[..., 0], between)
    assert (difference_products(vectors) - expected).abs().max() < 1e-13


def test_an_atom_is_at_no_distance_from_itself():
    """In single precision, where what is left would be as large as the width it is measured by."""
    products = difference_products(random_vectors(torch.float32))
    assert products.diagonal(dim1=1, dim2=2).abs().max() == 0.0
