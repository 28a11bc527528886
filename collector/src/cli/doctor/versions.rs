//! Whether a program has crates of OpenTelemetry twice: then what one of them records goes nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Check, Status};

/// Crates with state that a whole program must share.
const SHARED: [&str; 6] = [
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "tracing-opentelemetry",
    "tracing-core",
    "agentvitals",
];

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The lock file that is named, or that of the folder or of one above it.
pub(super) fn check(named: Option<&Path>) -> Check {
    let check = |status, message: String| Check { name: "versions", status, message };
    let Some(path) = named.map(Path::to_path_buf).or_else(found) else {
        let message = "there is no Cargo.lock here or above; name it with --lock FILE to see whether a crate is in it twice";
        return check(Status::Skipped, message.to_owned());
    };
    let shown = path.display();
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let lock: Lock =
        match read.and_then(|text| toml::from_str(&text).map_err(|error| error.message().to_owned())) {
            Ok(lock) => lock,
            Err(error) => return check(Status::Failed, format!("{shown}: {error}")),
        };
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.package.iter().filter(|package| SHARED.contains(&package.name.as_str())) {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let twice = versions.iter().filter(|(_, versions)| versions.len() > 1);
    let twice: Vec<String> = twice.map(|(name, versions)| told(&lock, name, versions)).collect();
    if twice.is_empty() {
        let known = versions
            .iter()
            .flat_map(|(name, versions)| versions.iter().map(move |version| format!("{name} {version}")));
        let known = known.collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none of OpenTelemetry's crates".to_owned() } else { known };
        return check(Status::Ok, format!("{shown} has {known}, each once"));
    }
    let message = format!(
        "{shown} has {}; what is recorded through one version is not seen by the other: bring them to one with `cargo update` or the versions in Cargo.toml",
        twice.join("; ")
    );
    check(Status::Failed, message)
}

fn told(lock: &Lock, name: &str, versions: &BTreeSet<&str>) -> String {
    let of = |version: &&str| {
        let dependency = format!("{name} {version}");
        let users = lock.package.iter().filter(|package| package.dependencies.contains(&dependency));
        let users: Vec<&str> = users.map(|package| package.name.as_str()).take(4).collect();
        if users.is_empty() { (*version).to_owned() } else { format!("{version} (of {})", users.join(", ")) }
    };
    format!("{name} {}", versions.iter().map(of).collect::<Vec<_>>().join(" and "))
}

fn found() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("Cargo.lock")).find(|path| path.is_file())
}
