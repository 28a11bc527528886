//! Too many names. A process of its own, because the table of names is the process's.

mod support;

use agentvitals::tool_span;
use support::Rig;

/// Feature: N3
/// Behaviour: P25
#[test]
fn a_process_that_makes_up_names_without_end_stays_bounded() {
    let rig = Rig::new();
    rig.run(|| {
        for number in 0..40_000 {
            let name = format!("made-up-{number}");
            drop(tool_span!(name.as_str()));
        }
    });
    let status = rig.vitals.status();
    assert!(status.names_refused > 0, "{status:?}");
    assert_eq!(rig.count("gen_ai.execute_tool.duration"), 40_000);
    assert_eq!(rig.points("gen_ai.execute_tool.duration").len(), 2_000);
}
