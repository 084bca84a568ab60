"""`models/RESULTS.md`, measured and written by one command: what to measure (`plan`), measuring it (`rows`, `engine`), and writing it
(`document`, `aims`, `tables`, `plots`, `strips`). Nothing is imported here: the command line should answer at once.
"""
