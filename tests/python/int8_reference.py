"""Quantised operators in numpy integers, as docs/adr/0011 and the kernels' documentation define them: what the program must equal exactly.

Codes are uint8 [C, H, W]; a quantisation is (scale, zero_point).
"""

import numpy as np

F = np.float32


def _codes(real, zero, low=0, high=255):
    """saturate(round_half_even(real) + zero), then bounds; `real` is float32."""
    assert real.dtype == F
    return np.clip(np.clip(np.rint(real).astype(np.float64) + zero, 0, 255), low, high).astype(np.uint8)


def quantise(x, q):
    return _codes(x.astype(F) / F(q[0]), q[1])


def dequantise(codes, q):
    return (codes.astype(np.int32) - q[1]).astype(F) * F(q[0])


def conv(x, qx, weights, scales, bias, qy, *, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1, low=0, high=255):
    """Sums in int64, checked to fit int32; the factor sx·sw/sy in float32 from left to right."""
    outputs, per_group, rows, columns = weights.shape
    top, left, bottom, right = pads
    x = np.pad(x.astype(np.int64) - qx[1], ((0, 0), (top, bottom), (left, right)))
    height = (x.shape[1] - dilation[0] * (rows - 1) - 1) // stride[0] + 1
    width = (x.shape[2] - dilation[1] * (columns - 1) - 1) // stride[1] + 1
    sums = np.zeros((outputs, height, width), np.int64) + bias.astype(np.int64)[:, None, None]
    for output in range(outputs):
        first = output // (outputs // groups) * per_group
        for i in range(rows):
            for j in range(columns):
                y, z = i * dilation[0], j * dilation[1]
                part = x[first : first + per_group, y : y + stride[0] * (height - 1) + 1 : stride[0], z : z + stride[1] * (width - 1) + 1 : stride[1]]
                sums[output] += np.tensordot(weights[output, :, i, j].astype(np.int64), part, 1)
    assert np.abs(sums).max() < 2**31
    factor = F(qx[0]) * scales.astype(F) / F(qy[0])
    return _codes(sums.astype(np.int32).astype(F) * factor[:, None, None], qy[1], low, high)


def add(a, qa, b, qb, qy):
    left = (a.astype(np.int32) - qa[1]).astype(F) * (F(qa[0]) / F(qy[0]))
    right = (b.astype(np.int32) - qb[1]).astype(F) * (F(qb[0]) / F(qy[0]))
    return _codes(left + right, qy[1])


def multiply(a, qa, b, qb, qy):
    product = (a.astype(np.int32) - qa[1]) * (b.astype(np.int32) - qb[1])
    return _codes(product.astype(F) * (F(qa[0]) * F(qb[0]) / F(qy[0])), qy[1])


def mean(x, qx, qy):
    count = x.shape[1] * x.shape[2]
    sums = (x.astype(np.int64) - qx[1]).sum((1, 2), keepdims=True)
    return _codes(sums.astype(F) * (F(qx[0]) / (F(qy[0]) * F(count))), qy[1])


def table(x, qx, qy, function):
    """Any function of one number, computed in float64."""
    real = function(dequantise(np.arange(256, dtype=np.uint8), qx).astype(np.float64)).astype(F)
    return quantise(real, qy)[x]


def concatenate(parts, qy):
    return np.concatenate([x if q == qy else quantise(dequantise(x, q), qy) for x, q in parts])
