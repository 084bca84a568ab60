"""From PyTorch modules to ONNX files: opset 18, static shapes, names by contract, attention as one node with its function body.

The bytes depend on the network and the pinned versions alone: names are made anew, and everything that tells of the machine
(paths, stack traces, tool versions) is stripped.
"""

import logging
import re
import warnings

import onnx
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from .ila import DOMAIN, OP_TYPE, VERSION, onnx_function

OPSET = 18
IR_VERSION = 10

# It warns of every operator of torchvision, which is not used here.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


class _Positional(nn.Module):
    """A network that takes and gives tensors by name, for an exporter that wants them by position."""

    def __init__(self, network: nn.Module, inputs: list[str]):
        super().__init__()
        self.network, self.inputs = network, inputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(dict(zip(self.inputs, tensors, strict=True))).values())


def export(network: nn.Module, inputs: dict[str, Tensor], name: str) -> bytes:
    """`network` takes and gives a dict of tensors, keyed by the names of docs/BUNDLE.md; `inputs` are examples that fix the shapes."""
    network = network.eval()
    with torch.no_grad():
        outputs = list(network(dict(inputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about internals of the exporter
        program = torch.onnx.export(
            _Positional(network, list(inputs)),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    return finish(program.model_proto, name)


def finish(model: ModelProto, name: str) -> bytes:
    """Canonical bytes of an exported (or quantised) model, with the attention's function body where it is used, checked."""
    graph = model.graph
    imports = {entry.domain: entry.version for entry in model.opset_import}
    if imports.get("", 0) != OPSET:
        raise ValueError(f"the exporter wrote opset {imports.get('')}, expected {OPSET}")
    used = {node.domain for node in graph.node}
    if used - {"", DOMAIN}:
        raise ValueError(f"{name}: operators of unknown domains: {sorted(used - {'', DOMAIN})}")

    _sort(graph)
    _rename(graph, name)
    canonical = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        producer_name="milad-recipe",
        opset_imports=[helper.make_opsetid("", OPSET)] + [helper.make_opsetid(DOMAIN, VERSION)] * (DOMAIN in used),
        functions=[onnx_function.function()] * (DOMAIN in used),
    )
    onnx.checker.check_model(canonical, full_check=True)
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        if kind.elem_type != TensorProto.FLOAT or not shape or not all(shape):
            raise ValueError(f"{name}: {value.name} must be float32 of a static shape, not {value}")
    return canonical.SerializeToString(deterministic=True)


def _sort(graph: onnx.GraphProto) -> None:
    """Every node after the nodes it reads from, otherwise in the given order: the quantiser leaves them in another."""
    producers = {value: node for node in graph.node for value in node.output if value}
    done, ordered = set(), []

    def place(node):
        if id(node) in done:
            return
        done.add(id(node))
        for value in node.input:
            if value in producers:
                place(producers[value])
        ordered.append(node)

    for node in graph.node:
        place(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _rename(graph: onnx.GraphProto, name: str) -> None:
    """Names by kind and order, no notes, initialisers in the order of their use."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names = {value: value for value in fixed} | {"": ""}
    parameters = {tensor.name: tensor for tensor in graph.initializer}
    ordered = []
    for number, node in enumerate(graph.node):
        if node.domain == DOMAIN and node.op_type == OP_TYPE:
            # Runtimes infer shapes from the function's three outputs: those not asked for have no name, but a place.
            node.output.extend([""] * (3 - len(node.output)))
        for i, value in enumerate(node.input):
            if value in parameters and value not in names:
                names[value] = _parameter_name(value, len(ordered), names.values())
                ordered.append(parameters[value])
            node.input[i] = names[value]
        for i, value in enumerate(node.output):
            names.setdefault(value, f"{node.op_type}_{number}" + (f".{i}" if i else ""))
            node.output[i] = names[value]
        node.name = f"{node.op_type}_{number}"
        node.doc_string = ""
        del node.metadata_props[:]
        attributes = sorted(node.attribute, key=lambda a: a.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    unused = fixed & parameters.keys()
    for value in sorted(unused):
        ordered.append(parameters[value])
    for tensor in ordered:
        tensor.name = names[tensor.name]
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    ordered = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in ordered]
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    for value in (*graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    del graph.value_info[:]
    del graph.metadata_props[:]
    graph.doc_string = ""
    graph.name = name


def _parameter_name(value: str, number: int, taken) -> str:
    """The module's own name for a weight; a number for constants, whose names the exporter counts in ways of its own."""
    own = re.sub(r"^(network|self)\.", "", value)
    if "." in own and re.fullmatch(r"[\w.]+", own) and own not in taken:
        return own
    return f"constant_{number}"
