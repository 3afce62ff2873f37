"""The soak: hundreds of scheduled backups of a database in use, while everything around goes wrong. `make soak`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # their servers and their sidecar, as pytest has them
