"""The golden messages, read by another JSON reader and held against what docs/PROTOCOL.md promises."""

import json
import re

from conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
LINES = (GOLDEN / "messages.jsonl").read_text(encoding="utf-8").splitlines()
MESSAGES = [json.loads(line, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word))) for line in LINES]
ITEM_BYTES = {"u8": 1, "i8": 1, "f32": 4}


def of_type(name):
    found = [message for message in MESSAGES if message["type"] == name]
    assert found, f"no golden {name}"
    return found


def test_every_line_is_an_object_that_starts_with_its_type():
    for line, message in zip(LINES, MESSAGES, strict=True):
        assert line.startswith('{"type":"')
        assert next(iter(message)) == "type"
        # Written without spaces, so that the bytes are one and the same.
        assert json.dumps(message, separators=(",", ":"), ensure_ascii=False) == line


def test_every_documented_type_is_pinned():
    assert {m["type"] for m in MESSAGES} == {"hello", "result", "camera", "model", "ok", "error", "bye", "maps", "account"}


def test_fields_are_in_the_documented_order():
    assert list(of_type("hello")[0]) == [
        "type", "protocol", "milad", "bundle", "clock", "realtime_offset_ns", "boot_id", "camera", "tasks"]
    fields = ["type", "sequence", "driver_sequence", "epoch", "captured_ns", "published_ns", "latency_ms", "keyframe",
              "confidence", "slow_running", "dropped", "tasks"]
    for result in of_type("result"):
        assert list(result) == fields + (["maps", "payload_bytes"] if "maps" in result else []) + (
            ["shared"] if "shared" in result else [])


def test_tasks_say_what_their_maps_are():
    tasks = {task["name"]: task for task in of_type("hello")[0]["tasks"]}
    assert tasks["segmentation"]["dtype"] == "u8" and "channels" not in tasks["segmentation"]
    assert all(re.fullmatch("#[0-9a-f]{6}", c["color"]) for c in tasks["segmentation"]["classes"])
    assert (tasks["depth"]["dtype"], tasks["depth"]["unit"]) == ("f32", "m")
    assert (tasks["normals"]["dtype"], tasks["normals"]["channels"], tasks["normals"]["scale"]) == ("i8", 3, 127)


def test_times_and_shares_are_consistent():
    for result in of_type("result"):
        total = (result["published_ns"] - result["captured_ns"]) / 1e6
        assert abs(total - result["latency_ms"]["total"]) < 1e-3
        if result["keyframe"]:
            assert result["sequence"] - result["keyframe"]["sequence"] == result["keyframe"]["age_frames"]


def test_maps_fill_their_payload_without_gaps_and_agree_with_the_hello():
    tasks = {task["name"]: task for task in of_type("hello")[0]["tasks"]}
    results = [result for result in of_type("result") if "maps" in result]
    assert results
    for result in results:
        offset = 0
        for entry in result["maps"]:
            assert entry["offset"] == offset and entry["byte_order"] == "little"
            task, count = tasks[entry["task"]], 1
            for n in entry["shape"]:
                count *= n
            assert entry["bytes"] == count * ITEM_BYTES[entry["dtype"]]
            assert entry["dtype"] == task["dtype"]
            channels = [task["channels"]] if "channels" in task else []
            assert entry["shape"] == channels + [task["height"], task["width"]]
            offset += entry["bytes"]
        assert result["payload_bytes"] == offset


def test_requests_are_json_lines():
    for line in (GOLDEN / "requests.jsonl").read_text(encoding="utf-8").splitlines():
        assert "subscribe" in json.loads(line)
