//! Says which real systems the tests may use, so that a test that cannot run is shown as ignored, with the reason.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(amqp)");
    println!("cargo::rerun-if-env-changed=ERGON_TEST_AMQP_URL");
    if std::env::var_os("ERGON_TEST_AMQP_URL").is_some() {
        println!("cargo::rustc-cfg=amqp");
    }
}
