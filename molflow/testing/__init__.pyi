# What the folder offers; loaded when it is first asked for.
from . import defects as defects
from .distance_only import DistanceOnly as DistanceOnly
from .equivariance import assert_equivariant as assert_equivariant
from .equivariance import equivariance_errors as equivariance_errors
from .equivariance import random_rotations as random_rotations
from .strong import assert_semigroup as assert_semigroup
from .strong import assert_strong_order as assert_strong_order
from .strong import semigroup_residual as semigroup_residual
from .strong import strong_errors as strong_errors
from .strong import strong_order as strong_order
