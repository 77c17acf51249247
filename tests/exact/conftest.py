"""Makes `toy_maps`, shared by the tests of networks and maps, importable in importlib mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "flow_map"))
