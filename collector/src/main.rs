//! The agentvitals command.
fn main() {}
