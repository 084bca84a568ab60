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
SCRIPTS = ["packaging/dist", "packaging/install", "systemd/milad-generator", *(f"packaging/debian/{name}" for name in ("preinst", "postinst", "prerm", "postrm"))]


def packed() -> dict[str, str]:
    """Places in the package, and what of the tree lies there."""
    places = {}
    for source, place, _ in DEB["assets"]:
        for path in ROOT.glob(source) if "*" in source else [ROOT / source]:
            places[place + path.name if place.endswith("/") else place] = str(path.relative_to(ROOT))
    return places


def test_every_unit_bundle_and_page_is_in_the_package():
    wanted = [path for path in (ROOT / "systemd").iterdir()]
    wanted += [path for toml in (ROOT / "models").glob("*/bundle.toml") if not toml.parent.is_symlink() for path in toml.parent.iterdir()]
    wanted += list((ROOT / "packaging/generated").glob("*/*"))
    assert {str(path.relative_to(ROOT)) for path in wanted} <= set(packed().values())


def test_what_the_package_has_is_in_the_tree():
    made = {"target/release/milad", "packaging/built/third-party-notices.gz"}
    assert [name for name in packed().values() if not (ROOT / name).exists() and name not in made] == []


def test_nothing_in_the_package_makes_dpkg_ask():
    assert not [place for place in packed() if place.startswith("etc/")], "dpkg asks about a changed file in /etc"
    assert packed()["usr/share/milad/milad.toml"] == "systemd/milad.toml", "the scripts make /etc/milad/milad.toml of it"


DOCUMENTS = "usr/share/doc/milad/"
# [words](target) and <img src="target">; targets elsewhere in the world, and within the page, are not looked at.
LINK = re.compile(r'(?:\]\(|src=")(?!https?://|#)([^)#"\s]+)')


def test_links_of_what_is_shipped_lead_to_what_is_shipped():
    """In the package and the tarball, whose documents are the package's, under the same names."""
    places = packed()
    folders = {str(parent) for place in places for parent in Path(place).parents}
    pages = [place for place in places if place.startswith(DOCUMENTS) and place.endswith(".md")]
    assert {DOCUMENTS + "README.md", DOCUMENTS + "SECURITY.md", DOCUMENTS + "docs/OPERATIONS.md"} <= set(pages)
    links = [(page, link) for page in pages for link in LINK.findall((ROOT / places[page]).read_text())]
    assert len(links) > 20
    targets = {(page, link): os.path.normpath(Path(page).parent / link) for page, link in links}
    assert [key for key, target in targets.items() if target not in places and target not in folders] == []


def test_pages_that_are_referred_to_are_shipped():
    shipped = {Path(place).name for place in packed() if place.startswith("usr/share/man/")}
    units = [ROOT / source for place, source in packed().items() if place.startswith("usr/lib/systemd/system/")]
    references = {(unit.name, name) for unit in units for name in re.findall(r"man:(milad\S*)\((\d)\)", unit.read_text())}
    for page in shipped:
        text = re.sub(r"\\f[A-Z]", "", (ROOT / "packaging/generated/man" / page).read_text()).replace("\\-", "-")
        references |= {(page, name) for name in re.findall(r"(milad[\w-]*)\((\d)\)", text)}
    assert len(references) > 2 * len(shipped)
    assert [(by, name) for by, name in references if ".".join(name) not in shipped] == []


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
    for place, source in packed().items():
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


LIST = "usr/share/milad/installed-files"
CONFIGURATION = "etc/milad/milad.toml"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def test_the_install_script_puts_everything_in_place_and_takes_it_away(unpacked, root):
    install(unpacked, root)
    assert files(root) == files(unpacked / "files") | {CONFIGURATION, LIST}
    assert os.access(root / "usr/bin/milad", os.X_OK) and not os.access(root / CONFIGURATION, os.X_OK)
    assert (root / CONFIGURATION).read_bytes() == (ROOT / "systemd/milad.toml").read_bytes()
    install(unpacked, root, "--uninstall")
    assert files(root) == {CONFIGURATION}
    assert not (root / "usr/share/milad").exists() and not (root / "usr/share/doc/milad").exists()
    install(unpacked, root)
    install(unpacked, root, "--purge")
    assert files(root) == set() and not (root / "etc/milad").exists()
    assert not {"fish", "zsh", "bash-completion", "milad"} & {path.name for path in (root / "usr/share").iterdir()}


def newer(unpacked: Path):
    """The next version: another sample, one page more, one less."""
    sample = unpacked / "files/usr/share/milad/milad.toml"
    sample.write_text(sample.read_text() + "# newer\n")
    (unpacked / "files/usr/share/man/man1/milad-bench.1").unlink()
    (unpacked / "files/usr/share/man/man1/milad-newer.1").write_text("newer")


@pytest.mark.parametrize("own", ["[keyframe]\ninterval = 9\n", None, "as shipped"], ids=["changed", "taken-away", "as-shipped"])
def test_an_upgrade_by_the_install_script_respects_the_configuration(unpacked, root, own):
    install(unpacked, root)
    configuration = root / CONFIGURATION
    configuration.chmod(0o600)
    if own is None:
        configuration.unlink()
    elif own != "as shipped":
        configuration.write_text(own)
    newer(unpacked)
    install(unpacked, root)
    if own is None:
        assert not configuration.exists()
    else:
        expected = (unpacked / "files/usr/share/milad/milad.toml").read_text() if own == "as shipped" else own
        assert configuration.read_text() == expected and configuration.stat().st_mode & 0o777 == 0o600
    assert files(root) - {CONFIGURATION} == files(unpacked / "files") | {LIST}, "what the newer version has not is gone"


def cut_off(unpacked: Path, root: Path, tmp_path: Path, moves: int, *arguments: str):
    """Runs the script until it has moved `moves` files into place; then its disk is full."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    count = tmp_path / "count"
    count.write_text("")
    (tools / "mv").write_text(f'#!/bin/sh\n[ "$(wc -c < {count})" -lt {moves} ] || {{ echo "No space left" >&2; exit 1; }}\n'
                              f'printf x >> {count}\nexec /bin/mv "$@"\n')  # fmt: skip
    (tools / "mv").chmod(0o755)
    environment = dict(os.environ, DESTDIR=str(root), PATH=f"{tools}:{os.environ['PATH']}")
    done = subprocess.run([unpacked / "install", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "No space left" in done.stderr, done.stderr


@pytest.mark.parametrize("moves", [0, 20, "all files", "all but the list"])
@pytest.mark.parametrize("kind", ["first", "upgrade"])
def test_an_installation_that_was_cut_off_is_mended_by_another(unpacked, root, tmp_path, moves, kind):
    if kind == "upgrade":
        install(unpacked, root)
        newer(unpacked)
    moves = {"all files": len(files(unpacked / "files")), "all but the list": len(files(unpacked / "files")) + 1}.get(moves, moves)
    cut_off(unpacked, root, tmp_path, moves)
    assert (LIST in files(root)) == (kind == "upgrade"), "whoever finds the list takes the first installation for done"
    install(unpacked, root)
    assert files(root) == files(unpacked / "files") | {CONFIGURATION, LIST}
    assert (root / CONFIGURATION).read_bytes() == (unpacked / "files/usr/share/milad/milad.toml").read_bytes()


def test_an_installation_that_was_cut_off_is_taken_away_whole(unpacked, root, tmp_path):
    install(unpacked, root)
    newer(unpacked)
    cut_off(unpacked, root, tmp_path, 20)
    install(unpacked, root, "--purge")
    assert files(root) == set()


def test_purging_takes_away_what_was_set_up_for_its_units(unpacked, root):
    install(unpacked, root)
    units = root / "etc/systemd/system"
    for name in ("multi-user.target.wants/milad.service", "multi-user.target.wants/milad@front.service", "sockets.target.wants/milad.socket",
                 "sockets.target.wants/milad-metrics.socket", "sockets.target.wants/milad@front.socket", "milad.service.d/override.conf",
                 "milad.socket.d/override.conf", "milad-metrics.socket.d/override.conf", "milad@front.service.d/override.conf",
                 "milad-metrics@front.socket.d/port.conf", "multi-user.target.wants/other.service", "other.service.d/override.conf"):  # fmt: skip
        (units / name).parent.mkdir(parents=True, exist_ok=True)
        (units / name).write_text("")
    (root / "etc/milad/front.toml").write_text("")
    install(unpacked, root, "--uninstall")
    assert "etc/milad/front.toml" in files(root) and (units / "milad.service.d/override.conf").exists()
    install(unpacked, root, "--purge")
    left = {"multi-user.target.wants/other.service", "other.service.d/override.conf"}
    assert files(root) == {f"etc/systemd/system/{name}" for name in left}


def test_the_install_script_makes_the_groups_that_the_units_need():
    groups = re.findall(r"^g (\S+) ", (ROOT / "systemd/milad.sysusers").read_text(), re.M)
    # Of the system's own list: a second entry of its name would be warned of at every start.
    groups += re.findall(r"^SupplementaryGroups=(\S+)$", (ROOT / "systemd/milad.service").read_text(), re.M)
    assert f"for group in {' '.join(groups)};" in (ROOT / "packaging/install").read_text()


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


def test_the_flags_of_packages_are_known_to_the_ways_of_building():
    flags = re.search(r'local flags="\$\{RUSTFLAGS:-\} ([^"]+)"', (ROOT / "packaging/dist").read_text())[1]
    assert f'export RUSTFLAGS="{flags}"' in (ROOT / "docs/BUILDING.md").read_text()
    # A container sees none of the caller's variables that are not named; the other two ways see all.
    assert CROSS["build"]["env"]["passthrough"] == ["RUSTFLAGS"]
    header = (ROOT / "cross.toml").read_text().splitlines()[0]
    assert "cross build --profile dist" in header and "cross build --profile dist" in (ROOT / "docs/BUILDING.md").read_text()


def test_the_profile_of_packages_is_known_to_the_ways_of_building():
    profile = MANIFEST["profile"]["dist"]
    assert profile["lto"] == "fat" and profile["codegen-units"] == 1 and profile["strip"] == "symbols"
    # Small where it runs once, fast where it runs on every frame; ours is built at the profile's own level.
    levels = {name: settings["opt-level"] for name, settings in profile["package"].items()}
    assert levels.pop("*") == "z" and set(levels.values()) == {3} and {"tract-linalg", "zune-jpeg"} <= set(levels)
    assert "opt-level" not in profile and not any(name.startswith("milad") for name in levels)
    assert "--profile dist" in (ROOT / "packaging/dist").read_text() and "--profile dist" in (ROOT / "docs/BUILDING.md").read_text()
