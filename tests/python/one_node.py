"""Networks of a single attention node: as a model of its own, and as a bundle that the program can run.

In the bundle, queries, keys and values are 1×1 projections of the picture, and the node's outputs are the network's.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from milad_recipe import bundle
from milad_recipe.bundle import Description, Task
from milad_recipe.ila import DOMAIN, OP_TYPE, VERSION, onnx_function

OUTPUTS = ("y", "confidence", "border")
OPTIONAL = ("bias", "null", "valid")


def random_inputs(shape, rng, *, bias, null, valid) -> dict[str, np.ndarray]:
    """float32 inputs of the operator; `shape` is (H, W, heads, T, radius, channels of a head in q and k, in v); `valid` a list or None."""
    height, width, heads, keyframes, radius, dq, dv = shape

    def normal(*size):
        return rng.standard_normal(size).astype(np.float32)

    inputs = {"q": normal(1, heads * dq, height, width)}
    inputs |= {"k": normal(keyframes, heads * dq, height, width), "v": normal(keyframes, heads * dv, height, width)}
    if bias:
        inputs["bias"] = normal(heads, (2 * radius + 1) ** 2)
    if null:
        inputs["null"] = normal(heads) + np.float32(2)
    if valid is not None:
        inputs["valid"] = np.array(valid, np.float32)
    return inputs


def node(names: dict[str, str], outputs: list[str], **attributes) -> onnx.NodeProto:
    """The operator; `names` maps its inputs to values. Places of absent inputs and outputs are kept."""
    inputs = [names["q"], names["k"], names["v"]] + [names.get(name, "") for name in OPTIONAL]
    while not inputs[-1]:
        inputs.pop()
    attributes = {name: value for name, value in attributes.items() if value is not None}
    return helper.make_node(OP_TYPE, inputs, outputs + [""] * (3 - len(outputs)), domain=DOMAIN, **attributes)


def model(nodes, inputs: dict[str, list[int]], outputs: dict[str, list], constants: dict[str, np.ndarray]) -> bytes:
    """A checked model with the function body."""
    graph = helper.make_graph(
        nodes,
        "one_node",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, VERSION)]
    made = helper.make_model(graph, functions=[onnx_function.function()], opset_imports=imports, ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def write_bundle(folder: Path, shape, rng, *, bias, null, valid, scale=None) -> dict[str, np.ndarray]:
    """Writes the bundle and returns its constants: `query` [Cq, 3, 1, 1] and `query_bias` [Cq], likewise key and value, `bias`, `null`."""
    height, width, heads, keyframes, radius, dq, dv = shape
    constants = random_inputs(shape, rng, bias=bias, null=null, valid=None)
    constants = {name: constants[name] for name in ("bias", "null") if name in constants}
    for name, channels in (("query", heads * dq), ("key", heads * dq), ("value", heads * dv)):
        constants[name] = rng.standard_normal((channels, 3, 1, 1)).astype(np.float32)
        constants[f"{name}_bias"] = rng.standard_normal(channels).astype(np.float32)

    def project(name, output):
        return helper.make_node("Conv", ["image", name, f"{name}_bias"], [output])

    def chosen(*names):
        return {name: constants[name] for base in names for name in (base, f"{base}_bias") if name in constants}

    image = {"image": [1, 3, height, width]}
    key, value = [heads * dq, height, width], [heads * dv, height, width]
    shares = [1, heads, height, width]
    slow = model(
        [project("key", "key.a"), project("value", "value.a"), project("value", "task.y")],
        image,
        {"task.y": [1, *value], "key.a": [1, *key], "value.a": [1, *value]},
        chosen("key", "value"),
    )
    inputs = image | {"key.a": [keyframes, *key], "value.a": [keyframes, *value]} | ({"valid": [keyframes]} if valid else {})
    names = {"q": "q", "k": "key.a", "v": "value.a"} | {name: name for name in OPTIONAL if name in constants or name in inputs}
    attention = node(names, ["task.y", "confidence", "border"], radius=radius, heads=heads, scale=scale)
    own = chosen("query") | {name: constants[name] for name in ("bias", "null") if name in constants}
    fast = model(
        [project("query", "q"), attention], inputs, {"task.y": [1, *value], "confidence": shares, "border": shares}, own
    )
    task = Task("y", "raw", width, height, channels=heads * dv)
    description = Description("one-node", "nothing", 0.04, 1, width, height, (task,))
    bundle.write(folder, description, {"slow": slow, "fast": fast})
    return constants
