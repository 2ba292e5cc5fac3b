//! `replay TARGET FILE…`: runs inputs once, as libFuzzer's programs do, without libFuzzer.

fn main() {
    let mut arguments = std::env::args().skip(1);
    let target = aerostack_fuzz::target(&arguments.next().expect("a target's name"));
    for path in arguments {
        target(&std::fs::read(path).expect("a file that can be read"));
    }
}
