#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agentvitals_collector::fuzzing::value(bytes));
