"""Classes of the worlds that are rendered for training, as `milad scene` numbers and colours them."""

FRAME_INTERVAL_S = 1 / 30

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
    ("floor", "#804080"),
    ("wall", "#464646"),
    ("ceiling", "#4682b4"),
    ("seat", "#f423e8"),
    ("table", "#be9999"),
    ("storage", "#00008e"),
    ("object", "#dcdc00"),
    ("person", "#dc143c"),
)
CLASSES = {"street": STREET, "street-shifted": STREET, "room": ROOM, "room-shifted": ROOM}
