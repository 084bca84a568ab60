//! milad, the daemon and its tools. Everything is in the library; see `milad --help`.

fn main() -> std::process::ExitCode {
    milad::cli::main()
}
