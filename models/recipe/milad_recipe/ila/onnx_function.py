"""InterFrameLocalAttention as an ONNX function in standard operators (opset 18), so that any runtime runs the exported file.

One body serves every combination of optional inputs, outputs and attributes. Absent inputs are dealt with inside it: `Gemm` takes
its third input as optional, so zeros·zeros + x is x, or zeros where x is absent, and `OptionalHasElement` tells the two apart.
Every position gathers its window, so memory grows with (2r+1)²·H·W·(Cq+Cv): right everywhere, fast nowhere.
"""

import math

from onnx import FunctionProto, helper, parser

from . import DOMAIN, OP_TYPE

OPSET = 18

# Shapes in the comments: T keyframes, g heads, d query channels of a head, e value channels of a head, n = 2r+1, N = n·n, P = H·W.
# LOWEST stands in for minus infinity: what is masked is multiplied by 0 as well, so that a window without any key gives 0, not NaN.
_BODY = """
    i0 = Constant <value = int64 {0}> ()
    i1 = Constant <value = int64 {1}> ()
    i2 = Constant <value = int64 {2}> ()
    i3 = Constant <value = int64 {3}> ()
    v1 = Constant <value = int64[1] {1}> ()
    minus_1 = Constant <value = int64[1] {-1}> ()
    axis_3 = Constant <value = int64[1] {3}> ()
    axes_0_3 = Constant <value = int64[2] {0, 3}> ()
    zero = Constant <value = float {0.0}> ()
    one = Constant <value = float {1.0}> ()
    lowest = Constant <value = float {-3.0e38}> ()

    # Sizes
    r = Constant <value_int: int = @radius> ()
    heads_0 = Constant <value_int: int = @heads> ()
    g = Reshape (heads_0, v1)
    q_shape = Shape (q)
    k_shape = Shape (k)
    v_shape = Shape (v)
    height = Gather (q_shape, i2)
    width = Gather (q_shape, i3)
    keyframes = Gather (k_shape, i0)
    t = Reshape (keyframes, v1)
    query_channels = Gather (q_shape, i1)
    channels = Div (query_channels, heads_0)
    d = Reshape (channels, v1)
    value_channels = Gather (v_shape, i1)
    values_of_head = Div (value_channels, heads_0)
    e = Reshape (values_of_head, v1)
    positions = Mul (height, width)
    p = Reshape (positions, v1)
    given_scale = Constant <value_float: float = @scale> ()
    channels_f = Cast <to = 1> (channels)
    root = Sqrt (channels_f)
    default_scale = Div (one, root)
    no_scale = IsNaN (given_scale)
    factor = Where (no_scale, default_scale, given_scale)

    # The window of every position: flat index and whether it lies inside, [P, N]; the rim, [N]
    minus_r = Neg (r)
    end = Add (r, i1)
    offset = Range (minus_r, end, i1)
    rows = Range (i0, height, i1)
    columns = Range (i0, width, i1)
    shape_h = Constant <value = int64[4] {-1, 1, 1, 1}> ()
    shape_w = Constant <value = int64[4] {1, -1, 1, 1}> ()
    shape_dy = Constant <value = int64[2] {-1, 1}> ()
    shape_dx = Constant <value = int64[2] {1, -1}> ()
    rows_4 = Reshape (rows, shape_h)
    columns_4 = Reshape (columns, shape_w)
    dy = Reshape (offset, shape_dy)
    dx = Reshape (offset, shape_dx)
    y_there = Add (rows_4, dy)
    x_there = Add (columns_4, dx)
    last_row = Sub (height, i1)
    last_column = Sub (width, i1)
    y_clamped_low = Max (y_there, i0)
    y_clamped = Min (y_clamped_low, last_row)
    x_clamped_low = Max (x_there, i0)
    x_clamped = Min (x_clamped_low, last_column)
    y_inside = Equal (y_there, y_clamped)
    x_inside = Equal (x_there, x_clamped)
    row_start = Mul (y_clamped, width)
    index_4 = Add (row_start, x_clamped)
    inside_4 = And (y_inside, x_inside)
    window_shape = Concat <axis = 0> (p, minus_1)
    index = Reshape (index_4, window_shape)
    inside = Reshape (inside_4, window_shape)
    far_y = Abs (dy)
    far_x = Abs (dx)
    far = Max (far_y, far_x)
    rim_2 = Equal (far, r)
    rim_1 = Reshape (rim_2, minus_1)
    rim = Cast <to = 1> (rim_1)

    # Keys and values of every window, [T, g, P, N, d] and [T, g, P, N, e]
    q_split = Concat <axis = 0> (v1, g, d, p)
    k_split = Concat <axis = 0> (t, g, d, p)
    v_split = Concat <axis = 0> (t, g, e, p)
    q_heads = Reshape (q, q_split)
    k_heads = Reshape (k, k_split)
    v_heads = Reshape (v, v_split)
    q_last = Transpose <perm = [0, 1, 3, 2]> (q_heads)
    k_last = Transpose <perm = [0, 1, 3, 2]> (k_heads)
    v_last = Transpose <perm = [0, 1, 3, 2]> (v_heads)
    query = Unsqueeze (q_last, minus_1)
    keys = Gather <axis = 2> (k_last, index)
    values = Gather <axis = 2> (v_last, index)

    # Optional inputs, as if they were given
    zero_g1 = Concat <axis = 0> (g, v1)
    zero_1g = Concat <axis = 0> (v1, g)
    zero_1t = Concat <axis = 0> (v1, t)
    rim_shape = Shape (rim)
    zero_1n = Concat <axis = 0> (v1, rim_shape)
    zeros_11 = Constant <value = float[1,1] {0.0}> ()
    zeros_g1 = ConstantOfShape (zero_g1)
    zeros_1g = ConstantOfShape (zero_1g)
    zeros_1t = ConstantOfShape (zero_1t)
    zeros_1n = ConstantOfShape (zero_1n)
    bias_2 = Gemm (zeros_g1, zeros_1n, bias)
    bias_3 = Unsqueeze (bias_2, v1)
    null_or_zero = Gemm (zeros_11, zeros_1g, null)
    has_null = OptionalHasElement (null)
    null_2 = Where (has_null, null_or_zero, lowest)
    null_shape = Constant <value = int64[4] {1, -1, 1, 1}> ()
    null_4 = Reshape (null_2, null_shape)
    has_null_f = Cast <to = 1> (has_null)
    valid_or_zero = Gemm (zeros_11, zeros_1t, valid)
    has_valid = OptionalHasElement (valid)
    is_zero = Equal (valid_or_zero, zero)
    not_zero = Not (is_zero)
    no_valid = Not (has_valid)
    exists = Or (not_zero, no_valid)
    exists_4 = Reshape (exists, shape_h)
    usable = And (inside, exists_4)
    usable_f = Cast <to = 1> (usable)

    # One softmax over keyframes, window and null, [T, g, P, N]
    product_5 = MatMul (keys, query)
    product = Squeeze (product_5, minus_1)
    scaled = Mul (product, factor)
    biased = Add (scaled, bias_3)
    logits = Where (usable, biased, lowest)
    top_logit = ReduceMax (logits, axes_0_3)
    top = Max (top_logit, null_4)
    below = Sub (logits, top)
    raw_exp = Exp (below)
    weight = Mul (raw_exp, usable_f)
    null_below = Sub (null_4, top)
    null_exp = Exp (null_below)
    null_weight = Mul (null_exp, has_null_f)
    weight_sum = ReduceSum (weight, axes_0_3)
    total_or_zero = Add (weight_sum, null_weight)
    nothing = Equal (total_or_zero, zero)
    total = Where (nothing, one, total_or_zero)
    a = Div (weight, total)

    # Outputs
    a_5 = Unsqueeze (a, axis_3)
    y_5 = MatMul (a_5, values)
    axis_0 = Constant <value = int64[1] {0}> ()
    y_sum = ReduceSum (y_5, axis_0)
    y_4 = Squeeze (y_sum, axis_3)
    y_heads = Transpose <perm = [0, 1, 3, 2]> (y_4)
    y = Reshape (y_heads, v_map)
    null_share = Div (null_weight, total)
    confidence_4 = Sub (one, null_share)
    confidence = Reshape (confidence_4, g_map)
    rim_share = Mul (a, rim)
    border_4 = ReduceSum (rim_share, axes_0_3)
    border = Reshape (border_4, g_map)
"""

_MAPS = """
    h_1 = Reshape (height, v1)
    w_1 = Reshape (width, v1)
    cv = Reshape (value_channels, v1)
    v_map = Concat <axis = 0> (v1, cv, h_1, w_1)
    g_map = Concat <axis = 0> (v1, g, h_1, w_1)
"""


def function() -> FunctionProto:
    """The function to append to a model's `functions`; the model also imports the domain's opset."""
    body = "\n".join(line for line in _BODY.replace("    # Outputs", _MAPS).splitlines() if not line.lstrip().startswith("#"))
    proto = parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>\n'
        f"{OP_TYPE} <radius> (q, k, v, bias, null, valid) => (y, confidence, border) {{\n{body}\n}}"
    )
    # Defaults. A scale that is no number stands for 1/sqrt(d), which depends on the shapes.
    proto.attribute_proto.extend([helper.make_attribute("heads", 1), helper.make_attribute("scale", math.nan)])
    return proto
