"""Networks taken back out of a bundle: they compute what its files compute, in training too, and other files are refused."""

import shutil

import numpy as np
import onnxruntime
import pytest
import torch

from milad_recipe import adopt, blocks, checkpoint, config, export, quantise, stage_export, stage_fast, stage_quantise_fast, stage_quantise_slow, stage_slow
from milad_recipe.config import RecipeError
from milad_recipe.results import aims
from milad_recipe.results.plan import World
from milad_recipe.slow import coordinates
from test_recipe_train import ONE, RECIPE, fabricate


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The smoke configuration, clips, and a bundle of networks whose batch normalisation is not neutral: float and int8."""
    place = tmp_path_factory.mktemp("made")
    fabricate(place / "data" / "street", [*range(6), 1_000_000, 1_000_001])
    chosen = config.load(RECIPE / "smoke.toml", [*ONE, "fast.adversary.weight=0"])
    torch.manual_seed(5)
    networks = {"slow": stage_slow.network(chosen), "fast": stage_fast.network(chosen)}
    for network in networks.values():
        for parameter in network.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))  # trained networks have no two weights alike, and none of zeros
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                with torch.no_grad():
                    module.running_mean.normal_(std=0.3)
                    module.running_var.uniform_(0.5, 2.0)
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(std=0.3)
        blocks.fold(network.eval())
    image, memory = {"image": torch.randn(1, 3, 64, 128)}, networks["fast"].memory_inputs()
    memory["value.shared"] = torch.cat([torch.randn(1, 32, 8, 16), coordinates(8, 16)], 1)  # places are part of what a keyframe leaves
    inputs = {"slow": image, "fast": image | memory}
    for kind in ("float", "int8"):
        (place / kind).mkdir()
    for name, network in networks.items():
        model = export.export(network, inputs[name], name)
        (place / "float" / f"{name}.onnx").write_bytes(model)
        samples = [{key: value.numpy() for key, value in inputs[name].items()}]
        parts = (stage_quantise_fast.float_parts(network), (), stage_quantise_fast.float_inputs(network)) if name == "fast" else ()
        (place / "int8" / f"{name}.onnx").write_bytes(quantise.quantise(model, samples, name, *parts))
    return chosen, place, inputs


@pytest.fixture
def prepared(made, tmp_path):
    """The same in a folder of the test's own."""
    chosen, place, inputs = made
    for kind in ("float", "int8"):
        shutil.copytree(place / kind, tmp_path / kind)
    (tmp_path / "data").symlink_to(place / "data")
    return chosen, tmp_path, inputs


def ran(file, inputs):
    session = onnxruntime.InferenceSession(file)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, {key: value.numpy() for key, value in inputs.items()})))


@torch.no_grad()
def test_adopted_networks_compute_what_the_files_do(prepared):
    chosen, place, inputs = prepared
    adopt.adopt(chosen, place / "float", place, (480, 640))
    slow = stage_slow.trained(chosen, place)
    for name, wanted in ran(place / "float" / "slow.onnx", inputs["slow"]).items():
        np.testing.assert_allclose(slow(inputs["slow"])[name].numpy(), wanted, atol=1e-3 * max(1.0, np.abs(wanted).max()))
    fast = stage_fast.trained(chosen, place)
    for name, wanted in ran(place / "float" / "fast.onnx", inputs["fast"]).items():
        np.testing.assert_allclose(fast(inputs["fast"])[name].numpy(), wanted, atol=1e-3 * max(1.0, np.abs(wanted).max()))
    assert checkpoint.start(stage_slow.folder(place) / "checkpoint.pt")["samples"] == 480
    assert aims.samples_seen(World("street", place / "float", trained=place), "slow") == 480
    assert not (stage_slow.folder(place) / "slow-int8.onnx").exists()


def test_weights_of_integers_are_within_half_a_step(prepared):
    _, place, _ = prepared
    for name in ("slow", "fast"):
        whole, coarse = (adopt.weights(place / kind / f"{name}.onnx") for kind in ("float", "int8"))
        matched = [key for key in whole if key.endswith(".weight") and whole[key].ndim == 4]
        assert len(matched) > 5
        for key in matched:
            step = np.abs(whole[key]).max((1, 2, 3), keepdims=True) / 127
            assert (np.abs(coarse[key] - whole[key]) <= 0.5001 * step).all(), key


@torch.no_grad()
def test_batch_normalisation_comes_back_as_what_changes_nothing(prepared):
    """In training mode, on other pictures than those its statistics are of, the features differ little."""
    chosen, place, _ = prepared
    adopt.adopt(chosen, place / "float", place)
    slow = stage_slow.trained(chosen, place)
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in slow.modules()) > 5
    clips = list(adopt.stage_data.opened(chosen, place, chosen.data.train).values())
    images, _ = adopt.single_frames(adopt.Reader(chosen, [12], chosen.augment), clips, 32)
    still, moving = slow.eval().features(images)[0], slow.train().features(images)[0]
    assert (still - moving).abs().mean() < 0.1 * still.abs().mean()


def test_training_goes_on_from_what_was_adopted(prepared):
    chosen, place, _ = prepared
    adopt.adopt(chosen, place / "int8", place, (480, 640))
    assert (stage_slow.folder(place) / "slow-int8.onnx").read_bytes() == (place / "int8" / "slow.onnx").read_bytes()
    # In the same folder: a fresh optimizer, by the configuration; and it is remembered that networks were adopted.
    longer = config.load(RECIPE / "smoke.toml", [*ONE, "fast.adversary.weight=0", "slow.training.samples=48", "fast.training.samples=48"])
    shutil.copytree(place / "slow", place / "same" / "slow")
    shutil.copytree(place / "fast", place / "same" / "fast")
    (place / "same" / "data").symlink_to(place / "data")
    for stage in (stage_slow, stage_quantise_slow):
        stage.run(longer, place / "same")
    stage_fast.run(longer, place / "same")
    for stage, seen in ((stage_slow, 480), (stage_fast, 640)):
        state = torch.load(stage.folder(place / "same") / "checkpoint.pt", weights_only=True)
        assert state["samples"] == seen + 32 and state["adopted"] and state["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.99)
    further = config.load(RECIPE / "smoke.toml", [*ONE, f"fast.training.start={place / 'fast' / 'checkpoint.pt'}"])
    (place / "further").mkdir()
    (place / "further" / "data").symlink_to(place / "data")
    (place / "further" / "slow").symlink_to(place / "slow")
    stage_fast.run(further, place / "further")
    assert checkpoint.start(stage_fast.folder(place / "further") / "checkpoint.pt")["samples"] == 640 + 16
    stage_quantise_fast.run(further, place / "further")
    stage_export.run(further, place / "further")
    assert "on weights that had seen" in (place / "further" / "bundle" / "CARD.md").read_text()
    assert sorted(path.name for path in (place / "further" / "bundle-float").iterdir()) == ["CARD.md", "bundle.toml", "fast.onnx", "slow.onnx"]


@torch.no_grad()
def test_a_plain_network_is_a_slow_one_without_a_fast_one(prepared):
    chosen, place, inputs = prepared
    adopt.adopt(chosen, place / "int8" / "slow.onnx", place, (480, 0))
    assert (stage_slow.folder(place) / "slow-int8.onnx").read_bytes() == (place / "int8" / "slow.onnx").read_bytes()
    assert not stage_fast.folder(place).exists()
    slow, wanted = stage_slow.trained(chosen, place), ran(stage_slow.folder(place) / "slow-float.onnx", inputs["slow"])
    for name in wanted:
        np.testing.assert_allclose(slow(inputs["slow"])[name].numpy(), wanted[name], atol=1e-3 * max(1.0, np.abs(wanted[name]).max()))
    assert checkpoint.start(stage_slow.folder(place) / "checkpoint.pt")["samples"] == 480
    shutil.rmtree(place / "slow")
    with pytest.raises(RecipeError, match="expected an ONNX file of a bundle"):
        adopt.adopt(chosen, place / "nowhere.onnx", place)


def test_what_does_not_fit_is_refused(prepared):
    chosen, place, _ = prepared
    with pytest.raises(RecipeError, match="expected the weights of this configuration's network, found none of that name and size for"):
        adopt.adopt(config.load(RECIPE / "smoke.toml", [*ONE, "slow.sizes.trunk=24"]), place / "float", place)
    assert not (place / "slow").exists(), "nothing half-made is left"
    (place / "float" / "slow.onnx").write_bytes(b"no model")
    with pytest.raises(RecipeError, match="expected an ONNX file of a bundle"):
        adopt.adopt(chosen, place / "float", place)
    with pytest.raises(RecipeError, match="expected an ONNX file of a bundle"):
        adopt.adopt(chosen, place / "nowhere", place)


def test_a_training_that_is_there_is_not_written_over(prepared):
    chosen, place, _ = prepared
    adopt.adopt(chosen, place / "float", place)
    with pytest.raises(RecipeError, match="expected no training there yet"):
        adopt.adopt(chosen, place / "float", place)
