//! The benchmark of the whole; see `palisade_tests::bench`.
//!
//! ```text
//! cargo build --release -p palisade
//! cargo run --release -p palisade-tests --bin bench -- [--quick] [--only NAME] [--json FILE]
//! ```

use std::process::ExitCode;

/// What the service allocates with: the null server of the benchmark is this program, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    palisade_tests::bench::main()
}
