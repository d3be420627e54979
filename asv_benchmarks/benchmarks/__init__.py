"""fastbp's benchmarks. What is imported here is imported before numba.

asv installs one commit after the other into the same environment. Each gets a folder for its compiler cache, so that none
is timed with the machine code of another. (asv sets both variables in environments that it has built, and only there.)
"""

import os
from pathlib import Path

if {"ASV_ENV_DIR", "ASV_COMMIT"} <= set(os.environ):
    os.environ["NUMBA_CACHE_DIR"] = str(Path(os.environ["ASV_ENV_DIR"], "compiled", os.environ["ASV_COMMIT"]))
