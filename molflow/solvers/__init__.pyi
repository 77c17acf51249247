# What the folder offers; loaded when it is first asked for.
from .baoab import baoab_step as baoab_step
from .euler_maruyama import euler_maruyama_step as euler_maruyama_step
from .exponential_euler import exponential_euler_step as exponential_euler_step
from .exponential_heun import exponential_heun_step as exponential_heun_step
from .loop import integrate as integrate
from .loop import trajectory as trajectory
from .loop import uniform_times as uniform_times
from .solved_paths import Problem as Problem
from .solved_paths import SolvedPaths as SolvedPaths
from .solved_paths import SolvedSteps as SolvedSteps
from .solved_paths import solve as solve
from .strong_order_1_5 import strong_order_1_5_step as strong_order_1_5_step
