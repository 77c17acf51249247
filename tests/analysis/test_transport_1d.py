import numpy as np
import ot
import pytest
from scipy.stats import norm, wasserstein_distance

from molflow.analysis.transport_1d import wasserstein_1d


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 73), (60, 40), (1, 7)])
def test_of_columns_is_scipys_and_pots(n, m):
    rng = np.random.default_rng(n + m)
    a, b = rng.normal(size=(n, 3)), rng.exponential(size=(m, 3))
    pairs = list(zip(a.T, b.T, strict=True))
    first = [wasserstein_distance(x, y) for x, y in pairs]
    assert wasserstein_1d(a, b, 1) == pytest.approx(first, rel=1e-12)
    second = [np.sqrt(ot.emd2_1d(x, y, metric="sqeuclidean")) for x, y in pairs]
    assert wasserstein_1d(a, b, 2) == pytest.approx(second, rel=1e-9)
    assert float(wasserstein_1d(a[:, 0], b[:, 0], 1)) == pytest.approx(first[0], rel=1e-12)


def test_of_two_normals():
    a = norm.ppf((np.arange(30_000) + 0.5) / 30_000)
    b = norm.ppf((np.arange(20_001) + 0.5) / 20_001)
    assert wasserstein_1d(2 * a + 1, b, 2) == pytest.approx(np.sqrt(2), rel=1e-3)
