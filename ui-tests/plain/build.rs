//! Lets the sources of `ergon` name the features that this package does not have.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(feature, values(any()))");
}
