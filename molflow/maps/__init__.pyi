# What the folder offers; loaded when it is first asked for.
from .denoiser.anchor import anchored_residual as anchored_residual
from .denoiser.clock import StepClock as StepClock
from .denoiser.flow_map import DenoiserFlowMap as DenoiserFlowMap
from .denoiser.posterior import posterior_mean as posterior_mean
from .denoiser.stiff_norm import StiffNorm as StiffNorm
from .dynamics.scales import LangevinScales as LangevinScales
from .dynamics.thermal_norm import ThermalNorm as ThermalNorm
from .langevin.bonded_flow_map import BondedLangevinFlowMap as BondedLangevinFlowMap
from .langevin.flow_map import LangevinFlowMap as LangevinFlowMap
from .langevin.residual_balance import add_balancing_noise as add_balancing_noise
from .langevin.residual_noise import ResidualNoise as ResidualNoise
from .overdamped.flow_map import OverdampedFlowMap as OverdampedFlowMap
