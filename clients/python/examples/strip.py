"""Eight pictures in a row, as one file: python examples/strip.py strip.ppm [SOCKET]"""

import sys

import numpy as np

import milad_client

path = sys.argv[1] if len(sys.argv) > 1 else "strip.ppm"
socket = sys.argv[2] if len(sys.argv) > 2 else None

pictures = []
with milad_client.connect(socket, tasks=[], maps="shared", image=True, every=5) as results:
    for result in results:
        pictures.append(result.maps["image"].copy())
        if len(pictures) == 8:
            break
strip = np.hstack(pictures)
with open(path, "wb") as file:
    file.write(b"P6 %d %d 255\n" % (strip.shape[1], strip.shape[0]))
    file.write(strip.tobytes())
print(f"{path}: {len(pictures)} pictures of {pictures[0].shape[1]}x{pictures[0].shape[0]}")
