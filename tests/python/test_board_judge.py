"""The emulated board's judge must refuse a daemon that lies: a true account passes, each falsified one fails."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from test_maps import upsample

spec = importlib.util.spec_from_file_location("judge", Path(__file__).parents[1] / "board" / "judge.py")
judge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(judge)

TRACE = (
    "  milad-1 [000] ..... 1.0: v4l2_dqbuf: minor = 0, index = 0, type = VIDEO_CAPTURE, bytesused = 460800, flags = {flags}, "
    "field = NONE, timestamp = {time}, timecode = {{ type = 0x0, flags = , userbits = {{ 0 0 0 0 }} }}, sequence = {sequence}"
)


def true_account():
    """30 buffers, driver sequence 3 to 33 without 12, buffer 20 flagged as bad, buffer 25 replaced, then the end."""
    sequences = [number for number in range(3, 34) if number != 12]
    buffers = [{"sequence": s, "time": 1_000_000_000 + 40_000_000 * s, "flags": "MAPPED|ERROR" if s == 20 else "MAPPED"}
               for s in sequences]
    results = []
    for place, buffer in enumerate(buffers):
        if buffer["sequence"] not in (20, 25):
            keyframe = {"sequence": 100, "age_frames": place, "age_ms": (buffer["time"] - buffers[0]["time"]) / 1e6}
            results.append({"type": "result", "sequence": 100 + place, "driver_sequence": buffer["sequence"], "epoch": 1,
                            "captured_ns": buffer["time"], "published_ns": buffer["time"] + 5_000_000,
                            "keyframe": keyframe if place else None})
    messages = [{"type": "hello"}, *results, {"type": "bye", "reason": "stopping"}]
    summary = {"captured": 30, "published": 28, "dropped{capture,corrupt}": 1, "dropped{fast,replaced}": 1, "in_flight": 0,
               "driver_span": 31, "driver_gaps": 1}
    return buffers, messages, summary


def scrapes(captured=30, published=28, dropped=(1, 1), in_flight=0, gaps=1):
    """A first scrape before the camera came, and the last."""
    def scrape(captured, published, dropped, in_flight, gaps):
        counts = [*dropped, *[0] * (20 - len(dropped))]
        return "".join([f"# TYPE x counter\nmilad_frames_captured_total {captured}\nmilad_driver_gap_frames_total {gaps}\n",
                        *(f'milad_frames_dropped_total{{stage="s{i // 4}",cause="c{i % 4}"}} {n}\n' for i, n in enumerate(counts)),
                        f"milad_frames_published_total {published}\nmilad_frames_in_flight {in_flight}\n"])
    return scrape(0, 0, [], 0, 0), scrape(captured, published, dropped, in_flight, gaps)


def verdicts(folder, buffers, messages, summary, scraped=scrapes()):
    (folder / "metrics-first").write_text(scraped[0])
    (folder / "metrics-last").write_text(scraped[1])
    (folder / "trace").write_text("\n".join(TRACE.format(**buffer) for buffer in buffers))
    (folder / "results.jsonl").write_text("".join(json.dumps(message) + "\n" for message in messages))
    (folder / "log").write_text("INFO account: " + " ".join(f"{name}={count}" for name, count in summary.items()) + "\n")
    (folder / "status").write_text("0\n")
    run = judge.Run(folder)
    failed = []
    for check in (judge.ends_well, judge.every_frame_is_accounted_for, judge.every_result_is_of_a_buffer_of_its_own,
                  judge.sequences_count_captured_frames, judge.keyframes_are_older_than_their_results,
                  judge.each_scrape_accounts_for_every_frame):
        try:
            check(run)
        except (AssertionError, TypeError):
            failed.append(check.__name__)
    return failed


def test_a_true_account_passes(tmp_path):
    assert verdicts(tmp_path, *true_account()) == []


@pytest.mark.parametrize("name", ["captured", "published", "dropped{fast,replaced}", "in_flight", "driver_span", "driver_gaps"])
def test_a_count_that_is_off_by_one_fails(tmp_path, name):
    buffers, messages, summary = true_account()
    summary[name] += 1
    assert "every_frame_is_accounted_for" in verdicts(tmp_path, buffers, messages, summary)


def test_a_result_twice_from_a_bad_buffer_or_with_a_wrong_time_fails(tmp_path):
    def doubled(results, buffers):
        results.insert(9, dict(results[8], sequence=results[8]["sequence"]))

    def from_bad(results, buffers):
        results[9].update(driver_sequence=20, captured_ns=next(b["time"] for b in buffers if b["sequence"] == 20))

    def stamped_now(results, buffers):
        results[9]["captured_ns"] += 1

    for falsify in (doubled, from_bad, stamped_now):
        buffers, messages, summary = true_account()
        results = [m for m in messages if m["type"] == "result"]
        falsify(results, buffers)
        failed = verdicts(tmp_path, buffers, [messages[0], *results, messages[-1]], summary)
        assert "every_result_is_of_a_buffer_of_its_own" in failed, falsify.__name__


def test_a_sequence_that_does_not_count_dropped_frames_fails(tmp_path):
    buffers, messages, summary = true_account()
    for message in messages[20:-1]:
        message["sequence"] -= 1
    assert "sequences_count_captured_frames" in verdicts(tmp_path, buffers, messages, summary)


def test_a_wrong_age_and_a_missing_goodbye_fail(tmp_path):
    buffers, messages, summary = true_account()
    messages[10]["keyframe"]["age_frames"] += 1
    failed = verdicts(tmp_path, buffers, messages[:-1], summary)
    assert {"keyframes_are_older_than_their_results", "ends_well"} <= set(failed)


@pytest.mark.parametrize("falsified", [
    {"captured": 29}, {"published": 27}, {"dropped": (1, 0)}, {"in_flight": 1},  # one scrape that does not add up
    {"captured": 31, "in_flight": 1}, {"captured": 30, "published": 29, "dropped": (1,)}, {"gaps": 2},  # more than in the end
    {"captured": 0, "published": 0, "dropped": ()}, {"published": 0, "in_flight": 28},  # counters that are stuck
])
def test_a_scrape_that_does_not_add_up_or_is_stuck_fails(tmp_path, falsified):
    assert "each_scrape_accounts_for_every_frame" in verdicts(tmp_path, *true_account(), scrapes(**falsified))


def test_a_scrape_before_the_end_with_frames_in_flight_passes(tmp_path):
    assert verdicts(tmp_path, *true_account(), scrapes(captured=29, published=26, in_flight=1)) == []


def reconnections():
    """Three epochs, by the messages and the trace of a run that is judged for its disconnections."""
    messages = [{"type": "hello"}]
    for epoch in (1, 2, 3):
        messages.append({"type": "camera", "state": "up", "epoch": epoch})
        messages += [{"type": "result", "epoch": epoch} for _ in range(3)]
        if epoch < 3:
            messages.append({"type": "camera", "state": "lost", "epoch": epoch, "reason": "gone"})
            # What was in flight is answered.
            messages.append({"type": "result", "epoch": epoch})
    return messages


@pytest.mark.parametrize("moved, before", [(6, 8), (9, 6), (None, None)])
def test_a_result_on_the_wrong_side_of_a_camera_message_fails(tmp_path, moved, before):
    messages = reconnections()
    if moved:
        messages.insert(before, messages.pop(moved))
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(message) + "\n" for message in messages))
    (tmp_path / "trace").write_text("\n".join(TRACE.format(sequence=n % 4, time=n, flags="MAPPED") for n in range(12)))
    (tmp_path / "metrics-last").write_text("milad_camera_reconnects_total 2\n")
    if moved is None:
        judge.a_camera_that_goes_comes_back_with_a_new_epoch(judge.Run(tmp_path))
        return
    with pytest.raises(AssertionError, match="was told"):
        judge.a_camera_that_goes_comes_back_with_a_new_epoch(judge.Run(tmp_path))


def test_a_map_that_differs_by_a_bit_fails(tmp_path):
    def sent(bits):
        line = json.dumps({"type": "result", "maps": [{"shape": [1, 2]}], "payload_bytes": 8}).encode() + b"\n"
        return b'{"type":"hello"}\n{"type":"ok"}\n' + (line + b"\n" * 7 + bits) * 6

    for name in ("nv12", "multi-planar"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "maps").write_bytes(sent(b"a"))
    (tmp_path / "nv12" / "maps-grey").write_bytes(sent(b"b"))
    check = judge.however_its_planes_lie_a_picture_gives_the_same_map
    check(judge.Run(tmp_path / "multi-planar"))
    (tmp_path / "multi-planar" / "maps").write_bytes(sent(b"b"))
    with pytest.raises(AssertionError, match="differs"):
        check(judge.Run(tmp_path / "multi-planar"))
    (tmp_path / "nv12" / "maps-grey").write_bytes(sent(b"a"))
    (tmp_path / "multi-planar" / "maps").write_bytes(sent(b"a"))
    with pytest.raises(AssertionError, match="nothing about colour"):
        check(judge.Run(tmp_path / "multi-planar"))


def test_every_scenario_is_there():
    assert len(judge.tests) == judge.EXPECTED_TESTS


def test_the_rust_clients_maps_are_held_against_the_networks_arrays(tmp_path):
    noise = np.random.default_rng(5)
    (tmp_path / "arrays").mkdir()
    (tmp_path / "maps").mkdir()
    for name in ("infer.status", "status", "infer.log", "save_maps.log"):
        (tmp_path / name).write_text("0\n")
    for sequence in range(25):
        frame = f"{sequence:06}.{'fast' if sequence % 5 else 'slow'}"
        raw = {name: noise.normal(size=(channels, 2, 3)).astype(np.float32) for name, channels in [("segmentation", 4), ("depth", 1), ("normals", 3)]}
        dense = {name: upsample(values, (4, 8)) for name, values in raw.items()}
        length = np.linalg.norm(dense["normals"], axis=0)
        maps = {"segmentation": dense["segmentation"].argmax(0).astype(np.uint8), "depth": np.exp(dense["depth"][0]).astype(np.float32),
                "normals": np.round(dense["normals"] / length * 127).astype(np.int8), "image": np.zeros((4, 8, 3), np.uint8)}
        for name, values in raw.items():
            np.save(tmp_path / "arrays" / f"{frame}.task.{name}.npy", values[None])
        for name, values in maps.items():
            np.save(tmp_path / "maps" / f"{frame}.{name}.npy", values)
    run = judge.Run(tmp_path)
    judge.the_rust_client_reads_what_infer_computes(run)
    for name, other in [("segmentation", 1), ("depth", 0.01), ("normals", 2)]:
        path = tmp_path / "maps" / f"000007.fast.{name}.npy"
        good = np.load(path)
        wrong = good.copy()
        wrong.flat[19] = (wrong.flat[19] + other) % 4 if name == "segmentation" else wrong.flat[19] + other
        np.save(path, wrong)
        with pytest.raises(AssertionError):
            judge.the_rust_client_reads_what_infer_computes(run)
        np.save(path, good)
    for lost in (tmp_path / "maps").glob("*.slow.image.npy"):
        lost.unlink()
    with pytest.raises(AssertionError, match="frames compared"):
        judge.the_rust_client_reads_what_infer_computes(run)
