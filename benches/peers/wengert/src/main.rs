//! The workloads in Wengert, as a user writes them: a tape for each step.

mod kept;
mod losses;
mod profile;
mod step;

use bed::{Job, Worker, main as work};

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("profile") {
        let known = args.next().is_some_and(|workload| profile::show(&workload));
        return if !known {
            eprintln!("expected: profile W1|W2|W3|W4|W5|W6|W7|W8|W11")
        };
    }
    work(&Worker {
        peer: "wengert",
        version: "0.1.0",
        offers: &[
            ("W1", "eager"),
            ("W2", "eager"),
            ("W3", "eager"),
            ("W4", "eager"),
            ("W5", "eager"),
            ("W6", "eager"),
            ("W7", "eager"),
            ("W8", "eager"),
            ("W9", "eager"),
            ("W10", "eager"),
            ("W11", "eager"),
            ("W11", "objective"),
            ("W1", "program"),
            ("W1", "loop of 1000"),
            ("W2", "program"),
            ("W2", "loop of 1000"),
            ("W9", "program"),
        ],
        missing: &[],
        prepare,
    });
}

fn prepare(workload: &str, variant: &str) -> Box<dyn Job> {
    match workload {
        "W1" if variant != "eager" => kept::sgd(bed::workloads::mlp(1000, &bed::workloads::TINY), losses::tiny(), variant),
        "W2" if variant != "eager" => kept::adam(bed::workloads::mlp(2000, &bed::workloads::DIGITS), losses::digits(), variant),
        "W9" if variant != "eager" => kept::gradient(losses::scalars(), losses::scalar_chain),
        "W1" => step::sgd(bed::workloads::mlp(1000, &bed::workloads::TINY), losses::tiny()),
        "W2" => step::adam(bed::workloads::mlp(2000, &bed::workloads::DIGITS), losses::digits()),
        "W3" => step::adam(bed::workloads::mlp(3000, &bed::workloads::MNIST), losses::mnist()),
        "W4" => step::adam(bed::workloads::cnn(), losses::cnn()),
        "W5" => step::adam(bed::workloads::lstm(), losses::lstm()),
        "W6" => step::adam(bed::workloads::transformer(), losses::transformer()),
        "W7" => step::gradient(losses::chain_input(), losses::chain),
        "W8" => step::gradient(losses::logits_input(), losses::logits()),
        "W9" => step::gradient(losses::scalars(), losses::scalar_chain),
        "W10" => step::hvp(bed::workloads::mlp(3000, &bed::workloads::MNIST), bed::workloads::directions(), losses::mnist()),
        "W11" if variant == "objective" => step::value(losses::mixture_input(), losses::mixture()),
        "W11" => step::gradient(losses::mixture_input(), losses::mixture()),
        _ => unreachable!("not offered: {workload}"),
    }
}
