# What the folder offers; loaded when it is first asked for.
from .eulerian import eulerian_residual as eulerian_residual
from .eulerian import mean_flow_residual as mean_flow_residual
from .families import FAMILIES as FAMILIES
from .families import Family as Family
from .lagrangian import lagrangian_residual as lagrangian_residual
from .matching import direct_residual as direct_residual
from .matching import euler_matching_residual as euler_matching_residual
from .matching import matching_residual as matching_residual
from .norm import Norm as Norm
from .norm import mean_square as mean_square
from .semigroup import composed_mean as composed_mean
from .semigroup import semigroup_residual as semigroup_residual
from .weighting import self_weighted as self_weighted
from .weighting import weighted as weighted
