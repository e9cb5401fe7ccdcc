//! Build the freestanding nsbox-init for the same target, so that `src/image.rs` can embed it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    for input in ["init", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let target = env::var("TARGET").expect("cargo names the target");
    // A directory of its own: the outer build holds the lock on the usual one.
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a directory")).join("init");
    let status = Command::new(env::var_os("CARGO").expect("cargo names itself"))
        .args([
            "build",
            "--manifest-path",
            "init/Cargo.toml",
            "--bin",
            "nsbox-init",
            "--profile",
            "init",
            "--target",
            &target,
        ])
        .arg("--target-dir")
        .arg(&directory)
        // What the outer build adds for the extension (flags for a shared library, lint wrappers) is not for init.
        // Called at fixed addresses, so no table of those is needed.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Crelocation-model=static")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "building nsbox-init failed");
    let binary = directory.join(&target).join("init").join("nsbox-init");
    println!("cargo:rustc-env=NSBOX_INIT={}", binary.display());
}
