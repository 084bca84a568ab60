"""What is handed out: that packages hold all that ships, that the install script puts it in place and takes it away, and that the
ways to cross-compile agree."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT

MANIFEST = tomllib.loads((ROOT / "Cargo.toml").read_text())
DEB = MANIFEST["package"]["metadata"]["deb"]
CROSS = tomllib.loads((ROOT / "cross.toml").read_text())
TESTED = tomllib.loads((ROOT / "tests/cross/config.toml").read_text())
SCRIPTS = ["packaging/dist", "packaging/install", *(f"packaging/debian/{name}" for name in ("postinst", "prerm", "postrm"))]


def packed() -> dict[str, str]:
    """Sources in the tree, and where the package has them."""
    places = {}
    for source, place, _ in DEB["assets"]:
        for path in ROOT.glob(source) if "*" in source else [ROOT / source]:
            places[str(path.relative_to(ROOT))] = place + path.name if place.endswith("/") else place
    return places


def test_every_unit_bundle_and_page_is_in_the_package():
    wanted = [path for path in (ROOT / "systemd").iterdir()]
    wanted += [path for toml in (ROOT / "models").glob("*/bundle.toml") if not toml.parent.is_symlink() for path in toml.parent.iterdir()]
    wanted += list((ROOT / "packaging/generated").glob("*/*"))
    assert {str(path.relative_to(ROOT)) for path in wanted} <= set(packed())


def test_what_the_package_has_is_in_the_tree():
    made = {"target/release/milad", "packaging/built/third-party-notices.gz"}
    assert [name for name in packed() if not (ROOT / name).exists() and name not in made] == []
    assert packed()["systemd/milad.toml"] == "etc/milad/milad.toml", "dpkg keeps what is in /etc"


def test_the_package_has_the_version_of_the_program():
    first = (ROOT / DEB["changelog"]).read_text().splitlines()[0]
    assert re.match(rf"milad \({re.escape(MANIFEST['workspace']['package']['version'])}-\d+\) ", first), first


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = path.read_text().splitlines()[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", path]).returncode == 0


@pytest.mark.parametrize("target", ["x86_64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"])
def test_notices_name_every_crate_with_its_licence(target):
    done = subprocess.run([ROOT / "packaging/notices", target], capture_output=True, text=True, check=True)
    crates = dict(re.findall(r"^(\S+) \d\S*: (.+)$", done.stdout, re.M))
    assert {"tract-core", "crossbeam-channel", "v4l", "clap"} <= set(crates)
    assert "loom" not in crates and "prost-build" not in crates, "what is not linked is not named"
    assert all(licence != "None" for licence in crates.values())
    assert "Permission is hereby granted" in done.stdout and "Apache License" in done.stdout


@pytest.fixture
def unpacked(tmp_path):
    """A tarball as packaging/dist makes it, with stand-ins for what is built."""
    folder = tmp_path / "milad-linux-test"
    for source, place in packed().items():
        made = folder / "files" / place
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes((ROOT / source).read_bytes() if (ROOT / source).exists() else b"made")
    (folder / "files/usr/bin/milad").chmod(0o755)
    (folder / "install").write_bytes((ROOT / "packaging/install").read_bytes())
    (folder / "install").chmod(0o755)
    return folder


def install(unpacked: Path, root: Path, *arguments: str) -> str:
    done = subprocess.run([unpacked / "install", *arguments], env=dict(os.environ, DESTDIR=str(root)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_the_install_script_puts_everything_in_place_and_takes_it_away(unpacked, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    install(unpacked, root)
    assert files(root) == files(unpacked / "files")
    assert os.access(root / "usr/bin/milad", os.X_OK) and not os.access(root / "etc/milad/milad.toml", os.X_OK)
    install(unpacked, root, "--uninstall")
    assert files(root) == {"etc/milad/milad.toml"}
    assert not (root / "usr/share/milad").exists()
    install(unpacked, root)
    install(unpacked, root, "--purge")
    assert files(root) == set() and not (root / "etc/milad").exists()
    assert not {"fish", "zsh", "bash-completion", "milad"} & {path.name for path in (root / "usr/share").iterdir()}


def test_the_install_script_keeps_a_configuration(unpacked, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    install(unpacked, root)
    configuration = root / "etc/milad/milad.toml"
    configuration.write_text("[keyframe]\ninterval = 9\n")
    assert "is kept" in install(unpacked, root)
    assert configuration.read_text() == "[keyframe]\ninterval = 9\n"
    assert (root / "etc/milad/milad.toml.new").exists()


def test_the_install_script_refuses_what_it_does_not_know(unpacked, tmp_path):
    done = subprocess.run([unpacked / "install", "--prefix=/opt"], env=dict(os.environ, DESTDIR=str(tmp_path)), capture_output=True, text=True)
    assert done.returncode == 1 and "expected nothing, --uninstall or --purge" in done.stderr


# cross's own images have a Rust toolchain from outside, qemu, and for their target a C compiler with its library, found through
# linker and CC_* variables: https://github.com/cross-rs/cross#supported-targets
OF_THE_IMAGE = re.compile(r"^(rustc-web|cargo-web|rust-web-src|qemu-user-static|gcc-[\w-]+|libc6-dev-\w+-cross)$")


def packages_of(target: str) -> set[str]:
    """What tests/cross-build installs for a target."""
    script = (ROOT / "tests/cross-build").read_text()
    found = re.search(rf'target={target} packages="([^"]*)"', script)
    assert found, f"{target} is not in tests/cross-build"
    common = re.search(r'debian-packages" ([\w\s-]+) \$packages', script)
    return {*found[1].split(), *common[1].split()}


def test_cross_builds_the_targets_that_are_tested():
    targets = set(CROSS["target"])
    assert targets == set(TESTED["target"])
    assert CROSS["build"]["default-target"] in targets
    graph = tomllib.loads((ROOT / "deny.toml").read_text())["graph"]["targets"]
    assert targets == set(graph) - {"x86_64-unknown-linux-gnu"}
    assert all(target in (ROOT / "docs/BUILDING.md").read_text() and target in (ROOT / "packaging/dist").read_text() for target in targets)


@pytest.mark.parametrize("target", sorted(CROSS["target"]))
def test_cross_has_the_packages_and_the_environment_of_the_tested_build(target):
    settings = CROSS["target"][target]
    assert settings["image"] == f"ghcr.io/cross-rs/{target}:main"
    # Beyond what its image has, cross must install what the tested build installs, and nothing else.
    beyond = {name for name in packages_of(target) if not OF_THE_IMAGE.match(name)}
    installed = set(re.findall(r"(?<= )[a-z][\w+.-]+(?= |$)", " ".join(line.split("install", 1)[-1] for line in settings.get("pre-build", []))))
    assert installed == beyond
    # The same for variables: compilers and linkers are the image's.
    variables = {name for name in TESTED["env"] if name != f"CC_{target.replace('-', '_')}" and not name.startswith("CC_")}
    assert set(settings.get("env", {}).get("passthrough", [])) == variables
    assert set(TESTED["target"][target]) == {"linker", "runner"}
    assert TESTED["env"][f"CC_{target.replace('-', '_')}"] == TESTED["target"][target]["linker"]


def test_the_profile_of_packages_is_known_to_the_ways_of_building():
    profile = MANIFEST["profile"]["dist"]
    assert profile["lto"] == "fat" and profile["codegen-units"] == 1 and profile["strip"] == "symbols"
    # Small where it runs once, fast where it runs on every frame; ours is built at the profile's own level.
    levels = {name: settings["opt-level"] for name, settings in profile["package"].items()}
    assert levels.pop("*") == "z" and set(levels.values()) == {3} and {"tract-linalg", "zune-jpeg"} <= set(levels)
    assert "opt-level" not in profile and not any(name.startswith("milad") for name in levels)
    assert "--profile dist" in (ROOT / "packaging/dist").read_text() and "--profile dist" in (ROOT / "docs/BUILDING.md").read_text()
