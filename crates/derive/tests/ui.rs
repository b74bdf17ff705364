//! Do mistakes get a message that says what to do, at the place where they are?

#[test]
fn messages() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
