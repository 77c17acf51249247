"""Makes the helper modules of networks and maps importable in importlib mode."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "nn"), str(TESTS / "flow_map"), str(TESTS.parent / "benchmarks")]
