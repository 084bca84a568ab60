"""InterFrameLocalAttention in numpy: the definition of docs/BUNDLE.md, position by position. It must never be made fast."""

import numpy as np


def inter_frame_local_attention(q, k, v, bias=None, null=None, valid=None, *, radius, heads=1, scale=None):
    """Returns (y [1, Cv, H, W], confidence [1, g, H, W], border [1, g, H, W]), computed in float64.

    q [1, Cq, H, W], k [T, Cq, H, W], v [T, Cv, H, W], bias [g, (2r+1)²], null [g], valid [T].
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    keyframes, query_channels, height, width = k.shape
    value_channels = v.shape[1]
    dq, dv = query_channels // heads, value_channels // heads
    side = 2 * radius + 1
    scale = 1.0 / np.sqrt(dq) if scale is None else scale
    bias = np.zeros((heads, side * side)) if bias is None else np.asarray(bias, np.float64)
    usable = [t for t in range(keyframes) if valid is None or valid[t] != 0]

    y = np.zeros((1, value_channels, height, width))
    confidence = np.ones((1, heads, height, width))
    border = np.zeros((1, heads, height, width))
    for g in range(heads):
        query, key, value = q[0, g * dq : (g + 1) * dq], k[:, g * dq : (g + 1) * dq], v[:, g * dv : (g + 1) * dv]
        for row in range(height):
            for column in range(width):
                logits, values, on_rim = [], [], []
                for t in usable:
                    for dy in range(-radius, radius + 1):
                        for dx in range(-radius, radius + 1):
                            ny, nx = row + dy, column + dx
                            if not (0 <= ny < height and 0 <= nx < width):
                                continue
                            place = (dy + radius) * side + dx + radius
                            logits.append(scale * (query[:, row, column] @ key[t, :, ny, nx]) + bias[g, place])
                            values.append(value[t, :, ny, nx])
                            on_rim.append(abs(dy) == radius or abs(dx) == radius)
                if null is not None:
                    logits.append(float(null[g]))
                    values.append(np.zeros(dv))
                    on_rim.append(False)
                if not logits:
                    continue
                weights = np.exp(np.array(logits) - max(logits))
                weights /= weights.sum()
                y[0, g * dv : (g + 1) * dv, row, column] = weights @ np.array(values)
                border[0, g, row, column] = weights @ np.array(on_rim, np.float64)
                if null is not None:
                    confidence[0, g, row, column] = 1.0 - weights[-1]
    return y, confidence, border
