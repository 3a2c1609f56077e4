//! How fast the channel is, beside tonic's own two, on this machine and in one run.
//!
//! For 1, 64 and 1,000 calls in flight, towards one endpoint and three: unary calls a second, CPU time
//! of this process a call, and latency. The clients take turns, so that whatever else the machine does
//! hits all of them; medians over the rounds count. The servers are a process of their own.
//!
//! Prints one JSON line a measurement, one with the ratios a setting, one with what the channel adds to
//! a call by itself (`added_us`), and one with the memory that an idle connection takes.

mod added;
mod measure;
mod memory;
mod servers;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use client::Channel;
use serde_json::json;
use tests::echo::Caller;
use tests::unless_interrupted;
use tonic::transport;

use crate::measure::{Measured, measure};
use crate::memory::Idle;
use crate::servers::Servers;

/// Measures the channel beside tonic's.
#[derive(Parser)]
struct Args {
    /// Length of one measurement.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Measurements of each client in each setting.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Weigh idle connections and nothing else, in turns of this length.
    #[arg(long, value_name = "TURN", value_parser = humantime::parse_duration)]
    idle: Option<Duration>,
    /// Our channel's pings on idle connections; with short ones a buffer's whole life fits in a turn.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = humantime::parse_duration)]
    ping_every: Duration,
    /// Be the servers (started by the benchmark itself).
    #[arg(long, hide = true)]
    serve: bool,
    /// Weigh this client's idle connections to that port (started by the benchmark itself).
    #[arg(long, hide = true, num_args = 2, value_names = ["CLIENT", "PORT"])]
    weigh: Vec<String>,
}

impl Args {
    fn idle(&self) -> Idle {
        Idle { turn: self.idle.unwrap_or(memory::IDLE_TURN), ping_every: self.ping_every }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Holdfast,
    TonicPlain,
    TonicBalance,
}

impl Client {
    const ALL: [Self; 3] = [Self::Holdfast, Self::TonicPlain, Self::TonicBalance];

    fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast",
            Self::TonicPlain => "tonic-plain",
            Self::TonicBalance => "tonic-balance",
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime needs only threads");
    let result = runtime.block_on(async {
        match &args.weigh[..] {
            [client, port] => memory::weigh(client, port.parse()?, args.idle()).await,
            _ if args.serve => servers::serve().await,
            _ => unless_interrupted(bench(&args)).await?,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("channel-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn bench(args: &Args) -> Result<(), Error> {
    let servers = Servers::start().await?;
    if args.idle.is_some() {
        return memory::report(&servers, args.idle());
    }
    for endpoints in [1, 3] {
        for in_flight in [1, 64, 1000] {
            let mut all: Vec<(Client, Measured)> = Vec::new();
            for _ in 0..args.rounds {
                for client in Client::ALL {
                    all.push((
                        client,
                        run(client, &servers, endpoints, in_flight, args.time).await?,
                    ));
                }
            }
            report(endpoints, in_flight, &all);
        }
    }
    println!("{}", added::report(&servers, args.time * 5).await?);
    memory::report(&servers, args.idle())
}

async fn run(
    client: Client,
    servers: &Servers,
    endpoints: usize,
    in_flight: usize,
    time: Duration,
) -> Result<Measured, Error> {
    let addresses = &servers.addresses[..endpoints];
    Ok(match client {
        Client::Holdfast => measure_ready(holdfast(addresses).await?, in_flight, time).await?,
        Client::TonicPlain => {
            let endpoint = transport::Endpoint::from_shared(format!("http://{}", addresses[0]))?;
            measure_ready(endpoint.connect().await?, in_flight, time).await?
        }
        Client::TonicBalance => {
            let endpoints = addresses.iter().map(|address| format!("http://{address}"));
            let endpoints: Result<Vec<_>, _> =
                endpoints.map(transport::Endpoint::from_shared).collect();
            let channel = transport::Channel::balance_list(endpoints?.into_iter());
            measure_ready(channel, in_flight, time).await?
        }
    })
}

async fn holdfast(addresses: &[std::net::SocketAddr]) -> Result<Channel, Error> {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let channel = Channel::builder(format!("static:///{}", list.join(","))).build()?;
    channel.until(|stats| stats.ready() == addresses.len()).await;
    Ok(channel)
}

/// A tenth of the time to warm up, then the measurement.
async fn measure_ready<C: Caller>(
    channel: C,
    in_flight: usize,
    time: Duration,
) -> Result<Measured, Error> {
    measure(&channel, in_flight, time / 10).await?;
    measure(&channel, in_flight, time).await
}

fn report(endpoints: usize, in_flight: usize, all: &[(Client, Measured)]) {
    let median = |client, of: fn(&Measured) -> f64| {
        let mut values: Vec<f64> =
            all.iter().filter(|(who, _)| *who == client).map(|(_, it)| of(it)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for client in Client::ALL {
        println!(
            "{}",
            json!({
                "client": client.name(), "endpoints": endpoints, "in_flight": in_flight,
                "calls_per_s": median(client, |it| it.calls_per_s).round(),
                "cpu_us_per_call": round(median(client, |it| it.cpu_us_per_call)),
                "p50_us": round(median(client, |it| it.p50_us)),
                "p99_us": round(median(client, |it| it.p99_us)),
            })
        );
    }
    let ratio = |to, of: fn(&Measured) -> f64| round(median(Client::Holdfast, of) / median(to, of));
    println!(
        "{}",
        json!({
            "endpoints": endpoints, "in_flight": in_flight,
            "speed_over_plain": ratio(Client::TonicPlain, |it| it.calls_per_s),
            "speed_over_balance": ratio(Client::TonicBalance, |it| it.calls_per_s),
            "cpu_over_plain": ratio(Client::TonicPlain, |it| it.cpu_us_per_call),
            "added_p50_us": round(
                median(Client::Holdfast, |it| it.p50_us) - median(Client::TonicPlain, |it| it.p50_us)
            ),
        })
    );
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
