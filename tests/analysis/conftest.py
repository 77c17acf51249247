"""Makes the neighbouring module `synthetic` importable, which importlib mode does not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
