"""InterFrameLocalAttention, version 1, three times: numpy (the reference), PyTorch (training, export), ONNX (a function body)."""

DOMAIN = "ai.milad"
OP_TYPE = "InterFrameLocalAttention"
VERSION = 1
