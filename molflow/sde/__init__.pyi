# What the folder offers; loaded when it is first asked for.
from .base import AdditiveSDE as AdditiveSDE
from .double_well import DoubleWell as DoubleWell
from .gaussian_mixture import GaussianMixture as GaussianMixture
from .gaussian_path import GaussianPathReversal as GaussianPathReversal
from .gaussian_path import StraightPath as StraightPath
from .gaussian_path import VariancePreserving as VariancePreserving
from .harmonic import HarmonicMode as HarmonicMode
from .harmonic import overdamped_temperature as overdamped_temperature
from .matrix_ornstein_uhlenbeck import MatrixOrnsteinUhlenbeck as MatrixOrnsteinUhlenbeck
from .mueller_brown import MuellerBrown as MuellerBrown
from .ornstein_uhlenbeck import OrnsteinUhlenbeck as OrnsteinUhlenbeck
from .overdamped import OverdampedLangevin as OverdampedLangevin
from .reverse_diffusion import ReverseDiffusion as ReverseDiffusion
from .underdamped import UnderdampedLangevin as UnderdampedLangevin
