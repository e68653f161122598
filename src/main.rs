//! Parses arguments, starts one mode, maps the error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    quarterdeck::cli::run()
}
