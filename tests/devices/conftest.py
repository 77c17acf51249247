"""Makes `counting` and the small maps importable, which importlib mode does not."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "flow_map")]
