"""Classes of the worlds that are rendered for training, as `milad scene` numbers and colours them."""

FRAME_INTERVAL_S = 1 / 30
TASKS = ("segmentation", "depth", "normals")

STREET = (
    ("road", "#804080"),
    ("sidewalk", "#f423e8"),
    ("building", "#464646"),
    ("vegetation", "#6b8e23"),
    ("pole", "#999999"),
    ("person", "#dc143c"),
    ("vehicle", "#00008e"),
    ("sky", "#4682b4"),
)
ROOM = (
    ("floor", "#8c6446"),
    ("wall", "#bebec8"),
    ("ceiling", "#f0ebdc"),
    ("seat", "#3c78c8"),
    ("table", "#c88228"),
    ("storage", "#784696"),
    ("object", "#46aa5a"),
    ("person", "#dc143c"),
)
CLASSES = {"street": STREET, "street-shifted": STREET, "room": ROOM, "room-shifted": ROOM}
