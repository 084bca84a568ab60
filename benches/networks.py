"""Random-weight ResNet18 and MobileNetV2 encoders in QDQ form, as bundles: what integer kernels are compared on. Never trained, never shipped.

    python benches/networks.py FOLDER        # writes FOLDER/resnet18 and FOLDER/mobilenetv2, 3×192×320
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipe"))
from milad_recipe import bundle, quantise  # noqa: E402
from milad_recipe.bundle import Description, Task  # noqa: E402

HEIGHT, WIDTH = 192, 320
HEAD = 8


class Builder:
    def __init__(self, seed: int):
        self.rng, self.nodes, self.constants = np.random.default_rng(seed), [], []
        self.channels = {"image": 3}

    def conv(self, x, channels, kernel, stride=1, groups=1, relu=True):
        name = f"conv{len(self.nodes)}"
        inputs = self.channels[x] // groups
        spread = np.sqrt(2 / (inputs * kernel * kernel))
        weights = (self.rng.standard_normal((channels, inputs, kernel, kernel)) * spread).astype(np.float32)
        bias = (self.rng.standard_normal(channels) * 0.1).astype(np.float32)
        self.constants += [numpy_helper.from_array(weights, f"{name}.w"), numpy_helper.from_array(bias, f"{name}.b")]
        self.nodes.append(
            helper.make_node(
                "Conv", [x, f"{name}.w", f"{name}.b"], [name], name=name, kernel_shape=[kernel] * 2,
                pads=[kernel // 2] * 4, strides=[stride] * 2, group=groups,
            )
        )
        self.channels[name] = channels
        return self.relu(name) if relu else name

    def relu(self, x):
        self.nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"], name=f"{x}.relu"))
        self.channels[f"{x}.relu"] = self.channels[x]
        return f"{x}.relu"

    def pool(self, x):
        name = f"pool{len(self.nodes)}"
        self.nodes.append(helper.make_node("MaxPool", [x], [name], name=name, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]))
        self.channels[name] = self.channels[x]
        return name

    def add(self, a, b):
        name = f"add{len(self.nodes)}"
        self.nodes.append(helper.make_node("Add", [a, b], [name], name=name))
        self.channels[name] = self.channels[a]
        return name

    def model(self, x) -> bytes:
        # A bundle's tasks have at most 256 channels: a small head in the classifier's place.
        x = self.conv(x, HEAD, 1, relu=False)
        self.nodes.append(helper.make_node("Identity", [x], ["task.features"], name="out"))
        outputs = [helper.make_tensor_value_info("task.features", TensorProto.FLOAT, [1, self.channels[x], HEIGHT // 32, WIDTH // 32])]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
        graph = helper.make_graph(self.nodes, "encoder", [image], outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()


def resnet18() -> bytes:
    """He et al. 2016, table 1, without the classifier."""
    net = Builder(1)
    x = net.pool(net.conv("image", 64, 7, 2))
    for channels, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        for step in (stride, 1):
            y = net.conv(net.conv(x, channels, 3, step), channels, 3, relu=False)
            short = x if step == 1 and net.channels[x] == channels else net.conv(x, channels, 1, step, relu=False)
            x = net.relu(net.add(y, short))
    return net.model(x)


def mobilenetv2() -> bytes:
    """Sandler et al. 2018, table 2, without the classifier."""
    net = Builder(2)
    x = net.conv("image", 32, 3, 2)
    for factor, channels, count, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for step in [stride] + [1] * (count - 1):
            inside = net.channels[x] * factor
            y = net.conv(x, inside, 1) if factor > 1 else x
            y = net.conv(net.conv(y, inside, 3, step, groups=inside), channels, 1, relu=False)
            x = net.add(y, x) if step == 1 and net.channels[x] == channels else y
    return net.model(net.conv(x, 1280, 1))


def write(folder: Path) -> list[Path]:
    written = []
    for name, model in [("resnet18", resnet18()), ("mobilenetv2", mobilenetv2())]:
        rng = np.random.default_rng(3)
        samples = [{"image": rng.standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)} for _ in range(2)]
        quantised = quantise.quantise(model, samples, name)
        task = Task("features", "raw", WIDTH // 32, HEIGHT // 32, channels=HEAD)
        description = Description(name, "nothing: random weights", 0.04, 5, WIDTH, HEIGHT, (task,))
        bundle.write(folder / name, description, {"slow": quantised, "fast": quantised})
        written.append(folder / name)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes folder/resnet18 and folder/mobilenetv2: bundles with random weights.")
    parser.add_argument("folder", type=Path)
    for path in write(parser.parse_args().folder):
        print(path)
