//! The layers that are measured: those of ResNet18 and MobileNetV2 at 192×320, dense ones at 128×256, and channels that fit badly.

pub struct Layer {
    pub name: &'static str,
    pub inputs: usize,
    pub outputs: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
    pub depthwise: bool,
}

const fn dense(name: &'static str, channels: [usize; 2], size: [usize; 2], kernel: usize, stride: usize) -> Layer {
    Layer { name, inputs: channels[0], outputs: channels[1], size, kernel, stride, depthwise: false }
}

const fn depthwise(name: &'static str, channels: usize, size: [usize; 2], kernel: usize, stride: usize) -> Layer {
    Layer { name, inputs: channels, outputs: channels, size, kernel, stride, depthwise: true }
}

pub const LAYERS: &[Layer] = &[
    dense("3x3 64-64 48x80", [64, 64], [48, 80], 3, 1),
    dense("3x3 128-128 24x40", [128, 128], [24, 40], 3, 1),
    dense("3x3 256-256 12x20", [256, 256], [12, 20], 3, 1),
    dense("3x3 512-512 6x10", [512, 512], [6, 10], 3, 1),
    dense("3x3 32-32 128x256", [32, 32], [128, 256], 3, 1),
    dense("3x3 64-64 64x128", [64, 64], [64, 128], 3, 1),
    dense("3x3 128-128 32x64", [128, 128], [32, 64], 3, 1),
    dense("3x3 16-16 64x128", [16, 16], [64, 128], 3, 1),
    dense("3x3 48-48 32x64", [48, 48], [32, 64], 3, 1),
    dense("3x3 96-96 32x64", [96, 96], [32, 64], 3, 1),
    dense("3x3 s2 64-128 48x80", [64, 128], [48, 80], 3, 2),
    dense("3x3 s2 128-256 24x40", [128, 256], [24, 40], 3, 2),
    dense("first 7x7 s2 3-64 192x320", [3, 64], [192, 320], 7, 2),
    dense("first 3x3 s2 3-32 192x320", [3, 32], [192, 320], 3, 2),
    dense("first 3x3 3-32 128x256", [3, 32], [128, 256], 3, 1),
    dense("1x1 16-96 96x160", [16, 96], [96, 160], 1, 1),
    dense("1x1 24-144 48x80", [24, 144], [48, 80], 1, 1),
    dense("1x1 144-24 48x80", [144, 24], [48, 80], 1, 1),
    dense("1x1 32-192 24x40", [32, 192], [24, 40], 1, 1),
    dense("1x1 192-32 24x40", [192, 32], [24, 40], 1, 1),
    dense("1x1 64-384 12x20", [64, 384], [12, 20], 1, 1),
    dense("1x1 384-64 12x20", [384, 64], [12, 20], 1, 1),
    dense("1x1 576-96 12x20", [576, 96], [12, 20], 1, 1),
    dense("1x1 320-1280 6x10", [320, 1280], [6, 10], 1, 1),
    dense("1x1 64-64 64x128", [64, 64], [64, 128], 1, 1),
    depthwise("depthwise 3x3 32 96x160", 32, [96, 160], 3, 1),
    depthwise("depthwise 3x3 144 48x80", 144, [48, 80], 3, 1),
    depthwise("depthwise 3x3 192 24x40", 192, [24, 40], 3, 1),
    depthwise("depthwise 3x3 384 12x20", 384, [12, 20], 3, 1),
    depthwise("depthwise 3x3 s2 96 96x160", 96, [96, 160], 3, 2),
    depthwise("depthwise 3x3 s2 144 48x80", 144, [48, 80], 3, 2),
    depthwise("depthwise 5x5 64 32x64", 64, [32, 64], 5, 1),
    dense("3x3 20-20 64x128", [20, 20], [64, 128], 3, 1),
    dense("3x3 40-40 64x128", [40, 40], [64, 128], 3, 1),
    dense("3x3 64-8 64x128", [64, 8], [64, 128], 3, 1),
];
