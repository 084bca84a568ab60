"""Where a class is in the picture, and how much of it: python examples/follow_class.py person [SOCKET]"""

import sys

import numpy as np

import milad_client

wanted = sys.argv[1] if len(sys.argv) > 1 else "person"
socket = sys.argv[2] if len(sys.argv) > 2 else None

with milad_client.connect(socket, tasks=["segmentation"], maps="shared") as results:
    for result in results:
        classes = [entry["name"] for entry in results.task("segmentation")["classes"]]
        view = result.maps["segmentation"]
        here = view.array == classes.index(wanted)
        if not view.valid():
            continue
        columns = np.nonzero(here)[1]
        # -1 at the left edge, 1 at the right one.
        centre = columns.mean() / here.shape[1] * 2 - 1 if len(columns) else 0.0
        print(f"frame {result.sequence}: {wanted} {here.mean():.1%} at {centre:+.2f}", flush=True)
