"""Networks for milad: inter-frame local attention, and the exporter and quantiser that write bundles."""
