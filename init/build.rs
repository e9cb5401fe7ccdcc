//! Link nsbox-init without start files, libraries or a dynamic loader, laid out as `link.ld` says.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the directory");
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{directory}/link.ld");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
}
