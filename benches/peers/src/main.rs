//! How fast is Wengert beside its peers? Every workload in every library, in turns, in one run.

mod costs;
mod options;
mod peers;
mod probe;
mod report;
mod rows;
mod worker;

use options::Options;
use rows::Row;
use worker::Running;

fn main() {
    let options = match Options::from_env() {
        Ok(Some(options)) => options,
        Ok(None) => return println!("{}", options::HELP),
        Err(why) => {
            eprintln!("peers: {why}; --help lists the settings");
            std::process::exit(2);
        }
    };
    let (peers, skipped) = peers::find(&options);
    skipped.iter().for_each(|why| eprintln!("skipped: {why}"));
    eprintln!("measuring the machine");
    let machine = probe::machine();
    let made_with = report::made_with();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for workload in &options.workloads {
        rows.extend(measure(workload, &peers, &options, &mut failed));
    }
    let faults = rows::disagreements(&rows);
    let run = report::Run { options: &options, machine, made_with, peers: &peers, skipped, failed, rows, faults };
    println!("{}", run.overview());
    match run.write() {
        Ok(folder) => eprintln!("written to {}", folder.display()),
        Err(why) => eprintln!("peers: the results could not be written: {why}"),
    }
    if !run.faults.is_empty() {
        run.faults.iter().for_each(|fault| eprintln!("not the same: {fault}"));
        std::process::exit(1);
    }
}

/// One workload in all peers: each prepares, then they are timed in turns while the others are stopped. Says which of them failed, and why.
fn measure(workload: &str, peers: &[peers::Peer], options: &Options, failed: &mut Vec<String>) -> Vec<Row> {
    let mut fail = |why: String| {
        eprintln!("failed: {why}");
        failed.push(why);
    };
    let mut starting = Vec::new();
    for peer in peers {
        for variant in peer.variants(workload).filter(|v| !(options.quick && peers::is_slow_to_start(workload, v))) {
            for &threads in options.threads_of(workload, variant) {
                starting.push(Running::start(peer, workload, variant, threads));
            }
        }
    }
    let mut running = Vec::new();
    for worker in starting {
        match worker.and_then(Running::ready) {
            Ok(worker) => running.push(worker),
            Err(why) => fail(why),
        }
    }
    running.iter_mut().for_each(Running::pause);
    for round in 0..options.rounds {
        for worker in &mut running {
            let warm = if round == 0 { options.warm } else { options.warm / 5.0 };
            worker.run(warm, options.budget / options.rounds as f64, 7usize.div_ceil(options.rounds), most(workload) / options.rounds);
        }
    }
    let rows: Vec<Row> = running.into_iter().filter_map(|w| w.end().map_err(&mut fail).ok()).collect();
    rows.iter().for_each(|row| eprintln!("{row}"));
    rows
}

/// At most so many timed steps.
fn most(workload: &str) -> usize {
    if workload == "W1" { 20_000 } else { 2000 }
}
