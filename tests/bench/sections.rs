//! The measurements, one function each: run the rounds, print the table.
//!
//! In every round each tool does the same work once, in an order shuffled
//! anew. A ratio is taken within a round and the table shows the median of
//! the rounds' ratios with their range, so a machine that is slow for a while
//! is slow for all. Above 1, scat is the better one.

use std::fs::{self, File};
use std::process::Command;
use std::sync::Arc;

use crate::limit::{self, Cost};
use crate::link::{Namespaces, Way};
use crate::relay::DELAY;
use crate::report::{Spread, Table, middle, show};
use crate::tools::{Job, NULL_PIPE, Site, Tool, find};
use crate::trial::{self, Outcome, Source};

const MIB: u64 = 1 << 20;
const GIB: f64 = (1u64 << 30) as f64;

/// What all measurements share.
pub struct Bench {
    /// The tools that are there and work; the first one is the base of ratios.
    pub tools: Vec<&'static Tool>,
    pub site: Site,
    /// Random bytes, `size` of them, in memory without a name.
    pub file: File,
    /// Random bytes for pipes.
    pub chunk: Arc<Vec<u8>>,
    /// Bytes of a throughput round.
    pub size: u64,
    pub rounds: usize,
    pub smoke: bool,
    /// What went wrong, a line each.
    pub failures: Vec<String>,
    /// State of the shuffle, never 0.
    pub dice: u64,
}

/// One value for each tool and round, None where the run failed.
type Rounds<T> = Vec<Vec<Option<T>>>;

impl Bench {
    /// Runs `work` for each of `names`, by index, in shuffled rounds.
    fn interleave<T>(
        &mut self,
        section: &str,
        rounds: usize,
        names: &[String],
        work: impl Fn(&Bench, usize) -> Result<T, String>,
    ) -> Rounds<T> {
        let mut results: Rounds<T> = names.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            eprintln!("{section}: round {round} of {rounds}");
            let mut order: Vec<usize> = (0..names.len()).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, self.roll(last + 1));
            }
            for i in order {
                let result = work(self, i);
                if let Err(e) = &result {
                    let line = format!("{section}, round {round}: {}: {e}", names[i]);
                    eprintln!("{line}");
                    self.failures.push(line);
                }
                results[i].push(result.ok());
            }
        }
        results
    }

    /// A number below `n` (xorshift; it only shuffles).
    fn roll(&mut self, n: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice % n as u64) as usize
    }

    fn names(&self) -> Vec<String> {
        self.tools.iter().map(|tool| tool.name.into()).collect()
    }

    /// Every build of scat, and plain nc if it is there.
    fn scat_and_nc(&self) -> Vec<&'static Tool> {
        let wanted = |tool: &&Tool| tool.name.starts_with("scat") || tool.name == "nc";
        self.tools.iter().copied().filter(wanted).collect()
    }

    fn ratio_title(&self) -> String {
        format!("{} is times as fast", self.tools[0].name)
    }
}

/// Bytes a second in MB (10^6 bytes), from the seconds of each round.
fn megabytes(size: u64, outcomes: &[Option<Outcome>]) -> Vec<Option<f64>> {
    outcomes.iter().map(|o| o.as_ref().map(|o| size as f64 / 1e6 / o.last)).collect()
}

/// Throughput, and what it costs at each end. Returns MB/s for the plot.
pub fn throughput(bench: &mut Bench) -> Vec<(String, Spread)> {
    let (names, size) = (bench.names(), bench.size);
    println!("## Throughput: a random file of {} MiB in, a pipe out\n", size / MIB);
    let results = bench.interleave("throughput", bench.rounds, &names, |bench, i| {
        trial::push(bench.tools[i], &bench.site, Source::File(&bench.file, size), None)
    });
    rates(bench, size, &results)
}

/// Both directions at once.
pub fn duplex(bench: &mut Bench) {
    let (names, size) = (bench.names(), bench.size);
    println!("## Both directions at once: {} MiB each way, pipes in, pipes out\n", size / MIB);
    println!(
        "MB/s is the sum of the two. Both inputs stay open until both outputs have everything, \
         because several tools drop the other direction at the first end of input.\n"
    );
    let results = bench.interleave("duplex", bench.rounds, &names, |bench, i| {
        trial::both(bench.tools[i], &bench.site, &bench.chunk, size)
    });
    rates(bench, 2 * size, &results);
}

/// The table of the two above. `size` is all bytes that passed.
fn rates(bench: &Bench, size: u64, results: &Rounds<Outcome>) -> Vec<(String, Spread)> {
    let ratio = bench.ratio_title();
    let mut table = Table::new(&[
        "tool",
        "MB/s",
        &ratio,
        "CPU s/GiB, connector",
        "listener",
        "peak MiB, connector",
        "listener",
    ]);
    let base = megabytes(size, &results[0]);
    let gib = size as f64 / GIB;
    let mut bars = Vec::new();
    for (tool, outcomes) in bench.tools.iter().zip(results) {
        let rate = megabytes(size, outcomes);
        let spread = Spread::of(rate.iter().flatten().copied());
        bars.extend(spread.map(|spread| (tool.name.to_string(), spread)));
        let of = |pick: &dyn Fn(&Outcome) -> f64| Spread::of(outcomes.iter().flatten().map(pick));
        table.row(vec![
            tool.name.into(),
            show(spread, 0),
            show(Spread::of_ratios(&base, &rate), 2),
            middle(of(&|o| o.cpu.0 / gib), 2),
            middle(of(&|o| o.cpu.1 / gib), 2),
            middle(of(&|o| o.peak.0 as f64 / 1024.0), 1),
            middle(of(&|o| o.peak.1 as f64 / 1024.0), 1),
        ]);
    }
    table.print();
    bars
}

/// From the connector's start to the first byte at the sink, and to its end.
pub fn startup(bench: &mut Bench, line: &File) {
    println!("## Start-up: one line of 64 bytes, from the connector's start\n");
    let rounds = if bench.smoke { bench.rounds } else { 3 * bench.rounds };
    let results = bench.interleave("startup", rounds, &bench.names(), |bench, i| {
        trial::push(bench.tools[i], &bench.site, Source::File(line, 64), None)
    });
    starts(bench, &bench.tools, &results);
}

/// The table of start-up times.
fn starts(bench: &Bench, tools: &[&Tool], results: &Rounds<Outcome>) {
    let ratio = bench.ratio_title();
    let mut table =
        Table::new(&["tool", "ms to first byte at the sink", "ms to exit", &ratio, "to exit"]);
    let pick = |outcomes: &[Option<Outcome>], pick: fn(&Outcome) -> f64| -> Vec<Option<f64>> {
        outcomes.iter().map(|o| o.as_ref().map(|o| 1e3 * pick(o))).collect()
    };
    let (base_first, base_exit) = (pick(&results[0], |o| o.first), pick(&results[0], |o| o.exit));
    for (tool, outcomes) in tools.iter().zip(results) {
        let (first, exit) = (pick(outcomes, |o| o.first), pick(outcomes, |o| o.exit));
        table.row(vec![
            tool.name.into(),
            show(Spread::of(first.iter().flatten().copied()), 1),
            show(Spread::of(exit.iter().flatten().copied()), 1),
            show(Spread::of_ratios(&first, &base_first), 2),
            show(Spread::of_ratios(&exit, &base_exit), 2),
        ]);
    }
    table.print();
}

/// Lines of 64 bytes, each sent after the echo of the last.
pub fn pingpong(bench: &mut Bench) {
    let lines = if bench.smoke { 50 } else { 2000 };
    println!("## Ping-pong: {lines} lines of 64 bytes, a `cat` at the far end\n");
    let results = bench.interleave("pingpong", bench.rounds, &bench.names(), |bench, i| {
        trial::ping(bench.tools[i], &bench.site, lines)
    });
    let ratio = bench.ratio_title();
    let mut table = Table::new(&["tool", "round trips/s", &ratio]);
    for (tool, rates) in bench.tools.iter().zip(&results) {
        table.row(vec![
            tool.name.into(),
            show(Spread::of(rates.iter().flatten().copied()), 0),
            show(Spread::of_ratios(&results[0], rates), 2),
        ]);
    }
    table.print();
}

/// Throughput and memory as the work grows: both should stay flat.
pub fn growth(bench: &mut Bench) {
    println!("## As work grows: a pipe in, a pipe out\n");
    println!(
        "MB/s from the first byte at the sink to the last, so without start-up; peak is the \
         larger of the two ends.\n"
    );
    let sizes: &[u64] = if bench.smoke { &[1, 4] } else { &[1, 8, 64, 512, 8192] };
    let tools = bench.scat_and_nc();
    let tools = if tools.is_empty() { bench.tools.clone() } else { tools };
    let cases: Vec<(&Tool, u64)> =
        tools.iter().flat_map(|tool| sizes.iter().map(|size| (*tool, *size))).collect();
    let names: Vec<String> =
        cases.iter().map(|(tool, size)| format!("{} {size} MiB", tool.name)).collect();
    let results = bench.interleave("growth", bench.rounds.min(3), &names, |bench, i| {
        let (tool, size) = cases[i];
        trial::push(tool, &bench.site, Source::Pipe(&bench.chunk, size * MIB), None)
    });
    let mut table = Table::new(&["tool", "MiB", "MB/s", "peak MiB"]);
    for ((tool, size), outcomes) in cases.iter().zip(&results) {
        let rate = |o: &Outcome| (size * MIB) as f64 / 1e6 / (o.last - o.first);
        let peak = |o: &Outcome| o.peak.0.max(o.peak.1) as f64 / 1024.0;
        table.row(vec![
            tool.name.into(),
            size.to_string(),
            show(Spread::of(outcomes.iter().flatten().map(rate)), 0),
            show(Spread::of(outcomes.iter().flatten().map(peak)), 1),
        ]);
    }
    table.print();
}

/// A link slower than the ends, and a path longer than loopback: scat beside
/// plain nc.
pub fn link(bench: &mut Bench, line: &File) {
    let tools = bench.scat_and_nc();
    let names: Vec<String> = tools.iter().map(|tool| tool.name.into()).collect();
    let size = if bench.smoke { MIB } else { 64 * MIB };
    let bulk = |bench: &Bench, i: usize| {
        trial::push(tools[i], &bench.site, Source::Pipe(&bench.chunk, size), None)
    };
    println!("## A slow link: {} MiB from a pipe, from namespace to namespace\n", size / MIB);
    if !names.iter().any(|name| name == "nc") {
        println!("* nc: not among the tools, so there is nothing to compare with\n");
    }
    match Namespaces::new() {
        Ok(slow) => {
            println!("Each direction is shaped by {}; {}.\n", slow.shape, tcp_settings());
            bench.site.way = Way::Slow(slow);
            let results = bench.interleave("slow link", bench.rounds, &names, bulk);
            bench.site.way = Way::Loopback;
            pace(bench, &tools, size, &results);
        }
        Err(e) => println!("* left out: {e}\n"),
    }
    let trip = 2 * DELAY.as_millis();
    println!(
        "## A long path: {} MiB from a pipe and a line of 64 bytes, a round trip of {trip} ms\n",
        size / MIB
    );
    println!(
        "A relay on loopback hands every byte on {} ms after it came in, at any rate, and holds a \
         new connection for the round trip of TCP's handshake. It ends TCP on both ends, so this \
         shows the round trips that a tool makes and not the windows of TCP.\n",
        DELAY.as_millis()
    );
    println!(
        "The connector's first byte is at the far end after 1.5 round trips with nc (TCP's \
         handshake, its own way) and after 3.5 with scat, two more: flights 1 and 2, then flight 3 \
         and the listener's opening. The listener's first byte takes 2 with nc and 3 with scat, \
         one more, for it follows flight 3 at once. No later byte waits for an answer.\n"
    );
    bench.site.way = Way::Long;
    let results = bench.interleave("long path", bench.rounds, &names, bulk);
    pace(bench, &tools, size, &results);
    let results = bench.interleave("long path, a line", bench.rounds, &names, |bench, i| {
        trial::push(tools[i], &bench.site, Source::File(line, 64), None)
    });
    bench.site.way = Way::Loopback;
    starts(bench, &tools, &results);
}

/// Throughput in all, and without start-up.
fn pace(bench: &Bench, tools: &[&Tool], size: u64, results: &Rounds<Outcome>) {
    let ratio = bench.ratio_title();
    let mut table = Table::new(&["tool", "MB/s", &ratio, "MB/s from the first byte", &ratio]);
    let all = |outcomes| megabytes(size, outcomes);
    let bulk = |outcomes: &[Option<Outcome>]| -> Vec<Option<f64>> {
        let rate = |o: &Outcome| size as f64 / 1e6 / (o.last - o.first);
        outcomes.iter().map(|o| o.as_ref().map(rate)).collect()
    };
    let base = (all(&results[0]), bulk(&results[0]));
    for (tool, outcomes) in tools.iter().zip(results) {
        let (all, bulk) = (all(outcomes), bulk(outcomes));
        table.row(vec![
            tool.name.into(),
            show(Spread::of(all.iter().flatten().copied()), 1),
            show(Spread::of_ratios(&base.0, &all), 3),
            show(Spread::of(bulk.iter().flatten().copied()), 1),
            show(Spread::of_ratios(&base.1, &bulk), 3),
        ]);
    }
    table.print();
}

/// What the system lets one connection have.
fn tcp_settings() -> String {
    let of = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        format!("{name} {}", text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    };
    ["tcp_congestion_control", "tcp_rmem", "tcp_wmem"].map(of).join(", ")
}

/// The parts of the limit, and how much of it is reached.
pub fn limit(bench: &mut Bench) {
    println!("## The limit\n");
    println!(
        "Loop: the benchmark itself as a plain one-way TCP pipe, one thread, RWF_NOWAIT, blocks of \
         {} KiB, no cipher. Cipher: ChaCha20-Poly1305 on frames of {} bytes in memory, one thread \
         sealing and one opening at once, the slower of the two. Limit: a thread that does both \
         in series reaches 1 / (1/loop + 1/cipher), and costs the sum of their CPU time.\n",
        limit::BLOCK / 1024,
        limit::FRAME
    );
    let scats: Vec<&Tool> =
        bench.tools.iter().copied().filter(|tool| tool.name.starts_with("scat")).collect();
    let mut names: Vec<String> = vec!["loop without cipher".into(), "cipher without loop".into()];
    names.extend(scats.iter().map(|tool| tool.name.to_string()));
    let size = bench.size;
    let mut results = bench.interleave("limit", bench.rounds, &names, |bench, i| {
        if i == 1 {
            return Ok(limit::cipher(size));
        }
        let tool = if i == 0 { &NULL_PIPE } else { scats[i - 2] };
        let o = trial::push(tool, &bench.site, Source::File(&bench.file, size), None)?;
        Ok(Cost { rate: size as f64 / o.last, cpu: (o.cpu.0 + o.cpu.1) / size as f64 })
    });
    let sum = |(lap, cipher): (&Option<Cost>, &Option<Cost>)| {
        let (lap, cipher) = (lap.as_ref()?, cipher.as_ref()?);
        Some(Cost { rate: limit::harmonic(lap.rate, cipher.rate), cpu: lap.cpu + cipher.cpu })
    };
    let sums = results[0].iter().zip(&results[1]).map(sum).collect();
    results.insert(2, sums);
    names.insert(2, "limit: both in series".into());
    let pick = |i: usize, pick: fn(&Cost) -> f64| -> Vec<Option<f64>> {
        results[i].iter().map(|cost| cost.as_ref().map(pick)).collect()
    };
    let mut table = Table::new(&["", "MB/s", "÷ limit", "CPU s/GiB, both ends", "limit ÷ it"]);
    for (i, name) in names.iter().enumerate() {
        let (rate, cpu) = (pick(i, |c| c.rate / 1e6), pick(i, |c| c.cpu * GIB));
        table.row(vec![
            name.clone(),
            show(Spread::of(rate.iter().flatten().copied()), 0),
            show(Spread::of_ratios(&rate, &pick(2, |c| c.rate / 1e6)), 2),
            show(Spread::of(cpu.iter().flatten().copied()), 2),
            show(Spread::of_ratios(&pick(2, |c| c.cpu * GIB), &cpu), 2),
        ]);
    }
    table.print();
}

/// Size of the programs on disk. scat's is stripped by its release profile;
/// the others are as their packages install them, stripped as a rule.
pub fn size(bench: &Bench) {
    println!("## Size of the programs (stripped), connector and listener together\n");
    let mut table = Table::new(&["tool", "KiB", "KiB with shared libraries"]);
    for tool in &bench.tools {
        let mut programs: Vec<String> = [tool.connect, tool.listen]
            .map(|line| tool.argv(line, Job::Push, &bench.site, 0, "").swap_remove(0))
            .into();
        programs.dedup();
        let mut all: Vec<String> = programs.iter().flat_map(|program| libraries(program)).collect();
        all.sort();
        all.dedup();
        let kib = |paths: &[String]| {
            paths.iter().filter_map(|path| fs::metadata(path).ok()).map(|m| m.len()).sum::<u64>()
                / 1024
        };
        let alone = kib(&programs);
        let with = if all.is_empty() { "–".into() } else { (alone + kib(&all)).to_string() };
        table.row(vec![tool.name.into(), alone.to_string(), with]);
    }
    table.print();
}

/// The shared libraries of a program as ldd finds them; none without an ldd.
fn libraries(program: &str) -> Vec<String> {
    let Some(ldd) = find("ldd") else {
        return Vec::new();
    };
    let out = Command::new(ldd).arg(program).output().map(|out| out.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&out);
    text.split_ascii_whitespace().filter(|word| word.starts_with('/')).map(Into::into).collect()
}
