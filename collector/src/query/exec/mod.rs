//! Answers questions: from a filter to a scan, from batches to spans, counts and figures.
