"""Makes `toy_maps` and its like, shared by the tests of maps, importable in importlib mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "flow_map"))
