//! What the compiler says of a task that cannot be one, at which token.
//!
//! No case here passes: where none does, all are checked by one run of cargo, and nothing is built for them. The forms
//! that compile are programs beside this one, `every_form.rs` and `every_periodic_form.rs`.

#[test]
fn mistakes_are_told_at_their_token() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
