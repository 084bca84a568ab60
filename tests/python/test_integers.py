"""Random quantised networks over odd shapes: `milad infer` equals the numpy reference exactly, and onnxruntime where its sums are exact."""

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import int8_reference as reference
from milad_recipe import bundle
from milad_recipe.bundle import Description, Task


def _exact_onnxruntime() -> bool:
    """onnxruntime's u8·s8 products saturate on x86-64 without VNNI, and its additions differ on other processors."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


class Sketch:
    """An ONNX graph in QDQ form and, beside it, what its codes must be."""

    def __init__(self, picture: np.ndarray, rng):
        self.rng, self.nodes, self.constants, self.count, self.outputs = rng, [], [], 0, {}
        self.image = (picture.transpose(2, 0, 1) / np.float32(255)).astype(np.float32)
        # A byte of the picture is the code: no rounding to disagree about.
        q = (np.float32(1 / 255), 0)
        self.value = {"image.dq": (picture.transpose(2, 0, 1).copy(), q)}
        self._qdq("image", q)

    def _constant(self, array):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(array), f"c{self.count}"))
        return f"c{self.count}"

    def _qdq(self, name, q):
        scale, zero = self._constant(np.float32(q[0])), self._constant(np.uint8(q[1]))
        self.nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}.q"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{name}.q", scale, zero], [f"{name}.dq"]))
        return f"{name}.dq"

    def _new(self, kind, inputs, q, codes, **attributes):
        self.count += 1
        name = f"t{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return self._finish(name, q, codes)

    def _finish(self, name, q, codes):
        name = self._qdq(name, q)
        self.value[name] = (codes, q)
        return name

    def quantisation(self, scale):
        """Half of all scales are multiples of one number, as calibration gives them: numbers halfway between two codes are common then."""
        scale = scale * self.rng.uniform(0.7, 1.4)
        if self.rng.integers(2):
            scale = max(1, round(scale * 2040)) / 2040
        return np.float32(scale), int(self.rng.integers(0, 256))

    def conv(self, x, channels, kernel, *, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), depthwise=False, relu=False, real=None):
        """`real`: the name of an output, for one that is not quantised."""
        codes, qx = self.value[x]
        inputs = codes.shape[0]
        groups, channels = (inputs, inputs) if depthwise else (1, channels)
        shape = (channels, 1 if depthwise else inputs, *kernel)
        weights = self.rng.integers(-127, 128, shape, dtype=np.int8)
        scales = self.rng.uniform(0.5, 2, channels).astype(np.float32) / np.float32(127 * np.sqrt(np.prod(shape[1:])))
        bias = self.rng.integers(-5000, 5000, channels, dtype=np.int32)
        qy = self.quantisation(qx[0] * 1.5)
        dequantised = []
        for array, scale, zero in [(weights, scales, np.int8), (bias, qx[0] * scales, np.int32)]:
            self.count += 1
            name = f"w{self.count}"
            names = [self._constant(array), self._constant(scale), self._constant(np.zeros(channels, zero))]
            self.nodes.append(helper.make_node("DequantizeLinear", names, [name], axis=0))
            dequantised.append(name)
        self.count += 1
        name = f"t{self.count}"
        attributes = {"strides": stride, "pads": pads, "dilations": dilation, "group": groups, "kernel_shape": kernel}
        self.nodes.append(helper.make_node("Conv", [x, *dequantised], [name], **attributes))
        if relu:
            self.nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
            name += ".relu"
        geometry = {"stride": stride, "pads": pads, "dilation": dilation, "groups": groups}
        if real is not None:
            self.nodes[-1].output[0] = real
            numbers = reference.conv_real(codes, qx, weights, scales, bias, low=0 if relu else -np.inf, **geometry)
            self.outputs[real] = (numbers, None)
            return None
        out = reference.conv(codes, qx, weights, scales, bias, qy, low=qy[1] if relu else 0, **geometry)
        return self._finish(name, qy, out)

    def add(self, a, b):
        (left, qa), (right, qb) = self.value[a], self.value[b]
        q = self.quantisation(qa[0] + qb[0])
        return self._new("Add", [a, b], q, reference.add(left, qa, right, qb, q))

    def shift(self, x):
        """A number for each channel, from the mean, is added to all pixels."""
        codes, qx = self.value[x]
        qm, qy = self.quantisation(qx[0] / 4), self.quantisation(qx[0])
        self.constants.append(numpy_helper.from_array(np.array([2, 3]), axes := f"axes{self.count}"))
        mean = self._new("ReduceMean", [x, axes], qm, reference.reduce_mean(codes, qx, qm), keepdims=1)
        number = self.conv(mean, codes.shape[0], (1, 1))
        return self._new("Add", [x, number], qy, reference.add(codes, qx, *self.value[number], qy))

    def resize(self, x, scales):
        codes, qx = self.value[x]
        qy = qx if self.rng.integers(2) else self.quantisation(qx[0])
        sizes = self._constant(np.array([1, 1, *scales], np.float32))
        attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self._new("Resize", [x, "", sizes], qy, reference.resize(codes, qx, qy, scales), **attributes)

    def pool(self, x, size):
        codes, qx = self.value[x]
        qy = self.quantisation(qx[0])
        return self._new("AveragePool", [x], qy, reference.average_pool(codes, qx, qy, size), kernel_shape=size, strides=size)

    def gate(self, x):
        codes, qx = self.value[x]
        qm, qs, qy = self.quantisation(qx[0]), (np.float32(1 / 255), 0), self.quantisation(qx[0])
        mean = self._new("GlobalAveragePool", [x], qm, reference.mean(codes, qx, qm))
        function = lambda v: 1 / (1 + np.exp(-v))
        gate = self._new("Sigmoid", [mean], qs, reference.table(self.value[mean][0], qm, qs, function))
        return self._new("Mul", [x, gate], qy, reference.multiply(codes, qx, self.value[gate][0], qs, qy))

    def function(self, x, kind, function):
        codes, qx = self.value[x]
        qy = self.quantisation(qx[0])
        return self._new(kind, [x], qy, reference.table(codes, qx, qy, function))

    def concatenate(self, *names):
        q = self.quantisation(max(self.value[name][1][0] for name in names))
        codes = reference.concatenate([self.value[name] for name in names], q)
        return self._new("Concat", list(names), q, codes, axis=1)

    def output(self, x, name):
        codes, q = self.value[x]
        last = next(node for node in self.nodes if x in node.output)
        source = last.input
        self.nodes.append(helper.make_node("DequantizeLinear", list(source), [name]))
        self.outputs[name] = (reference.dequantise(codes, q), q)

    def model(self) -> bytes:
        info = lambda name, array: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *array.shape])
        outputs = [info(name, array) for name, (array, _) in self.outputs.items()]
        graph = helper.make_graph(self.nodes, "sketch", [info("image", self.image)], outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()


def sketch(seed: int) -> tuple[Sketch, np.ndarray]:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(9, 40, 2))
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    net = Sketch(picture, rng)
    wide = int(rng.choice([8, 16, 20, 36, 64]))
    kernel = int(rng.choice([3, 5, 7]))
    stride = tuple(int(s) for s in rng.integers(1, 3, 2))
    x = net.conv("image.dq", wide, (kernel, kernel), stride=stride, pads=(kernel // 2,) * 4, relu=True)
    a = net.conv(x, wide, (3, 3), pads=(1, 1, 1, 1), relu=bool(rng.integers(2)))
    b = net.conv(a, wide, (3, 3), pads=(1, 1, 1, 1))
    # The addition is fused with its convolution; which of the two it reads first matters to the last bit.
    c = net.add(*[(b, x), (x, b)][seed % 2])
    d = net.conv(c, 0, (3, 3), pads=(2, 2, 2, 2), dilation=(2, 2), depthwise=True)
    e = net.function(d, "HardSwish", lambda v: v * np.clip(v / 6 + 0.5, 0, 1))
    f = net.conv(e, int(rng.integers(1, 50)), (1, 1))
    g = net.gate(net.shift(c))
    h = net.concatenate(g, f)
    i = net.conv(h, int(rng.integers(1, 20)), (3, 1), pads=(0, 0, 2, 0), stride=(2, 1))
    j = net.resize(net.pool(c, (2, 2)), [(2, 2), (2, 4), (3, 2)][seed % 3])
    net.conv(j, int(rng.integers(1, 40)), (3, 3), pads=(1, 1, 1, 1), relu=bool(seed % 2), real="task.real")
    for number, name in enumerate([c, d, f, g, h, i, j]):
        net.output(name, f"task.o{number}")
    return net, picture


@pytest.mark.parametrize("kernels", ["portable", "avx2", None])
@pytest.mark.parametrize("seed", range(8))
def test_random_networks_equal_the_integer_reference(milad, infer, tmp_path, seed, kernels):
    net, picture = sketch(seed)
    model = net.model()
    height, width, _ = picture.shape
    tasks = tuple(
        Task(name.removeprefix("task."), "raw", array.shape[2], array.shape[1], channels=array.shape[0])
        for name, (array, _) in net.outputs.items()
    )
    description = Description("sketch", "nothing", 0.04, 1, width, height, tasks, mean=(0, 0, 0), std=(1, 1, 1))
    bundle.write(tmp_path / "bundle", description, {"slow": model, "fast": model})
    (tmp_path / "clip").mkdir()
    Image.fromarray(picture).save(tmp_path / "clip" / "0.png")
    environment = {"MILAD_KERNELS": kernels} if kernels else {}
    threads = 1 + seed % 3
    out = infer(tmp_path / "bundle", tmp_path / "clip", tmp_path / "out", 1, 0, threads, **environment)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    theirs = session.run(list(net.outputs), {"image": net.image[None]})
    for (name, (expected, q)), other in zip(net.outputs.items(), theirs):
        ours = np.load(out / f"000000.slow.{name}.npy")[0]
        np.testing.assert_array_equal(ours, expected, err_msg=f"{name} against the reference")
        if q is None:
            # onnxruntime runs this one in float32: other roundings of each product, none of codes.
            np.testing.assert_allclose(ours, other[0], rtol=1e-4, atol=1e-4 * np.abs(expected).max(), err_msg=name)
            continue
        if _exact_onnxruntime():
            np.testing.assert_array_equal(ours, other[0], err_msg=f"{name} against onnxruntime")
        # Errors of a step pass through layers; half of all are none.
        assert np.median(np.abs(ours - other[0])) <= q[0] / 2 + 1e-6, f"{name} against onnxruntime"


def test_nothing_in_random_networks_runs_in_float(milad, tmp_path):
    net, picture = sketch(3)
    height, width, _ = picture.shape
    tasks = tuple(
        Task(name.removeprefix("task."), "raw", array.shape[2], array.shape[1], channels=array.shape[0])
        for name, (array, _) in net.outputs.items()
    )
    description = Description("sketch", "nothing", 0.04, 1, width, height, tasks)
    bundle.write(tmp_path / "bundle", description, {"slow": net.model(), "fast": net.model()})
    done = subprocess.run([milad, "bench", "--json", "--frames", "2", "--bundle", tmp_path / "bundle"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["float_though_quantised"] == []
    assert report["integer"]["regions"] == 2
