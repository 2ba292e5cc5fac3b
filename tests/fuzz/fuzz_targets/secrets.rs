//! `secrets`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (aerostack_fuzz::target("secrets"))(data));
