//! Which rows of the list of features and behaviours have a test that names them.
//!
//! A test names its rows in a doc comment: `/// Feature: A1, L2` or `/// Behaviour: P8`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// All rows that there are: a letter and how many.
const SECTIONS: &[(char, u32)] = &[
    ('A', 15),
    ('B', 3),
    ('C', 11),
    ('D', 1),
    ('E', 5),
    ('F', 9),
    ('G', 17),
    ('H', 15),
    ('I', 12),
    ('J', 6),
    ('K', 9),
    ('L', 7),
    ('M', 3),
    ('N', 12),
    ('P', 33),
];

/// What must have a test by now.
const OWED: &str = "A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A13 A14 B1 B2 C1 C2 C3 C4 C5 C6 C7 C8 C9 C10 C11 D1 E1 E2 E3 E4 \
                    E5 G1 G2 G3 G4 G5 G6 G7 G8 G9 G10 G11 G12 G13 G14 G15 G16 G17 H1 H2 H3 H4 H5 H6 H7 H8 H9 H10 H11 H12 \
                    H13 H15 I1 I3 I4 I5 I6 I7 I8 I9 I11 I12 J4 K3 K7 K8 K9 L1 L2 L4 L5 L6 L7 M3 N1 N2 N3 N4 N5 N6 N7 N8 \
                    N9 \
                    P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P11 P12 P13 P14 P15 P17 P18 P19 P20 P22 P23 P25 P27 P28 P29 P31 P33";

/// Rows without a test: why, and what brings it.
const WAIVED: &[(&str, &str)] = &[];

fn tests_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                tests_below(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rows that a line of a doc comment names.
fn named(line: &str) -> Option<Vec<&str>> {
    let comment = line.trim().strip_prefix("///")?.trim();
    let rows = comment.strip_prefix("Feature: ").or_else(|| comment.strip_prefix("Behaviour: "))?;
    Some(rows.split(',').map(str::trim).collect())
}

/// The rows that tests name, with where.
fn rows() -> BTreeMap<String, Vec<String>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "collector"] {
        tests_below(&root.join(folder), &mut files);
    }
    let mut rows = BTreeMap::<String, Vec<String>>::new();
    for path in files.iter().filter(|path| !path.ends_with("tests/features.rs")) {
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(names) = named(line) else { continue };
            let place = format!("{}:{}", path.strip_prefix(&root).unwrap().display(), index + 1);
            // A comment above nothing proves nothing.
            let is_test = lines[index..]
                .iter()
                .take_while(|line| {
                    line.trim_start().starts_with("///") || line.trim_start().starts_with("#[")
                })
                .any(|line| line.contains("test"));
            assert!(is_test, "{place}: no test follows");
            for name in names {
                rows.entry(name.to_owned()).or_default().push(place.clone());
            }
        }
    }
    rows
}

fn exists(row: &str) -> bool {
    SECTIONS.iter().any(|(letter, count)| {
        row.strip_prefix(*letter)
            .and_then(|number| number.parse::<u32>().ok())
            .is_some_and(|number| (1..=*count).contains(&number) && row == format!("{letter}{number}"))
    })
}

#[test]
fn tests_name_only_rows_that_there_are() {
    for (row, places) in rows() {
        assert!(exists(&row), "there is no row {row:?}: {places:?}");
    }
}

#[test]
fn every_row_that_is_owed_has_a_test_or_a_reason() {
    let rows = rows();
    let missing: Vec<&str> = OWED
        .split_whitespace()
        .filter(|row| !rows.contains_key(*row) && !WAIVED.iter().any(|(waived, _)| waived == row))
        .collect();
    assert!(missing.is_empty(), "no test names {}", missing.join(", "));
}

#[test]
fn no_row_is_waived_that_has_a_test() {
    let rows = rows();
    let owed: BTreeSet<&str> = OWED.split_whitespace().collect();
    for (row, reason) in WAIVED {
        assert!(owed.contains(row) && !reason.is_empty(), "{row}");
        assert!(
            !rows.contains_key(*row),
            "{row} has a test: {:?}; take it off the list of waivers",
            rows[*row]
        );
    }
}
