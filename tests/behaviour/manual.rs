//! Manual pages and completions: made of the command table, kept in `packaging/generated`, and held against it here.
//! After a change of a flag or a command: `MILAD_GENERATE=1 cargo test --release --test behaviour manual`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

const FILES: [(&str, &str); 5] = [
    (
        "/etc/milad/milad.toml",
        "The daemon's configuration, with every key explained. /etc/milad/NAME.toml for milad@NAME.service.",
    ),
    ("/run/milad/results.sock", "Results, as JSON lines. /run/milad/NAME/results.sock for milad@NAME.service."),
    ("/usr/share/milad/milad.toml", "The sample that the configuration is made of on the first installation."),
    ("/usr/share/milad/models", "Bundles that are found by name."),
    ("/usr/share/doc/milad", "README.md, and docs: operations, limitations, the results' protocol, metrics, bundles."),
];
const STATUS: [(&str, &str); 3] = [
    ("0", "It was told to stop, or its clip is over."),
    ("1", "Something is missing that may be there later."),
    ("78", "A configuration, bundle, source or socket was refused; only a change helps. The last line says which."),
];

fn table(roff: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, words) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*words)]);
    }
}

/// The page of `milad` itself, or of one of its commands.
fn page(command: &clap::Command, all: &clap::Command) -> String {
    let man = Man::new(command.clone()).source(format!("milad {}", env!("CARGO_PKG_VERSION")));
    let mut out = Vec::new();
    man.render(&mut out).unwrap();
    let mut roff = Roff::new();
    if command.get_name() == "milad" {
        table(&mut roff, "FILES", &FILES);
        table(&mut roff, "EXIT STATUS", &STATUS);
    }
    roff.control("SH", ["SEE ALSO"]);
    let pages = all.get_subcommands().map(|command| format!("milad-{}", command.get_name()));
    for name in ["milad".to_owned()]
        .into_iter()
        .chain(pages)
        .filter(|name| name != command.get_display_name().unwrap_or("milad"))
    {
        roff.text([bold(name), roman("(1)")]);
    }
    roff.to_writer(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn generated() -> BTreeMap<PathBuf, String> {
    // `milad help` has no page of its own.
    let mut all = milad::cli::command().disable_help_subcommand(true);
    // Gives commands their full names.
    all.build();
    let mut files = BTreeMap::from([("man/milad.1".into(), page(&all, &all))]);
    for command in all.get_subcommands() {
        files.insert(format!("man/milad-{}.1", command.get_name()).into(), page(command, &all));
    }
    let shells = [(Shell::Bash, "milad.bash"), (Shell::Zsh, "_milad"), (Shell::Fish, "milad.fish")];
    for (shell, file) in shells {
        let mut out = Vec::new();
        clap_complete::generate(shell, &mut milad::cli::command(), "milad", &mut out);
        files.insert(Path::new("completions").join(file), String::from_utf8(out).unwrap());
    }
    files
}

#[test]
fn manual_pages_and_completions_are_those_of_the_command_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/generated");
    let expected = generated();
    if std::env::var_os("MILAD_GENERATE").is_some() {
        for (name, text) in &expected {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &expected {
        let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            found == *text,
            "{} is not what the command table gives: see tests/behaviour/manual.rs",
            name.display()
        );
    }
    let there = ["man", "completions"].into_iter().flat_map(|part| {
        fs::read_dir(folder.join(part)).unwrap().map(move |entry| Path::new(part).join(entry.unwrap().file_name()))
    });
    let left: Vec<_> = there.filter(|name| !expected.contains_key(name)).collect();
    assert!(left.is_empty(), "of no command: {left:?}");
}

#[test]
fn every_command_has_a_page_that_names_its_flags() {
    let files = generated();
    for command in milad::cli::command().get_subcommands() {
        let page = &files[Path::new(&format!("man/milad-{}.1", command.get_name()))];
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            let escaped = format!("\\-\\-{}", flag.replace('-', "\\-"));
            assert!(page.contains(&escaped), "{flag} in the page of {}", command.get_name());
        }
    }
}

#[test]
fn every_page_that_is_referred_to_is_there() {
    let files = generated();
    let mut seen = 0;
    for (page, text) in files.iter().filter(|(name, _)| name.starts_with("man")) {
        let plain = text.replace("\\fB", "").replace("\\fR", "").replace("\\-", "-");
        for name in plain.split_whitespace().filter_map(|word| word.strip_suffix("(1)")) {
            assert!(files.contains_key(Path::new(&format!("man/{name}.1"))), "{name}(1), in {}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 2 * (files.len() - 3), "{seen} references were found");
}
