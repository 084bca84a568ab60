"""The nearest obstacle, and where it is: python examples/nearest.py [SOCKET]"""

import sys

import numpy as np

import milad_client

socket = sys.argv[1] if len(sys.argv) > 1 else None

with milad_client.connect(socket, tasks=["depth"], maps="shared") as results:
    for result in results:
        depth = result.maps["depth"].copy()
        # The upper two thirds: the ground before the wheels is no obstacle.
        seen = depth[: depth.shape[0] * 2 // 3]
        metres = np.where(np.isfinite(seen), seen, np.inf)
        row, column = np.unravel_index(metres.argmin(), metres.shape)
        if np.isfinite(metres[row, column]):
            print(f"frame {result.sequence}: {metres[row, column]:.2f} m at column {column}, row {row}", flush=True)
        else:
            print(f"frame {result.sequence}: nothing in sight", flush=True)
