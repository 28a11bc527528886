//! Probes: their state machine, and real servers of each kind: good, slow, wrong, hanging, endless.
#![cfg(feature = "probes")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use agentvitals::alert::Phase;
use agentvitals::health::Status;
use agentvitals::probe::{Closure, Failure, Http, Mcp, McpGeneration, ProbeConfig, Prober, Target, Tcp};
use agentvitals::{Clock, Error};
use proptest::prelude::*;
use serde_json::{Value, json};

fn config(change: impl FnOnce(&mut ProbeConfig)) -> ProbeConfig {
    let mut config = ProbeConfig::default();
    config.timeout = 2.0;
    change(&mut config);
    config
}

/// Feature: G9
#[test]
fn fields_and_defaults_are_those_of_the_source() {
    let config = ProbeConfig::default();
    assert_eq!((config.check_interval, config.timeout, config.failure_threshold), (60.0, 10.0, 3));
    assert_eq!((config.degraded_threshold_ms, config.expected_status_codes), (5_000.0, vec![200]));
    let prober = Prober::start(Clock::system()).unwrap();
    let wrong = |change: fn(&mut ProbeConfig)| -> Error {
        let mut config = ProbeConfig::default();
        change(&mut config);
        prober.add("x", config, Closure::new(|| Ok(()))).unwrap_err()
    };
    for (error, said) in [
        (wrong(|config| config.timeout = 0.0), "timeout = 0"),
        (wrong(|config| config.failure_threshold = 0), "failure_threshold"),
        (wrong(|config| config.expected_status_codes = vec![99]), "99"),
        (wrong(|config| config.expected_status_codes = vec![]), "empty"),
        (Http::get("ftp://x").unwrap_err(), "ftp://x"),
        (prober.perform_health_check("nobody").unwrap_err(), "nobody"),
    ] {
        assert!(error.is_config() && error.to_string().contains(said), "{error}");
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

proptest! {
    /// Feature: G12
    #[test]
    fn a_target_is_unhealthy_after_so_many_failures_in_a_row_and_healthy_after_one_success(
        checks in proptest::collection::vec((any::<bool>(), 0..10_000_u64, 1..600_u64), 1..100),
        threshold in 1..5_u32,
    ) {
        let config = config(|config| config.failure_threshold = threshold);
        let mut target = Target::new(config, at(0));
        let (mut row, mut now, mut failures, mut recoveries) = (0, 0, 0, 0);
        for (ok, milliseconds, passes) in &checks {
            now += passes;
            let before = target.status();
            let result = if *ok { Ok(()) } else { Err(Failure::new("failed", "no")) };
            let status = target.note(result, Duration::from_millis(*milliseconds), at(now));
            row = if *ok { 0 } else { row + 1 };
            failures += u64::from(!ok);
            recoveries += u64::from(before == Status::Unhealthy && *ok);
            let expected = match (*ok, row >= threshold || before == Status::Unhealthy) {
                (true, _) if *milliseconds > 5_000 => Status::Degraded,
                (true, _) => Status::Healthy,
                (false, true) => Status::Unhealthy,
                (false, false) => Status::Degraded,
            };
            prop_assert_eq!(status, expected);
        }
        let health = target.health("t".into(), at(now));
        prop_assert_eq!((health.checks, health.failures), (checks.len() as u64, failures));
        prop_assert_eq!((health.consecutive_failures, health.recoveries), (row, recoveries));
        let times = target.time_in(Duration::from_secs(now), at(now));
        let all: Duration = times.iter().map(|(_, time)| *time).sum();
        prop_assert_eq!(all, Duration::from_secs(now), "every moment is counted once");
        for share in [health.availability.hour, health.availability.ever].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&share));
        }
    }
}

/// Feature: C10, G12
#[test]
fn availability_is_weighted_by_time_and_flaps_are_counted() {
    let mut target = Target::new(config(|config| config.failure_threshold = 1), at(0));
    let ok = |target: &mut Target, seconds| target.note(Ok(()), Duration::ZERO, at(seconds));
    let failed = || Err(Failure::new("failed", "no"));
    ok(&mut target, 100);
    target.note(failed(), Duration::ZERO, at(1_000));
    ok(&mut target, 1_900);
    // 900 s of 3,600 unhealthy, and the first 100 s nothing was known.
    let health = target.health("t".into(), at(3_700));
    assert!((health.availability.ever.unwrap() - 2_700.0 / 3_600.0).abs() < 1e-9, "{health:?}");
    assert_eq!((health.flaps, health.recoveries), (2, 1));
    target.set_maintenance(true, at(3_700));
    target.note(failed(), Duration::ZERO, at(4_000));
    assert_eq!(target.status(), Status::Maintenance);
    target.set_maintenance(false, at(5_000));
    assert_eq!(target.status(), Status::Unknown);
    let later = target.health("t".into(), at(5_000)).availability.ever.unwrap();
    assert!((later - 2_700.0 / 3_600.0).abs() < 1e-9, "time in maintenance does not count: {later}");
}

/// A server that answers each request by this; it gets the head and the body.
fn serve(answer: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut stream: TcpStream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let (mut head, mut length) = (String::new(), 0);
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        let lower = line.to_ascii_lowercase();
                        if let Some(value) = lower.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            break;
                        }
                        head.push_str(&lower);
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let bytes = answer(&head, &String::from_utf8(body).unwrap());
                    if stream.write_all(&bytes).is_err() || bytes.is_empty() {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn failure(prober: &Prober, name: &str) -> Failure {
    prober.perform_health_check(name).unwrap().failure.unwrap()
}

/// Feature: G10, G11
#[test]
fn http_endpoints_that_are_good_wrong_slow_endless_or_gone() {
    let prober = Prober::start(Clock::system()).unwrap();
    let good = serve(|head, _| match head.contains("x-key: secret") {
        true => reply("200 OK", "", "all is well"),
        false => reply("401 Unauthorized", "", ""),
    });
    let add =
        |name: &str, probe: Http, config: ProbeConfig| prober.add(name.to_owned(), config, probe).unwrap();
    let plain = || config(|_| {});
    add("good", Http::get(&good).unwrap().header("x-key", "secret").unwrap().contains("is well"), plain());
    add("refused", Http::get(&good).unwrap(), plain());
    add("other", Http::get(&good).unwrap().header("x-key", "secret").unwrap().contains("is ill"), plain());
    add("allowed", Http::get(&good).unwrap(), config(|config| config.expected_status_codes = vec![200, 401]));
    assert_eq!(prober.perform_health_check("good").unwrap().status, Status::Healthy);
    assert_eq!(prober.perform_health_check("allowed").unwrap().status, Status::Healthy);
    assert_eq!(failure(&prober, "refused").class, "status");
    assert!(failure(&prober, "other").message.contains("is ill"));
    // Accepts and says nothing: the deadline ends it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("http://{}", silent.local_addr().unwrap());
    add("hangs", Http::get(&hangs).unwrap(), config(|config| config.timeout = 0.2));
    assert_eq!(failure(&prober, "hangs").class, "timeout");
    let endless = serve(|_, _| reply("200 OK", "", &"x".repeat(3 << 20)));
    add("endless", Http::get(&endless).unwrap().contains("never"), plain());
    assert!(failure(&prober, "endless").message.contains("longer than"));
    let moved = serve(|_, _| reply("302 Found", "location: http://127.0.0.1:1/\r\n", ""));
    add("moved", Http::get(&moved).unwrap(), plain());
    assert!(failure(&prober, "moved").message.contains("302"));
    // Three in a row, and one is enough to be healthy again.
    prober.add("tcp", plain(), Tcp::new(good.trim_start_matches("http://"))).unwrap();
    assert_eq!(prober.perform_health_check("tcp").unwrap().status, Status::Healthy);
    let free = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    prober.add("gone", plain(), Tcp::new(free.to_string())).unwrap();
    let statuses: Vec<Status> = (0..3).map(|_| prober.perform_health_check("gone").unwrap().status).collect();
    assert_eq!(statuses, [Status::Degraded, Status::Degraded, Status::Unhealthy]);
    let _listens = TcpListener::bind(free).unwrap();
    let health = prober.perform_health_check("gone").unwrap();
    assert_eq!((health.status, health.recoveries), (Status::Healthy, 1));
    assert_eq!(prober.get_tool_health_status("gone").unwrap().as_str(), "healthy");
}

/// Feature: G11
#[test]
fn targets_are_checked_in_their_interval_at_most_ten_at_a_time() {
    let prober = Prober::start(Clock::system()).unwrap();
    let (now, most, all) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for target in 0..25 {
        let (now, most, all) = (now.clone(), most.clone(), all.clone());
        let probe = Closure::of_future(move || {
            let (now, most, all) = (now.clone(), most.clone(), all.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        });
        prober.add(format!("t{target}"), config(|config| config.check_interval = 0.05), probe).unwrap();
    }
    prober.start_monitoring();
    let start = Instant::now();
    while prober.targets().iter().any(|target| target.checks < 3) {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", prober.targets());
        std::thread::yield_now();
    }
    assert_eq!(most.load(Ordering::SeqCst), 10);
    assert!(prober.remove("t0") && !prober.remove("t0"));
    // Ends at once, whatever is being checked.
    let dropped = Instant::now();
    drop(prober);
    assert!(dropped.elapsed() < Duration::from_secs(5));
}

/// What a server of the newer generation answers.
fn modern(head: &str, body: &str) -> Vec<u8> {
    let request: Value = serde_json::from_str(body).unwrap();
    let method = request["method"].as_str().unwrap();
    assert!(
        head.contains(&format!("mcp-method: {method}")) && head.contains("mcp-protocol-version: 2026-07-28"),
        "{head}"
    );
    assert_eq!(request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    let result = match method {
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {}}),
        "tools/list" => json!({"tools": [{"name": "echo"}, {"name": "add"}]}),
        "tools/call" => {
            assert!(head.contains("mcp-name: echo"));
            json!({"content": [{"type": "text", "text": "broken"}], "isError": request["params"]["arguments"]["fail"]})
        }
        other => panic!("{other}"),
    };
    reply(
        "200 OK",
        "content-type: application/json\r\n",
        &json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string(),
    )
}

/// What a server of the older generation answers: streams of events, with a notification before the answer.
fn legacy(head: &str, body: &str) -> Vec<u8> {
    if head.starts_with("delete") {
        return reply("200 OK", "", "");
    }
    let request: Value = serde_json::from_str(body).unwrap();
    let method = request["method"].as_str().unwrap();
    if method == "server/discover" {
        let error = json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": "Server not initialized"}, "id": null});
        return reply("400 Bad Request", "content-type: application/json\r\n", &error.to_string());
    }
    if method != "initialize" {
        assert!(
            head.contains("mcp-session-id: s-1") && head.contains("mcp-protocol-version: 2025-11-25"),
            "{head}"
        );
    }
    let result = match method {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "old", "version": "1"}, "capabilities": {}})
        }
        "notifications/initialized" => return reply("202 Accepted", "", ""),
        "ping" => json!({}),
        "tools/list" => json!({"tools": [{"name": "echo"}]}),
        other => panic!("{other}"),
    };
    let noise = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
    let events = format!("event: message\ndata: {noise}\n\nid: 7\nevent: message\ndata: {answer}\n\n");
    // The stream stays open: a chunk, and no last one.
    let chunk = format!("{:x}\r\n{events}\r\n", events.len());
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nmcp-session-id: s-1\r\ntransfer-encoding: chunked\r\n\r\n{chunk}").into_bytes()
}

/// Feature: G10
#[test]
fn mcp_servers_of_both_generations_over_http() {
    let prober = Prober::start(Clock::system()).unwrap();
    let new = Mcp::http(&format!("{}/mcp", serve(modern))).unwrap();
    prober.add("new", config(|_| {}), new.clone()).unwrap();
    assert_eq!(prober.perform_health_check("new").unwrap().failure, None);
    let report = new.report().unwrap();
    assert_eq!(
        (report.generation, report.protocol_version.as_str(), report.tools),
        (McpGeneration::Modern, "2026-07-28", 2)
    );
    let failing = new.clone().call_tool("echo", json!({"fail": true}));
    prober.add("failing", config(|_| {}), failing).unwrap();
    let failure = prober.perform_health_check("failing").unwrap().failure.unwrap();
    assert_eq!((failure.class.as_ref(), failure.message.as_str()), ("tool_error", "echo: broken"));
    let working = new.call_tool("echo", json!({"fail": false}));
    prober.add("working", config(|_| {}), working).unwrap();
    assert_eq!(prober.perform_health_check("working").unwrap().status, Status::Healthy);

    let old = Mcp::http(&format!("{}/mcp", serve(legacy))).unwrap();
    prober.add("old", config(|_| {}), old.clone()).unwrap();
    assert_eq!(prober.perform_health_check("old").unwrap().failure, None);
    let report = old.report().unwrap();
    assert_eq!(
        (report.generation, report.server.as_deref(), report.tools),
        (McpGeneration::Legacy, Some("old"), 1)
    );

    let down = Mcp::http(&serve(|_, _| reply("503 Service Unavailable", "", "busy"))).unwrap();
    prober.add("down", config(|_| {}), down).unwrap();
    assert_eq!(prober.perform_health_check("down").unwrap().failure.unwrap().class, "status");
    let page = Mcp::http(&serve(|_, _| reply("200 OK", "", "<html>not found</html>"))).unwrap();
    prober.add("page", config(|_| {}), page).unwrap();
    assert_eq!(prober.perform_health_check("page").unwrap().failure.unwrap().class, "protocol");
}

/// A server over stdio, as a script of the shell: it does not know `server/discover`, and says something unasked first.
const SCRIPT: &str = r#"
echo 'starting up, no JSON'
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *server/discover*) echo '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
       echo '{"jsonrpc":"2.0","id":'"$id"',"error":{"code":-32601,"message":"Method not found"}}';;
    *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"sh"}}}';;
    *notifications/initialized*) ;;
    *tools/list*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"tools":[]}}';;
    *) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{}}';;
  esac
done
"#;

/// Feature: G10
#[cfg(unix)]
#[test]
fn mcp_servers_over_stdio_are_started_asked_and_ended() {
    let prober = Prober::start(Clock::system()).unwrap();
    let server = Mcp::stdio("sh", ["-c", SCRIPT]);
    prober.add("sh", config(|config| config.timeout = 10.0), server.clone()).unwrap();
    assert_eq!(prober.perform_health_check("sh").unwrap().failure, None);
    assert_eq!(server.report().unwrap().server.as_deref(), Some("sh"));
    prober.add("mute", config(|config| config.timeout = 0.3), Mcp::stdio("sleep", ["4711"])).unwrap();
    assert_eq!(failure(&prober, "mute").class, "timeout");
    prober.add("ends", config(|_| {}), Mcp::stdio("true", [""; 0])).unwrap();
    assert_eq!(failure(&prober, "ends").class, "unreachable");
    prober.add("none", config(|_| {}), Mcp::stdio("no-such-program", [""; 0])).unwrap();
    assert!(failure(&prober, "none").message.contains("no-such-program"));
    // What did not answer was killed.
    let start = Instant::now();
    let is_there = || {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .any(|line| line == b"sleep\x004711\0")
    };
    while is_there() {
        assert!(start.elapsed() < Duration::from_secs(10), "the server is still there");
        std::thread::yield_now();
    }
}

/// Feature: C10, G10
#[test]
fn what_probes_find_is_exported_alerted_on_and_not_in_the_users_metrics() {
    let (clock, _hand) = Clock::manual();
    let metrics = agentvitals::testing::MetricCapture::new();
    let prober = Prober::start(clock.clone()).unwrap();
    let vitals = agentvitals::builder()
        .config(agentvitals::Config::default())
        .without_export()
        .metric_exporter(metrics.clone())
        .clock(clock)
        .health_interval(Duration::ZERO)
        .prober(prober.clone())
        .build()
        .unwrap();
    prober
        .add("db", config(|config| config.failure_threshold = 2), Closure::new(|| Err("no route".to_owned())))
        .unwrap();
    prober.perform_health_check("db").unwrap();
    prober.perform_health_check("db").unwrap();
    let alerts = vitals.alerts();
    assert_eq!((alerts.len(), alerts[0].phase, &*alerts[0].rule), (1, Phase::Firing, "probe"));
    assert!(
        alerts[0].summary.starts_with("db is unhealthy: failed: no route (2 failed checks"),
        "{}",
        alerts[0].summary
    );
    vitals.flush_blocking(Duration::from_secs(10)).unwrap();
    let of = |name: &str| metrics.metric(name).last().and_then(|point| point.value());
    assert_eq!(
        (of("agentvitals.probe.up"), of("agentvitals.probe.consecutive_failures")),
        (Some(0.0), Some(2.0))
    );
    assert!(
        metrics.metrics().iter().all(|point| !point.name.starts_with("gen_ai.")),
        "probes are no operations"
    );
    prober.set_maintenance("db", true);
    assert!(vitals.alerts().is_empty());
}
