"""What every results file says about how it was made."""

from __future__ import annotations

import datetime
import os
import platform

import numpy as np
import torch

import molflow


def environment(**versions: str) -> dict:
    """Return machine, versions and date; `versions` adds packages that a benchmark also uses."""
    return {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "device": "cpu",
            "precision": "float32",
        },
        "versions": {
            "molflow": molflow.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            **versions,
        },
        "date": datetime.date.today().isoformat(),
    }
