# What the folder offers; loaded when it is first asked for.
from .basis import Basis as Basis
from .chen import dyadic as dyadic
from .chen import join as join
from .derivatives import path_rate_at_end as path_rate_at_end
from .derivatives import path_rate_at_start as path_rate_at_start
from .derivatives import whitened_by_end as whitened_by_end
from .derivatives import whitened_by_start as whitened_by_start
from .increment import Increment as Increment
from .increment import sample_increment as sample_increment
from .levy_areas import increment_from_levy_areas as increment_from_levy_areas
from .levy_areas import levy_areas as levy_areas
from .mean_path import mean_path as mean_path
from .path import BrownianPath as BrownianPath
from .refine import split as split
from .reversal import reverse as reverse
