//! Parses arguments, starts one mode, maps the error to an exit code.

fn main() {}
