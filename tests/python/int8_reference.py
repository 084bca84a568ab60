"""Quantised operators in numpy, as docs/adr/0011 and the kernels' documentation define them: what the program must equal exactly.

Codes are uint8 [C, H, W]; a quantisation is (scale, zero_point).
"""

import numpy as np

F = np.float32


def _codes(real, zero, low=0, high=255):
    """saturate(round_half_even(real) + zero), then bounds; `real` is float32."""
    assert real.dtype == F
    return np.clip(np.clip(np.rint(real).astype(np.float64) + zero, 0, 255), low, high).astype(np.uint8)


def _whole(real):
    """saturate(round_half_even(real)): `real` is float32 and holds the zero-point."""
    assert real.dtype == F
    return np.clip(np.rint(real), 0, 255).astype(np.uint8)


def _fma(a, b, c):
    """a·b + c, rounded once: wide enough for a code times a float32."""
    return (np.longdouble(1) * a * b + np.longdouble(1) * c).astype(F)


def quantise(x, q):
    return _codes(x.astype(F) / F(q[0]), q[1])


def dequantise(codes, q):
    return (codes.astype(np.int32) - q[1]).astype(F) * F(q[0])


def conv(x, qx, weights, scales, bias, qy, *, low=0, high=255, **geometry):
    """The factor sx·sw/sy in float32 from left to right."""
    factor = F(qx[0]) * scales.astype(F) / F(qy[0])
    return _codes(_sums(x, qx, weights, bias, **geometry).astype(F) * factor[:, None, None], qy[1], low, high)


def conv_real(x, qx, weights, scales, bias, *, low=-np.inf, high=np.inf, **geometry):
    """A convolution whose output is not quantised: float32."""
    factor = F(qx[0]) * scales.astype(F)
    return np.clip(_sums(x, qx, weights, bias, **geometry).astype(F) * factor[:, None, None], F(low), F(high))


def _sums(x, qx, weights, bias, *, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """In int64, checked to fit int32."""
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
    return sums.astype(np.int32)


def add(a, qa, b, qb, qy):
    ra, rb = F(qa[0]) / F(qy[0]), F(qb[0]) / F(qy[0])
    offset = F(qy[1]) - _fma(ra, F(qa[1]), rb * F(qb[1]))
    return _whole(_fma(a.astype(F), ra, _fma(b.astype(F), rb, offset)))


def multiply(a, qa, b, qb, qy):
    product = (a.astype(np.int32) - qa[1]) * (b.astype(np.int32) - qb[1])
    return _whole(product.astype(F) * (F(qa[0]) * F(qb[0]) / F(qy[0])) + F(qy[1]))


def mean(x, qx, qy):
    """GlobalAveragePool."""
    count = x.shape[1] * x.shape[2]
    sums = (x.astype(np.int64) - qx[1]).sum((1, 2), keepdims=True)
    return _codes(sums.astype(F) * (F(qx[0]) / (F(qy[0]) * F(count))), qy[1])


def _floating_mean(windows, qx):
    """Mean over the last axis, from left to right in float32."""
    real = dequantise(windows, qx)
    total = np.zeros(real.shape[:-1], F)
    for number in range(real.shape[-1]):
        total = total + real[..., number]
    return total / F(real.shape[-1])


def reduce_mean(x, qx, qy):
    """ReduceMean over the map."""
    return quantise(_floating_mean(x.reshape(x.shape[0], 1, 1, -1), qx), qy)


def average_pool(x, qx, qy, size):
    """AveragePool, side by side without padding; what is left over is cut off."""
    channels, height, width = x.shape[0], x.shape[1] // size[0], x.shape[2] // size[1]
    windows = x[:, : height * size[0], : width * size[1]].reshape(channels, height, size[0], width, size[1])
    windows = windows.transpose(0, 1, 3, 2, 4).reshape(channels, height, width, -1)
    return _whole(_floating_mean(windows, qx) / F(qy[0]) + F(qy[1]))


def resize(x, qx, qy, scales):
    """Resize, linear with half-pixel centres, by whole numbers."""

    def taps(length, scale):
        at = (np.arange(length * scale, dtype=F) + F(0.5)) / F(scale) - F(0.5)
        at = np.clip(at, F(0), F(length - 1))
        near = at.astype(int)
        far = np.minimum(near + 1, length - 1)
        weights = np.where(near == far, F(0.5), np.abs(at - far.astype(F))), np.where(near == far, F(0.5), np.abs(at - near.astype(F)))
        return [(near, weights[0]), (far, weights[1])]

    real, total = dequantise(x, qx), F(0)
    for rows, down in taps(x.shape[1], scales[0]):
        for columns, along in taps(x.shape[2], scales[1]):
            total = total + (along[None, :] * down[:, None]) * real[:, rows][:, :, columns]
    return quantise(total, qy)


def table(x, qx, qy, function):
    """Any function of one number, computed in float64."""
    real = function(dequantise(np.arange(256, dtype=np.uint8), qx).astype(np.float64)).astype(F)
    return quantise(real, qy)[x]


def concatenate(parts, qy):
    return np.concatenate([x if q == qy else quantise(dequantise(x, q), qy) for x, q in parts])
